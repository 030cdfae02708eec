package blobstore

import (
	"context"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/record"
)

// An earlyRead is the read of a blob's record that began before it was known
// whether the caller may have the blob, so that a pull waits for the record and
// the repository's link at once and not in turn.
type earlyRead struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when the others are set

	record  blobRecord
	version record.Version
	began   time.Time
	err     error
}

// readEarly begins to read the record of d, or returns nil when the cache has it.
func (s *Store) readEarly(ctx context.Context, d digest.Digest) *earlyRead {
	if _, ok := s.cached(d); ok {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	e := &earlyRead{cancel: cancel, done: make(chan struct{})}
	s.checks.Go(func() {
		defer close(e.done)
		e.record, e.version, e.began, e.err = s.readBlobRecord(ctx, d)
	})
	return e
}

// drop gives the read up. It does not wait for it: how long it takes would tell
// whether there is a blob that the caller may not know of.
func (e *earlyRead) drop() {
	if e != nil {
		e.cancel()
	}
}

// wait returns what was read, as readBlobRecord does.
func (e *earlyRead) wait() (blobRecord, record.Version, time.Time, error) {
	<-e.done
	e.cancel()
	return e.record, e.version, e.began, e.err
}
