package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/link"
	"github.com/laminastore/lamina/reference"
)

// maxAttempts bounds how often an operation starts over because somebody
// deletes at the same time what it has just written.
const maxAttempts = 16

// Put stores a manifest or an index in repo and points tags at it. When it
// returns without error all that the manifest names is there and stays, and the
// tags name it.
//
// Errors: blobstore.ErrTooLarge over MaxManifestSize; ErrManifestInvalid;
// ErrDigestMismatch (fact "actual"); ErrManifestBlobUnknown when the repository
// lacks something it names (fact "missing": the digests, separated by spaces,
// at most 100); ErrTagConflict (fact "actual": what the tag names, or "absent");
// bucket.ErrFull; bucket.ErrUnavailable, after which the manifest and tags may
// or may not be there.
func (im *Images) Put(ctx context.Context, repo reference.Repository, o PutOptions) (Manifest, error) {
	m, p, err := accept(o)
	if err != nil {
		return Manifest{}, err
	}
	w := &writer{im: im, repo: repo, manifest: m, parsed: p}
	if o.Expect != (Expect{}) {
		for _, tag := range o.Tags {
			if err := im.expect(ctx, repo, tag, o.Expect); err != nil {
				return Manifest{}, err
			}
		}
	}
	for range maxAttempts {
		if err = w.link(ctx); err != nil {
			return Manifest{}, w.named(err)
		}
		if err = w.names(ctx, o.Tags, o.Expect); err == nil {
			return m, nil
		}
		if !errors.Is(err, errUnlinked) {
			return Manifest{}, err
		}
	}
	return Manifest{}, fail(blobstore.ErrConflict, m.Digest, "deleted by others as often as it was pushed")
}

// accept checks what has come by itself.
func accept(o PutOptions) (Manifest, *parsed, error) {
	p, err := parse(o.MediaType, o.Bytes)
	alg := digest.SHA256
	if o.Digest != "" {
		if _, derr := reference.ParseDigest(string(o.Digest)); derr != nil {
			return Manifest{}, nil, derr
		}
		alg = o.Digest.Algorithm()
	}
	if errors.Is(err, blobstore.ErrTooLarge) { // not even hashed
		return Manifest{}, nil, err
	}
	d := alg.FromBytes(o.Bytes)
	if o.Digest != "" && d != o.Digest {
		e := remedy(fail(blobstore.ErrDigestMismatch, o.Digest, "the %d bytes that came have digest %s", len(o.Bytes), d), "send the manifest as it is")
		e.Facts = map[string]string{"actual": string(d)}
		return Manifest{}, nil, e
	}
	if err != nil {
		return Manifest{}, nil, about(err, d)
	}
	if len(o.Tags) > MaxTags {
		return Manifest{}, nil, fail(blobstore.ErrTooLarge, d, "%d tags with one manifest, at most %d", len(o.Tags), MaxTags)
	}
	return Manifest{
		Descriptor: Descriptor{Digest: d, MediaType: p.mediaType, Size: int64(len(o.Bytes))},
		Bytes:      o.Bytes, Subject: p.subjectDigest(), ArtifactType: p.referrerType(),
	}, p, nil
}

// about gives an error that says nothing of its subject the manifest for one.
func about(err error, d digest.Digest) error {
	if e, ok := errors.AsType[*blobstore.Error](err); ok && e.Subject == "" {
		e.Subject = string(d)
	}
	return err
}

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
	if !w.im.clock.Now().Before(until) {
		// It may have landed when the promises had ended, behind a mark that
		// has not seen it (design 4.3; MODEL, hole 4).
		if _, err := w.promise(ctx, n, true); err != nil {
			return errors.Join(err, w.takeBack(ctx))
		}
	}
	for _, l := range wanted {
		w.im.checker.Want(l.blob, l.mediaType, l.diffID)
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
		return w.im.stillLinked(ctx, w.repo, w.manifest.Digest, w.live.Generation)
	}
	return nil
}

// A wanted is a layer to be checked.
type wanted struct {
	blob      digest.Digest
	mediaType string
	diffID    digest.Digest
}

// summary returns the payload of the manifest's link, and the layers that are
// to be checked. It looks into the config if that is a container image's.
func (w *writer) summary(ctx context.Context, n *naming) (json.RawMessage, []wanted, error) {
	s := summaryRecord{
		MediaType: w.manifest.MediaType, Size: w.manifest.Size,
		Subject: w.manifest.Subject, ArtifactType: w.manifest.ArtifactType,
		Layers: len(n.layers), Platforms: n.platforms[:min(len(n.platforms), 64)],
	}
	for _, size := range n.layers {
		s.LayersSize += size
	}
	if w.parsed.config != nil {
		s.Layers = len(w.parsed.layers) // one may be there twice
	}
	if !n.created.IsZero() {
		s.Created = n.created.UTC().Format(time.RFC3339Nano)
	}
	var check []wanted
	if c := w.parsed.config; c != nil && isImageConfig(c.MediaType) && c.Size <= MaxConfigSize {
		b, err := w.im.store.ReadAll(ctx, c.Digest, MaxConfigSize)
		if err != nil {
			return nil, nil, err
		}
		// What is no config is accepted: registries keep what they do not know.
		if config, err := parseConfig(b); err == nil {
			s.Platforms = []string{platformName(config.Platform)}
			if config.Created != nil {
				s.Created = config.Created.UTC().Format(time.RFC3339Nano)
			}
			check = w.wanted(config)
		}
	}
	payload, err := json.Marshal(s)
	return payload, check, err
}

// wanted lists the layers that can be checked against what the config says.
func (w *writer) wanted(config *ocispec.Image) []wanted {
	if w.im.checker == nil || len(config.RootFS.DiffIDs) != len(w.parsed.layers) {
		return nil
	}
	var check []wanted
	for i, l := range w.parsed.layers {
		if isLayer(l.MediaType) && !elsewhere(l) {
			check = append(check, wanted{l.Digest, l.MediaType, config.RootFS.DiffIDs[i]})
		}
	}
	return check
}
