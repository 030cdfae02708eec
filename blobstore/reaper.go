package blobstore

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/record"
)

// A reaper deletes the records of uploads that have ended, and before them what
// they name and nothing needs; many with one call. A record stays when something
// that it names may be left all the same: it leads the sweep there. So does one
// that the reaper does not come to.
type reaper struct {
	bucket  bucket.Bucket
	records *record.Store
	clock   Clock
	log     *slog.Logger
	stop    context.CancelFunc
	done    sync.WaitGroup

	mu     sync.Mutex
	ended  []leftover
	wake   chan struct{} // has one element when ended became non-empty
	closed bool
}

// A leftover is what an upload leaves that has ended.
type leftover struct {
	id string // the upload's
	// at is the version of its record. At another one, another server has gone
	// on with the upload, and looks after what it leaves.
	at     record.Version
	pieces []dataID // which are nobody's
	// look are names at which another server may have written something.
	look []dataID
	// multipart is the bucket's upload to data that was not completed, "" for
	// none; list says that there may be others.
	data      dataID
	multipart string
	list      bool
	// stays says that the record leads a sweep to something.
	stays bool
	blob  digest.Digest // what the upload has become; "" when it was given up
}

const (
	reapDelay = 2 * time.Second // for more to come together
	reapMost  = 1000            // keys that one call deletes
	reapQueue = 10_000          // uploads waiting; what comes above is left to the sweep
)

func newReaper(b bucket.Bucket, r *record.Store, c Clock, log *slog.Logger) *reaper {
	ctx, stop := context.WithCancel(context.Background())
	rp := &reaper{bucket: b, records: r, clock: c, log: log, stop: stop, wake: make(chan struct{}, 1)}
	rp.done.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-rp.wake:
			}
			if rp.clock.Sleep(ctx, reapDelay) != nil {
				return
			}
			_ = rp.flush(context.WithoutCancel(ctx)) // close waits for it
		}
	})
	return rp
}

func (r *reaper) add(l leftover) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || len(r.ended) >= reapQueue {
		return
	}
	r.ended = append(r.ended, l)
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *reaper) flush(ctx context.Context) error {
	for {
		r.mu.Lock()
		n := min(len(r.ended), reapMost)
		ended := r.ended[:n:n]
		r.ended = r.ended[n:]
		r.mu.Unlock()
		if n == 0 {
			return nil
		}
		if err := r.reap(ctx, ended); err != nil {
			r.log.Warn("records of ended uploads stay until the next collection", "records", n, "error", err)
			return err
		}
	}
}

// reap deletes what is left of these uploads, pieces first.
func (r *reaper) reap(ctx context.Context, ended []leftover) error {
	ended, err := r.unchanged(ctx, ended)
	if err != nil {
		return err
	}
	var pieces, records []string
	for _, l := range ended {
		for _, id := range l.pieces {
			pieces = append(pieces, dataKey(id))
		}
		nothing, err := r.nothingLeft(ctx, l)
		if err != nil {
			r.log.Warn("the record of an ended upload stays until the next collection", "upload", l.id, "error", err)
		}
		if nothing && err == nil {
			records = append(records, uploadKey(l.id))
		} else if err := r.markEnded(ctx, l); err != nil {
			r.log.Warn("an upload that has ended looks as if it went on", "upload", l.id, "error", err)
		}
	}
	if err := r.bucket.Delete(ctx, pieces...); err != nil {
		return err
	}
	return r.bucket.Delete(ctx, records...)
}

// unchanged returns those of the uploads whose records are as they were when they
// ended here. One call tells it for all of them, unless there are many more
// unfinished ones; another server may still come in between, but to one that has
// been done for reapDelay.
func (r *reaper) unchanged(ctx context.Context, ended []leftover) ([]leftover, error) {
	slices.SortFunc(ended, func(a, b leftover) int { return strings.Compare(a.id, b.id) })
	now, last, n := map[string]bucket.ETag{}, "", 0
	if len(ended) > 1 {
		first := uploadKey(ended[0].id)
		for info, err := range r.bucket.List(ctx, UploadPrefix, first[:len(first)-1]) {
			if err != nil {
				return nil, err
			}
			last = strings.TrimPrefix(info.Key, UploadPrefix)
			now[last] = info.ETag
			if n++; n == reapMost || last >= ended[len(ended)-1].id {
				break
			}
		}
		if n < reapMost {
			last = ended[len(ended)-1].id
		}
	}
	var same []leftover
	for _, l := range ended {
		if l.id > last {
			info, err := r.bucket.Stat(ctx, uploadKey(l.id))
			if err != nil && !gone(err) {
				return nil, err
			}
			now[l.id] = info.ETag
		}
		if now[l.id] == l.at.ETag {
			same = append(same, l)
		}
	}
	return same, nil
}

// nothingLeft frees the parts of an upload, and says whether its pieces are all
// that is left then.
func (r *reaper) nothingLeft(ctx context.Context, l leftover) (bool, error) {
	if l.multipart != "" {
		if err := r.bucket.AbortMultipart(ctx, dataKey(l.data), l.multipart); err != nil {
			return false, err
		}
	}
	if l.list {
		if _, err := abortMultiparts(ctx, r.bucket, dataKey(l.data)); err != nil {
			return false, err
		}
	}
	if l.stays {
		return false, nil
	}
	for _, id := range l.look {
		if _, err := r.bucket.Stat(ctx, dataKey(id)); !gone(err) {
			return false, err
		}
	}
	return true, nil
}

// abortMultiparts gives up all multipart uploads to key, and returns how many.
func abortMultiparts(ctx context.Context, b bucket.Bucket, key string) (n int, err error) {
	for up, err := range b.ListMultiparts(ctx, key) {
		if err == nil {
			err = b.AbortMultipart(ctx, key, up.ID)
		}
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// markEnded notes in the record that the upload is over, and what it became, so
// that nobody goes on with it and a sweep knows where to look.
func (r *reaper) markEnded(ctx context.Context, l leftover) error {
	_, _, err := record.Update(ctx, r.records, uploadKey(l.id), time.Time{}, func(u *uploadRecord, exists bool) (bool, error) {
		if !exists || u.Aborted || u.Ended || l.blob == "" {
			return false, nil
		}
		u.Ended = true
		if u.Digest == "" {
			u.Digest = l.blob
		}
		return true, nil
	})
	if errors.Is(err, bucket.ErrPrecondition) {
		return nil // somebody else looks after it
	}
	return err
}

func (r *reaper) close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.stop()
	r.done.Wait()
	return r.flush(ctx)
}
