package blobstore

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/record"
	"github.com/laminastore/lamina/reference"
)

// MaxFindMissing is how many digests one call of FindMissing takes.
const MaxFindMissing = 1000

// parallel is how many calls to the bucket one request makes at once.
const parallel = 32

// Stat describes a blob that repo holds, and promises it.
// Errors: ErrBlobUnknown, bucket.ErrUnavailable.
func (s *Store) Stat(ctx context.Context, repo reference.Repository, d digest.Digest) (Blob, error) {
	r, err := s.held(ctx, repo, d, nil)
	return s.blob(&r), err
}

// Mount makes repo hold a blob that from holds, and promises it. No bytes move.
// Errors: ErrBlobUnknown, bucket.ErrUnavailable.
func (s *Store) Mount(ctx context.Context, repo, from reference.Repository, d digest.Digest) (Blob, error) {
	if _, err := s.held(ctx, from, d, nil); err != nil {
		return Blob{}, err
	}
	return s.hold(ctx, repo, d)
}

// Unlink makes repo no longer hold d. The bytes stay as long as anything else
// names them. Errors: ErrBlobUnknown, bucket.ErrUnavailable.
func (s *Store) Unlink(ctx context.Context, repo reference.Repository, d digest.Digest) error {
	err := s.links.Remove(ctx, BlobLinkKey(repo, d))
	if gone(err) {
		return fail(ErrBlobUnknown, d, "not in repository %s", repo)
	}
	return err
}

// FindMissing returns, in their order, those of ds that repo does not hold, and
// promises the others until the time it returns. A blob that one of from holds
// is mounted and not missing. At most MaxFindMissing digests.
// Errors: ErrTooLarge, bucket.ErrUnavailable.
func (s *Store) FindMissing(ctx context.Context, repo reference.Repository, ds []digest.Digest, from []reference.Repository) ([]digest.Digest, time.Time, error) {
	if len(ds) > MaxFindMissing {
		return nil, time.Time{}, fail(ErrTooLarge, repo, "%d digests in one call", len(ds)).remedy("ask for at most 1000 at a time")
	}
	var mu sync.Mutex
	missing := make([]bool, len(ds))
	until := s.clock.Now().Add(s.options.Grace)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, d := range ds {
		g.Go(func() error {
			b, err := s.findOne(gctx, repo, d, from)
			if err != nil && !errors.Is(err, ErrBlobUnknown) {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if missing[i] = err != nil; !missing[i] && b.Promised.Before(until) {
				until = b.Promised
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, time.Time{}, err
	}
	var out []digest.Digest
	for i, m := range missing {
		if m {
			out = append(out, ds[i])
		}
	}
	return out, until, nil
}

func (s *Store) findOne(ctx context.Context, repo reference.Repository, d digest.Digest, from []reference.Repository) (Blob, error) {
	b, err := s.Stat(ctx, repo, d)
	for _, f := range from {
		if !errors.Is(err, ErrBlobUnknown) {
			break
		}
		b, err = s.Mount(ctx, repo, f, d)
	}
	return b, err
}

// BlobInfo is what Blobs and Describe tell of a blob.
type BlobInfo struct {
	Digest   digest.Digest
	Size     int64 // bytes
	Promised time.Time
	Verdict  *Verdict
	// State is "live", "condemned" or "gone". Blobs yields none that is gone.
	State string
	// Life is that of the blob which a repository's link to it must be of.
	Life string
	// Inline says that the bytes are in the record itself.
	Inline bool
	// Copies are the data objects that each have the bytes; Bad did not match
	// the digest; Drop are to be deleted; Barred are deleted already, or may be
	// at any time, and are nobody's.
	Copies, Bad, Drop, Barred []string
}

// Named are the data objects that a sweep of this record deletes, or keeps.
func (b BlobInfo) Named() []string { return slices.Concat(b.Copies, b.Bad, b.Drop) }

func (s *Store) info(r *blobRecord) BlobInfo {
	return BlobInfo{
		Digest: r.Digest, Size: r.Size, Promised: s.blob(r).Promised, Verdict: r.Verdict,
		State: string(r.State), Life: r.Life, Inline: r.Inline != nil || r.Size == 0,
		Copies: r.Copies, Bad: r.Bad, Drop: r.Drop, Barred: r.Barred,
	}
}

// Describe tells what is known of a blob, one that is gone too, and promises
// nothing. Errors: ErrBlobUnknown when there is no record of it; ErrCorrupt when
// that does not hold what it says, with the BlobInfo still; bucket.ErrUnavailable.
func (s *Store) Describe(ctx context.Context, d digest.Digest) (BlobInfo, error) {
	r, _, _, err := s.readBlobRecord(ctx, d)
	return s.info(&r), err
}

// Blobs yields every blob of the bucket, in the order of algorithm and digest,
// after the one given ("" for all): one call to the bucket for each.
// Errors: bucket.ErrUnavailable.
func (s *Store) Blobs(ctx context.Context, after digest.Digest) iter.Seq2[BlobInfo, error] {
	return func(yield func(BlobInfo, error) bool) {
		start := ""
		if after != "" {
			start = BlobKey(after)
		}
		for info, err := range s.bucket.List(ctx, "blobs/", start) {
			if err != nil {
				yield(BlobInfo{}, err)
				return
			}
			alg, rest, _ := strings.Cut(strings.TrimPrefix(info.Key, "blobs/"), "/")
			_, hex, _ := strings.Cut(rest, "/")
			r, _, err := record.Read[blobRecord](ctx, s.records, info.Key)
			if errors.Is(err, bucket.ErrNotExist) || err == nil && r.State == collected {
				continue
			}
			if err == nil {
				err = r.sound(digest.NewDigestFromEncoded(digest.Algorithm(alg), hex))
			}
			if !yield(s.info(&r), err) || err != nil {
				return
			}
		}
	}
}
