package images

import (
	"context"
	"errors"
	"fmt"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/internal/mutant"
	"github.com/laminastore/lamina/blobstore/link"
	"github.com/laminastore/lamina/reference"
)

// A writer is one Put.
type writer struct {
	im       *Images
	repo     reference.Repository
	manifest Manifest
	parsed   *parsed
	live     link.Link // the manifest's link
	made     bool      // by this Put
}

func (w *writer) named(err error) error { return about(err, w.manifest.Digest) }

func (w *writer) key() string { return ManifestKey(w.repo, w.manifest.Digest) }

// link sees to it that the manifest's link is live, and that all it names
// stays. A link that is live already is a root: nothing needs a promise.
func (w *writer) link(ctx context.Context) (err error) {
	w.made = false
	if !w.likelyNew() {
		if w.live, err = w.im.links.Get(ctx, w.key()); err == nil || !absent(err) {
			return err
		}
	}
	n, err := w.im.gather(ctx, w.repo, w.parsed)
	if err != nil {
		return err
	}
	until, err := w.promise(ctx, n, false)
	if err != nil {
		return err
	}
	payload, wanted, err := w.summary(ctx, n)
	if err != nil {
		return err
	}
	for {
		w.live, w.made, err = w.im.links.Make(ctx, w.key(), payload, until)
		manifestLinked.Hit()
		if err == nil {
			break
		}
		if !errors.Is(err, bucket.ErrTooLate) {
			return err
		}
		if until, err = w.promise(ctx, n, true); err != nil {
			return err
		}
	}
	if !w.im.clock.Now().Before(until) && !mutant.NoClockAfterLink.On() {
		// It may have landed when the promises had ended, behind a mark that
		// has not seen it (design 4.3; MODEL, hole 4).
		if _, err := w.promise(ctx, n, true); err != nil {
			return errors.Join(err, w.takeBack(ctx))
		}
	}
	if err := w.childrenLinked(ctx, n); err != nil {
		return errors.Join(err, w.takeBack(ctx))
	}
	for _, l := range wanted {
		w.im.checker.Want(w.repo, l.blob, l.mediaType, l.diffID)
	}
	return nil
}

// likelyNew guesses that there is no link, so that nobody needs to look: the
// manifest's config has just been stored here, and the manifest has not. When
// that is wrong it has cost some calls, and no more.
func (w *writer) likelyNew() bool {
	if w.parsed.config == nil {
		return false
	}
	if _, stored := w.im.fresh.Get(w.manifest.Digest); stored {
		return false
	}
	at, ok := w.im.fresh.Get(w.parsed.config.Digest)
	age := w.im.clock.Now().Sub(at)
	return ok && age >= 0 && age < time.Minute
}

// promise promises what is named, and the manifest's own bytes, which are
// stored with that. It returns when the first of the promises ends.
func (w *writer) promise(ctx context.Context, n *naming, anew bool) (time.Time, error) {
	until, err := n.promise(ctx, anew)
	if err != nil {
		return until, err
	}
	b, err := blobstore.Blob{}, error(blobstore.ErrBlobUnknown)
	if anew {
		b, err = w.im.store.PromiseAnew(ctx, w.manifest.Digest)
	}
	if errors.Is(err, blobstore.ErrBlobUnknown) {
		b, err = w.im.store.PutSmall(ctx, w.manifest.Digest, w.manifest.Bytes)
		manifestStored.Hit()
		w.im.fresh.Put(w.manifest.Digest, w.im.clock.Now(), 1)
	}
	if err == nil && b.Promised.Before(until) {
		until = b.Promised
	}
	return until, err
}

// takeBack removes a link that was made too late. Only the one this Put made:
// another's is another's to look after.
func (w *writer) takeBack(ctx context.Context) error {
	if !w.made {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	err := w.im.prune(ctx, w.repo)
	if err == nil {
		err = w.im.links.RemoveGeneration(ctx, w.key(), w.live.Generation)
	}
	if err != nil && !absent(err) {
		w.im.log.Error("a manifest's link that was written too late could not be taken back",
			"repository", w.repo, "manifest", w.manifest.Digest, "error", err)
		return fmt.Errorf("take back the link of %s: %w", w.manifest.Digest, err)
	}
	return nil
}

// names writes the names by which the manifest is found, tags last.
func (w *writer) names(ctx context.Context, tags []reference.Tag, expect Expect) error {
	if w.manifest.Subject != "" {
		if err := w.refer(ctx); err != nil {
			return err
		}
	}
	if w.made || len(tags) == 0 {
		if err := w.im.ensureCatalog(ctx, w.repo, !w.made); err != nil {
			return err
		}
	}
	for _, tag := range tags {
		if err := w.im.writeTag(ctx, w.repo, tag, w.manifest.Digest, expect); err != nil {
			return err
		}
	}
	if len(tags) == 0 {
		if !w.made && w.im.clock.Now().Sub(w.live.Since) >= tagFresh {
			return w.again(ctx)
		}
		return w.im.stillLinked(ctx, w.repo, w.manifest.Digest, w.live.Generation)
	}
	return nil
}

// again notes that a manifest which was there was pushed again, without a tag:
// most likely an index that names it follows. Errors: errUnlinked.
func (w *writer) again(ctx context.Context) (err error) {
	if w.live, err = w.im.links.Stay(ctx, w.key(), w.live.Generation); absent(err) {
		return errUnlinked
	}
	return err
}

// childrenLinked asks again whether the manifests of the repository that an
// index names are linked, once its own link is written. One that retention is
// about to remove stays; one that has been removed since it was gathered is
// missing. Errors: ErrManifestBlobUnknown.
func (w *writer) childrenLinked(ctx context.Context, n *naming) error {
	for d, generation := range n.children {
		err := w.im.stillLinked(ctx, w.repo, d, generation)
		if errors.Is(err, errUnlinked) && !w.im.options.AllowSparse {
			return missingError(w.repo, []named{{Descriptor: ocispec.Descriptor{Digest: d}, what: "manifest"}})
		}
		if err != nil && !errors.Is(err, errUnlinked) {
			return err
		}
	}
	return nil
}
