package schedule

import (
	"context"
	"errors"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/images"
)

// Collect runs one cycle of a collector: a mark from the links of manifests, and
// a sweep of blobs and uploads.
func (p *Process) Collect(ctx context.Context) error {
	began := p.Now()
	marked, err := p.mark(ctx)
	if err != nil {
		return err
	}
	for info, err := range p.Store.Bucket().List(ctx, "blobs/", "") {
		if err != nil {
			return err
		}
		parts := strings.Split(info.Key, "/")
		d := digest.NewDigestFromEncoded(digest.Algorithm(parts[1]), parts[3])
		if marked[d] {
			if _, err := p.Store.FreeDropped(ctx, d, false); err != nil {
				return err
			}
			continue
		}
		if _, err := p.Store.Judge(ctx, d, began, false); err != nil && !errors.Is(err, blobstore.ErrBlobUnknown) {
			return err
		}
	}
	if true {
		p.world.judge.count("cycle of a collector")
		return nil
	}
	for id, err := range p.Store.UploadIDs(ctx, "") {
		if err != nil {
			return err
		}
		if _, err := p.Store.SweepUpload(ctx, id, false); err != nil {
			return err
		}
	}
	p.world.judge.count("cycle of a collector")
	return nil
}

func (p *Process) mark(ctx context.Context) (map[digest.Digest]bool, error) {
	marked := map[digest.Digest]bool{}
	for info, err := range p.Store.Bucket().List(ctx, "repos/", "") {
		if err != nil {
			return nil, err
		}
		_, d, ok := strings.Cut(info.Key, "/_manifests/")
		if !ok {
			continue
		}
		if _, err := p.Store.Links().Fresh(ctx, info.Key); errors.Is(err, bucket.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		if err := p.follow(ctx, digest.Digest(d), marked); err != nil {
			return nil, err
		}
	}
	return marked, nil
}

func (p *Process) follow(ctx context.Context, d digest.Digest, marked map[digest.Digest]bool) error {
	if marked[d] {
		return nil
	}
	marked[d] = true
	b, err := p.Store.ReadAll(ctx, d, images.MaxManifestSize)
	if errors.Is(err, blobstore.ErrBlobUnknown) {
		return nil
	}
	if err != nil {
		return err
	}
	n, err := images.ParseNames("", b)
	if err != nil {
		return err
	}
	if n.Config != nil {
		marked[n.Config.Digest] = true
	}
	for _, l := range n.Layers {
		marked[l.Digest] = true
	}
	for _, m := range n.Manifests {
		if err := p.follow(ctx, m.Digest, marked); err != nil {
			return err
		}
	}
	return nil
}
