package file

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// A spool is a temporary file that becomes an object, or the main file of a
// multipart upload, by getting its name.
type spool struct {
	b     *Bucket
	ctx   context.Context // of Spool
	file  *os.File        // has a name of its own until it is main
	to    *pourer
	ended bool // nothing may be written any more

	// The upload that the file is the main file of, if it is.
	up     *upload
	size   int64 // of its parts
	parted int64 // up to where the bytes are parts
	mine   int   // parts with a number up to this are locked: nobody else writes there
}

var _ bucket.Spooler = (*Bucket)(nil)

// Spool implements bucket.Spooler.
func (b *Bucket) Spool(ctx context.Context) (bucket.Spool, error) {
	f, err := b.newTemp()
	if err != nil {
		return nil, fmt.Errorf("spool in %s: %w", b.dir, classify(err))
	}
	return &spool{b: b, ctx: ctx, file: f, to: pour(f, 0)}, nil
}

// errEnded is returned to a caller who goes on with a spool that has its name.
var errEnded = errors.New("the spool has been given its name")

// Write implements bucket.Spool.
func (s *spool) Write(p []byte) (n int, err error) {
	if s.ended {
		return 0, errEnded
	}
	at := s.to.off
	if s.up != nil {
		err = s.claim(at + int64(len(p)))
	}
	if err == nil {
		n, err = s.to.Write(p)
	}
	if err != nil {
		s.to.off = at
		return 0, fmt.Errorf("spool in %s: %w", s.b.dir, classify(err))
	}
	return n, nil
}

// claim sees to it that nobody else writes to main before the byte end.
func (s *spool) claim(end int64) error {
	for int64(s.mine)*s.size < end {
		if err := s.claimPart(s.mine + 1); err != nil {
			return err
		}
		s.mine++
	}
	return nil
}

func (s *spool) claimPart(n int) error {
	if n > maxParts {
		return fmt.Errorf("%w: number %d, allowed are 1 to %d", bucket.ErrPart, n, maxParts)
	}
	stripe := uploadStripe(s.up.id)
	if err := s.b.locks.lock(s.ctx, stripe); err != nil {
		return err
	}
	defer s.b.locks.release(stripe)
	if err := s.up.present(); err != nil {
		return err
	}
	there, err := s.up.slot(n)
	if err != nil {
		return err
	}
	sealed, err := s.up.sealed()
	if err != nil {
		return err
	}
	free, err := s.up.lockParts(n)
	if err == nil && (sealed || !free || there.place != nowhere) {
		err = fmt.Errorf("%w: somebody else has gone on with number %d", bucket.ErrPart, n)
	}
	return err
}

// ReadAt implements bucket.Spool.
func (s *spool) ReadAt(p []byte, off int64) (int, error) { return s.file.ReadAt(p, off) }

// Put implements bucket.Spool.
func (s *spool) Put(ctx context.Context, key string, cond bucket.Condition) (bucket.Info, error) {
	if err := check(ctx, "put", key); err != nil {
		return bucket.Info{}, err
	}
	info, err := s.put(ctx, key, cond)
	if err != nil {
		return bucket.Info{}, s.b.fail("put", key, err)
	}
	s.ended = true
	return info, nil
}

func (s *spool) put(ctx context.Context, key string, cond bucket.Condition) (bucket.Info, error) {
	if s.ended || s.up != nil {
		return bucket.Info{}, errEnded
	}
	if err := s.b.holds(key, cond); err != nil { // before anything is synced
		if err := s.b.locks.wait(ctx, keyStripe(key)); err != nil {
			return bucket.Info{}, err
		}
		return bucket.Info{}, err
	}
	return s.b.name(ctx, key, s.file, s.file.Name(), cond)
}

// Close implements bucket.Spool.
func (s *spool) Close() error {
	s.ended = true
	if s.up == nil {
		s.b.dropTemp(s.file)
		return nil
	}
	if n := s.to.off - s.parted; n > 0 {
		// The file keeps its length, since others may have written behind.
		_ = unix.Fallocate(int(s.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, s.parted, n)
	}
	s.up.close()
	return s.file.Close()
}
