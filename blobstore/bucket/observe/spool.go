package observe

import (
	"context"

	"github.com/laminastore/lamina/blobstore/bucket"
)

type spooler struct {
	by     *observed
	inside bucket.Spooler
}

// Spool implements bucket.Spooler.
func (s spooler) Spool(ctx context.Context) (bucket.Spool, error) {
	inside, err := s.inside.Spool(ctx)
	if err != nil {
		return nil, err
	}
	return &spool{Spool: inside, by: s.by}, nil
}

// A spool tells of the calls that give its bytes a name.
type spool struct {
	bucket.Spool
	by   *observed
	size int64 // bytes that have no name yet
}

// Write implements bucket.Spool.
func (s *spool) Write(p []byte) (int, error) {
	n, err := s.Spool.Write(p)
	s.size += int64(n)
	return n, err
}

// Put implements bucket.Spool.
func (s *spool) Put(ctx context.Context, key string, cond bucket.Condition) (bucket.Info, error) {
	ctx, end := s.by.begin(ctx, Put, s.size, key)
	info, err := s.Spool.Put(ctx, key, cond)
	end(err)
	return info, err
}

// Parts implements bucket.Spool.
func (s *spool) Parts(ctx context.Context, key string, size int64, last bool) (string, []bucket.Part, error) {
	n := s.size / size * size
	if last {
		n = s.size
	}
	ctx, end := s.by.begin(ctx, Part, n, key)
	id, parts, err := s.Spool.Parts(ctx, key, size, last)
	end(err)
	if err == nil {
		s.size -= n
	}
	return id, parts, err
}
