package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/reference"
)

// A base is the image that a container was made from.
type base struct {
	manifest ocispec.Manifest
	config   []byte
	diffIDs  []digest.Digest
	// repositories may hold its layers, on the server that it came from.
	repositories []reference.Repository
}

// chainID names the layers of the image.
func (b *base) chainID() digest.Digest {
	if len(b.diffIDs) == 0 {
		return ""
	}
	return identity.ChainID(slices.Clone(b.diffIDs))
}

// errNoBase is the class of errors of a container whose image cannot be found.
var errNoBase = errors.New("the container's image is not to be had")

// base finds the image whose layers the container lies on: by its name, and if
// that has been given to another image meanwhile, or taken away, among all
// images here, and then on the server.
func (a *Agent) base(ctx context.Context, c container, to *target) (*base, error) {
	if c.ChainId == "" {
		return nil, fmt.Errorf("%w: the writable layer of %s/%s does not lie on the layers of an image", errNoBase, c.Namespace, c.Id)
	}
	ctx = namespaces.WithNamespace(ctx, c.Namespace)
	all, err := a.containerd.ImageService().List(ctx)
	if err != nil {
		return nil, err
	}
	// Images may have the same layers and say otherwise how they are run: the very
	// one first, then what has its name now.
	named := func(i images.Image) bool { return i.Name == c.Image }
	rank := func(i images.Image) int {
		switch {
		case string(i.Target.Digest) == c.ImageDigest:
			return 0
		case named(i):
			return 1
		}
		return 2
	}
	slices.SortStableFunc(all, func(x, y images.Image) int { return rank(x) - rank(y) })
	var problems error
	for _, img := range all {
		b, err := a.baseOf(ctx, img)
		if err != nil {
			if named(img) {
				problems = errors.Join(problems, fmt.Errorf("image %s: %w", img.Name, err))
			}
			continue
		}
		if string(b.chainID()) == c.ChainId {
			b.repositories = a.repositories(ctx, c, b)
			return b, nil
		}
	}
	if b, err := fromServer(ctx, c, to); err == nil {
		return b, nil
	} else if c.ImageDigest != "" {
		problems = errors.Join(problems, err)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if problems == nil {
		problems = errors.New("no image here has its layers")
	}
	return nil, fmt.Errorf("%w: %s/%s was made from %s, chain ID %s: %w; pull that image again", errNoBase, c.Namespace, c.Id, c.Image, c.ChainId, problems)
}

// maxConfig is how large a manifest or config may be, in bytes.
const maxConfig = 4 << 20

func (a *Agent) baseOf(ctx context.Context, img images.Image) (*base, error) {
	store := a.containerd.ContentStore()
	m, err := images.Manifest(ctx, store, img.Target, platforms.Default())
	if err != nil {
		return nil, err
	}
	if m.Config.Size > maxConfig {
		return nil, fmt.Errorf("its config has %d bytes, at most %d can be read", m.Config.Size, maxConfig)
	}
	config, err := content.ReadBlob(ctx, store, m.Config)
	if err != nil {
		return nil, err
	}
	if m.MediaType == "" {
		m.MediaType = ocispec.MediaTypeImageManifest
	}
	return newBase(m, config)
}

func newBase(m ocispec.Manifest, config []byte) (*base, error) {
	var c struct {
		RootFS ocispec.RootFS `json:"rootfs"`
	}
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, fmt.Errorf("config %s: %w", m.Config.Digest, err)
	}
	if len(c.RootFS.DiffIDs) != len(m.Layers) {
		return nil, fmt.Errorf("config %s has %d diffIDs for %d layers", m.Config.Digest, len(c.RootFS.DiffIDs), len(m.Layers))
	}
	return &base{manifest: m, config: config, diffIDs: c.RootFS.DiffIDs}, nil
}

// fromServer reads the image from the server that the diff goes to, for a host
// whose containerd has collected it.
func fromServer(ctx context.Context, c container, to *target) (*base, error) {
	ref, err := reference.Parse(c.Image)
	if err != nil {
		return nil, err
	}
	d, err := reference.ParseDigest(c.ImageDigest)
	if err != nil {
		return nil, err
	}
	img, err := to.Image(ctx, ref.Repository, reference.Locator{Digest: d}, platforms.DefaultString())
	if err != nil {
		return nil, err
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(img.ManifestBytes, &m); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d, err)
	}
	if m.MediaType == "" {
		m.MediaType = img.GetManifest().GetMediaType()
	}
	b, err := newBase(m, img.ConfigBytes)
	if err != nil {
		return nil, err
	}
	if string(b.chainID()) != c.ChainId {
		return nil, fmt.Errorf("%s has other layers", c.Image)
	}
	b.repositories = []reference.Repository{ref.Repository}
	return b, nil
}

// maxRepositories is how many the server takes in one call.
const maxRepositories = 8

// sourceLabel is what containerd notes with a blob of where it came from.
const sourceLabel = "containerd.io/distribution.source."

// repositories lists where the server may have the image's layers already.
func (a *Agent) repositories(ctx context.Context, c container, b *base) []reference.Repository {
	var out []reference.Repository
	add := func(name string) {
		r, err := reference.ParseRepository(name)
		if err == nil && !slices.Contains(out, r) && len(out) < maxRepositories {
			out = append(out, r)
		}
	}
	if ref, err := reference.Parse(c.Image); err == nil {
		add(string(ref.Repository))
	}
	for _, d := range append([]ocispec.Descriptor{b.manifest.Config}, b.manifest.Layers...) {
		info, err := a.containerd.ContentStore().Info(ctx, d.Digest)
		if errdefs.IsNotFound(err) {
			continue
		}
		for k, names := range info.Labels {
			if strings.HasPrefix(k, sourceLabel) {
				for name := range strings.SplitSeq(names, ",") {
					add(name)
				}
			}
		}
	}
	return out
}
