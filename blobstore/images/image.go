package images

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/layers"
	"github.com/laminastore/lamina/reference"
)

// Image returns what l names in repo, taken apart. When that is an index,
// platform ("linux/amd64", "linux/arm64/v8") chooses among its manifests; empty
// means the server's own, or the only one there is. Of a manifest that is no
// container image, or whose config cannot be read, OCI is nil.
// Errors: blobstore.ErrManifestUnknown, also when the index has nothing for the
// platform; ErrManifestInvalid when platform is none; ErrBlobUnknown when the
// config is not there; ErrCorrupt; bucket.ErrUnavailable.
func (im *Images) Image(ctx context.Context, repo reference.Repository, l reference.Locator, platform string) (Image, error) {
	m, v, err := im.get(ctx, repo, l)
	if err != nil {
		return Image{}, err
	}
	i := Image{Target: m.Descriptor, Manifest: m, via: v}
	p, err := parse(m.MediaType, m.Bytes)
	if err != nil {
		return Image{}, about(err, m.Digest)
	}
	if IsIndex(m.MediaType) {
		if p, err = im.pick(ctx, &i, p, platform); err != nil {
			return Image{}, about(err, m.Digest)
		}
	}
	problem, err := im.readConfig(ctx, &i, p)
	if err != nil {
		return Image{}, err
	}
	i.Layers = stack(p, i.OCI, problem)
	if i.OCI != nil {
		i.History = alignHistory(i.OCI.History, len(i.Layers))
	}
	return i, im.states(ctx, repo, &i, false)
}

// WaitLayers waits until every layer of i, an image of repo, has been checked,
// and brings their states up to date. Errors: those of layers.Checker.Wait.
func (im *Images) WaitLayers(ctx context.Context, repo reference.Repository, i *Image) error {
	return im.states(ctx, repo, i, true)
}

// pick makes the manifest for the platform the one of i. The repository need
// not have it any more: whoever may read an index may read what it names.
func (im *Images) pick(ctx context.Context, i *Image, index *parsed, platform string) (*parsed, error) {
	cs, err := im.candidates(ctx, i.via, index.manifests, 1)
	if err != nil {
		return nil, err
	}
	for _, c := range cs {
		i.Platforms = append(i.Platforms, PlatformManifest{c.Descriptor, platformName(c.platform)})
	}
	c, err := choose(cs, platform)
	if err != nil {
		return nil, err
	}
	b, err := i.via.manifest(ctx, im, c.Digest)
	if err != nil {
		return nil, err
	}
	p, err := parse(c.MediaType, b)
	if err != nil {
		return nil, err
	}
	i.Manifest = Manifest{Descriptor: c.Descriptor, Bytes: b, Subject: p.subjectDigest(), ArtifactType: p.referrerType()}
	return p, nil
}

// readConfig reads the config. It returns what is wrong with it, if it should
// be that of a container image and is not.
func (im *Images) readConfig(ctx context.Context, i *Image, p *parsed) (problem string, err error) {
	i.Config = describe(*p.config)
	i.ConfigBytes, err = im.store.ReadAll(ctx, p.config.Digest, MaxConfigSize)
	if errors.Is(err, blobstore.ErrTooLarge) {
		return fmt.Sprintf("the config %s cannot be looked into: it has %d bytes, at most %d are read", p.config.Digest, p.config.Size, MaxConfigSize), nil
	}
	if err != nil || !isImageConfig(p.config.MediaType) {
		return "", err
	}
	config, err := parseConfig(i.ConfigBytes)
	switch {
	case err != nil:
		return fmt.Sprintf("the config %s is none of a container image: %v; build and push the image again", p.config.Digest, err), nil
	case len(config.RootFS.DiffIDs) != len(p.layers):
		problem = fmt.Sprintf("the config %s has %d diff_ids for %d layers; build and push the image again",
			p.config.Digest, len(config.RootFS.DiffIDs), len(p.layers))
	}
	i.OCI, i.Platform = config, platformName(config.Platform)
	return problem, nil
}

// stack lists the layers that p names, with what config says of them.
func stack(p *parsed, config *ocispec.Image, problem string) []Layer {
	ls := make([]Layer, len(p.layers))
	known := config != nil && problem == ""
	var chain []digest.Digest
	if known {
		chain = identity.ChainIDs(slices.Clone(config.RootFS.DiffIDs))
	}
	for i, d := range p.layers {
		l := Layer{Blob: describe(d)}
		switch {
		case known:
			l.DiffID, l.ChainID = config.RootFS.DiffIDs[i], chain[i]
			if !isLayer(d.MediaType) || elsewhere(d) {
				l.State = layers.Opaque
			}
		case problem != "" && isLayer(d.MediaType):
			l.State, l.Problem = layers.Invalid, problem
		default:
			l.State = layers.Opaque
		}
		ls[i] = l
	}
	return ls
}

// states asks what is known in the realm of repo of the layers that are not yet
// known.
func (im *Images) states(ctx context.Context, repo reference.Repository, i *Image, wait bool) error {
	if im.checker == nil {
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for n := range i.Layers {
		l := &i.Layers[n]
		if l.State != layers.Pending {
			continue
		}
		g.Go(func() (err error) {
			if here, err := i.via.holds(ctx, im, l.Blob.Digest); !here {
				l.State, l.Problem = layers.Invalid, fmt.Sprintf("%s has not been pushed to repository %s; push it there", l.Blob.Digest, i.via.repo)
				return err
			}
			ask := im.checker.State
			if wait {
				ask = im.checker.Wait
			}
			l.State, l.Problem, err = ask(ctx, repo, l.Blob.Digest, l.DiffID)
			if errors.Is(err, blobstore.ErrBlobUnknown) {
				l.State, l.Problem = layers.Invalid, fmt.Sprintf("%s is not in the store; push the image again", l.Blob.Digest)
				err = nil
			}
			return err
		})
	}
	return g.Wait()
}
