package images

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/reference"
)

// promise promises all that is named, and returns when the first of the
// promises ends. With anew it does not trust the cache, and what was not here
// the first time is left out. Where sparse ones are allowed, so is what a manifest
// may lack. Errors: ErrManifestBlobUnknown, ErrManifestInvalid
// when a size is wrong; bucket.ErrUnavailable.
func (n *naming) promise(ctx context.Context, anew bool) (time.Time, error) {
	until := n.im.clock.Now().Add(n.im.store.Options().Grace)
	var missing []named
	sparse := n.im.options.AllowSparse
	if !sparse {
		missing = append(missing, n.absent...)
	}
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, b := range slices.Collect(maps.Values(n.blobs)) {
		g.Go(func() error {
			got, err := n.one(gctx, b, anew)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, blobstore.ErrBlobUnknown) && b.optional:
				delete(n.blobs, b.Digest)
				return nil
			case errors.Is(err, blobstore.ErrBlobUnknown) && sparse && !anew && b.what != "config":
				// What was here the first time was promised, and must be here
				// the second.
				delete(n.blobs, b.Digest)
				n.sparse = true
				return nil
			case errors.Is(err, blobstore.ErrBlobUnknown):
				missing = append(missing, b)
				return nil
			case err != nil:
				return err
			case b.direct && got.Size != b.Size:
				return remedy(fail(blobstore.ErrManifestInvalid, "", "%s %s has %d bytes, its descriptor says %d", b.what, b.Digest, got.Size, b.Size),
					"give each descriptor the size of its blob")
			}
			if got.Promised.Before(until) {
				until = got.Promised
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return time.Time{}, err
	}
	if len(missing) > 0 {
		return time.Time{}, missingError(n.repo, missing)
	}
	return until, nil
}

func (n *naming) one(ctx context.Context, b named, anew bool) (blobstore.Blob, error) {
	switch {
	case anew:
		return n.im.store.PromiseAnew(ctx, b.Digest)
	case b.direct || b.walled:
		return n.im.store.Stat(ctx, n.repo, b.Digest)
	default:
		return n.im.store.Promise(ctx, b.Digest)
	}
}

// maxListed is how many missing digests an error lists.
const maxListed = 100

func missingError(repo reference.Repository, missing []named) error {
	slices.SortFunc(missing, func(a, b named) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	e := remedy(fail(blobstore.ErrManifestBlobUnknown, missing[0].Digest, "repository %s does not hold this %s", repo, missing[0].what),
		"push what the manifest names to the same repository first")
	if n := len(missing) - 1; n > 0 {
		e.Detail += fmt.Sprintf(", nor %d more", n)
	}
	var list []string
	for _, m := range missing[:min(len(missing), maxListed)] {
		list = append(list, string(m.Digest))
	}
	e.Facts = map[string]string{"missing": strings.Join(list, " ")}
	return e
}
