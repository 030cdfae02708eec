package layers

import (
	"context"
	"errors"

	"github.com/laminastore/lamina/blobstore"
	"github.com/opencontainers/go-digest"
)

// A Checker checks layers. Safe for concurrent use.
type Checker struct{}

// New starts a Checker on s. The caller closes it before s.
func New(s *blobstore.Store, o Options) *Checker { return &Checker{} }

// Want has the blob layer checked against the diffID that a config claims for
// it, unless that is known. It returns at once; when too many wait already
// nothing happens, and State or Wait asks again.
func (c *Checker) Want(layer digest.Digest, mediaType string, diffID digest.Digest) {}

// State says what is known of the blob layer as the layer diffID, and with
// Invalid what is wrong and the remedy. What has not been checked is Pending,
// and is checked soon. At most two bucket calls, none once it is known.
// Errors: blobstore.ErrBlobUnknown; bucket.ErrUnavailable.
func (c *Checker) State(ctx context.Context, layer, diffID digest.Digest) (s State, problem string, err error) {
	return Pending, "", errors.ErrUnsupported
}

// Wait is State that returns when the layer has been checked; it is Pending
// only together with an error. Errors: those of State; ctx's error; what kept
// the blob from being read (blobstore.ErrCorrupt).
func (c *Checker) Wait(ctx context.Context, layer, diffID digest.Digest) (s State, problem string, err error) {
	return Pending, "", errors.ErrUnsupported
}

// Close stops the checks that run, leaving those layers pending, and waits for
// them to end. Errors: ctx's error when that ends first.
func (c *Checker) Close(ctx context.Context) error { return nil }
