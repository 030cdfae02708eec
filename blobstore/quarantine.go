package blobstore

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/record"
)

// suspect has a copy that looked damaged read once more in the background, and
// quarantined if it is: a byte that was flipped on the way is no reason to give
// up a copy that is sound.
func (s *Store) suspect(d digest.Digest, id dataID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.checking[d] {
		return
	}
	s.checking[d] = true
	s.checks.Go(func() {
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.checking, d)
		}()
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		sound, err := s.soundCopy(ctx, d, id)
		if err == nil && !sound {
			err = s.quarantine(ctx, d, id)
		}
		if err != nil {
			s.log.Warn("could not check a copy of a blob again", "digest", d, "data", id, "error", err)
		}
	})
}

// soundCopy reads the data object id back and says whether it has digest d.
func (s *Store) soundCopy(ctx context.Context, d digest.Digest, id dataID) (bool, error) {
	src, _, err := s.bucket.Get(ctx, dataKey(id), 0, -1)
	if errors.Is(err, bucket.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer src.Close()
	h := d.Algorithm().Hash()
	buf := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(buf)
	if _, err := io.CopyBuffer(onlyWriter{h}, onlyReader{src}, buf[:]); err != nil {
		return false, err
	}
	return sum(d.Algorithm(), h) == d, nil
}

// quarantine moves a copy to the record's bad ones: it is not read again, and
// the blob counts as missing when it was the last one.
func (s *Store) quarantine(ctx context.Context, d digest.Digest, id dataID) error {
	_, _, err := record.Update(ctx, s.records, BlobKey(d), time.Time{}, func(r *blobRecord, _ bool) (bool, error) {
		i := slices.Index(r.Copies, id)
		if i < 0 {
			return false, nil
		}
		r.Copies = slices.Delete(r.Copies, i, i+1)
		r.Bad = append(r.Bad, id)
		return true, r.sound(d)
	})
	quarantined.Hit()
	s.cache.Remove(d)
	if err == nil {
		s.log.Error("a damaged copy of a blob is quarantined", "digest", d, "data", id)
	}
	return err
}

// onlyReader and onlyWriter keep io.CopyBuffer to the buffer it is given.
type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
)
