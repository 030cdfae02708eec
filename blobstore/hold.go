package blobstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/internal/mutant"
	"github.com/laminastore/lamina/blobstore/link"
	"github.com/laminastore/lamina/reference"
)

// blobLink is what a repository's link to a blob says of itself: for which of
// the blob's lives it was made (see blobRecord.Life). A link outlives a blob
// that is collected, until a collector gets to it; it must not open what another
// tenant uploads after that.
type blobLink struct {
	Life string `json:"life,omitempty"`
}

// linkPayload is the payload of a link for a life. A blob without one has links
// without payloads.
func linkPayload(life string) json.RawMessage {
	if life == "" {
		return nil
	}
	raw, err := json.Marshal(blobLink{Life: life})
	if err != nil {
		panic(err) // a string
	}
	return raw
}

// lifeOf is the life for which a link was made.
func lifeOf(l link.Link) (string, error) {
	if len(l.Payload) == 0 {
		return "", nil
	}
	var p blobLink
	if err := json.Unmarshal(l.Payload, &p); err != nil {
		return "", fmt.Errorf("payload of a link to a blob: %w", err)
	}
	return p.Life, nil
}

// errOtherLife is for a blob that was collected since the repository held it,
// and came back by another.
var errOtherLife = errors.New("the blob is not the one that was linked")

// held returns the record of a blob that repo holds, promised. early may be nil.
// What is in another repository is answered as if it were nowhere.
// Errors: ErrBlobUnknown, bucket.ErrUnavailable.
func (s *Store) held(ctx context.Context, repo reference.Repository, d digest.Digest, early *earlyRead) (blobRecord, error) {
	unknown := fail(ErrBlobUnknown, d, "not in repository %s", repo)
	l, err := s.links.Get(ctx, BlobLinkKey(repo, d))
	for range 2 {
		var life string
		if err == nil {
			life, err = lifeOf(l)
		}
		if err != nil {
			early.drop()
			if gone(err) {
				err = unknown
			}
			return blobRecord{}, err
		}
		r, perr := s.promiseLife(ctx, d, &life, early)
		if !errors.Is(perr, errOtherLife) {
			return r, perr
		}
		// Another server may just have made the link for the new life.
		early = nil
		l, err = s.links.Fresh(ctx, BlobLinkKey(repo, d))
	}
	return blobRecord{}, unknown
}

// HoldsBlob says whether repo holds d, which is not promised.
// Errors: bucket.ErrUnavailable.
func (s *Store) HoldsBlob(ctx context.Context, repo reference.Repository, d digest.Digest) (bool, error) {
	l, err := s.links.Get(ctx, BlobLinkKey(repo, d))
	if gone(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	life, err := lifeOf(l)
	if err != nil {
		return false, err
	}
	if r, ok := s.cached(d); ok {
		return r.Life == life, nil
	}
	r, v, began, err := s.readBlobRecord(ctx, d)
	if errors.Is(err, ErrBlobUnknown) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	s.keep(d, r, v, began)
	return r.State != collected && (r.Life == life || mutant.LinkOpensAllLives.On()), nil
}

// LinkBlob makes repo hold d, not later than notAfter. The caller has promised
// d, and looks at the clock afterwards.
// Errors: ErrBlobUnknown, and as link.Store.Make.
func (s *Store) LinkBlob(ctx context.Context, repo reference.Repository, d digest.Digest, notAfter time.Time) error {
	r, err := s.promise(ctx, d, false)
	if err != nil {
		return err
	}
	return s.linkLife(ctx, repo, d, r.Life, notAfter)
}

func (s *Store) linkLife(ctx context.Context, repo reference.Repository, d digest.Digest, life string, notAfter time.Time) error {
	_, _, err := s.links.MakeFor(ctx, BlobLinkKey(repo, d), linkPayload(life), notAfter)
	return err
}

// hold promises d and makes repo hold it, unless that is "": promise, link, clock
// (design 4.3).
func (s *Store) hold(ctx context.Context, repo reference.Repository, d digest.Digest) (Blob, error) {
	r, err := s.promise(ctx, d, false)
	if repo == "" {
		return s.blob(&r), err
	}
	for {
		if err != nil {
			return Blob{}, err
		}
		life, b := r.Life, s.blob(&r)
		err = s.linkLife(ctx, repo, d, life, b.Promised)
		if err != nil && !errors.Is(err, bucket.ErrTooLate) {
			return Blob{}, err
		}
		linked := err == nil
		if linked && s.clock.Now().Before(b.Promised) {
			return b, nil
		}
		// The link may have landed after the promise. Promise again; what is
		// gone by then must not stay linked.
		r, err = s.promise(ctx, d, true)
		if errors.Is(err, ErrBlobUnknown) {
			if rerr := s.links.Remove(ctx, BlobLinkKey(repo, d)); rerr != nil && !gone(rerr) {
				return Blob{}, rerr
			}
		} else if b := s.blob(&r); err == nil && linked && r.Life == life && s.clock.Now().Before(b.Promised) {
			return b, nil
		}
	}
}
