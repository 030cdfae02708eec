package verify

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/images"
)

// A named is a blob that an image names, directly or through what it names.
type named struct {
	digest digest.Digest
	size   int64 // bytes, as its descriptor says
	// held says that the repository must hold it: it is the config or a layer of
	// the manifest itself.
	held bool
	// may says that it need not be here: it is kept elsewhere, or was not there
	// when the image was pushed.
	may bool
}

// maxNesting is how many indexes deep a manifest may lie in an index, as in what is
// accepted.
const maxNesting = 8

// tree returns all that the manifest names, itself first. What cannot be read names
// nothing: that it cannot is found with the blobs, to which it is named. none says
// why one of them is no manifest.
// Errors: bucket.ErrUnavailable.
func (r *run) tree(ctx context.Context, root images.Descriptor, sparse bool) (all []named, none string, err error) {
	all = []named{{digest: root.Digest, size: root.Size}}
	seen := map[digest.Digest]bool{root.Digest: true}
	add := func(n named) bool {
		if seen[n.digest] {
			return false
		}
		seen[n.digest] = true
		all = append(all, n)
		return true
	}
	level := []images.Descriptor{root}
	for depth := 0; len(level) > 0 && depth <= maxNesting; depth++ {
		var next []images.Descriptor
		for _, m := range level {
			p, err := r.parse(ctx, m)
			if err != nil {
				return nil, "", err
			}
			if p.none != "" && (depth == 0 || m.MediaType != "") {
				none = p.none
			}
			n := p.names
			if c := n.Config; c != nil {
				add(named{c.Digest, c.Size, depth == 0, sparse && depth > 0})
			}
			for _, l := range n.Layers {
				add(named{l.Digest, l.Size, depth == 0, sparse})
			}
			for _, l := range n.Elsewhere {
				add(named{l.Digest, l.Size, false, true})
			}
			for _, c := range n.Manifests {
				if add(named{c.Digest, c.Size, false, sparse}) && (c.MediaType == "" || images.IsManifest(c.MediaType) || images.IsIndex(c.MediaType)) {
					next = append(next, c)
				}
			}
		}
		level = next
	}
	return all, none, nil
}

// parse reads a manifest, from memory if it has been read before.
func (r *run) parse(ctx context.Context, m images.Descriptor) (parsed, error) {
	if p, ok := r.parsed.Get(m.Digest); ok {
		return p, nil
	}
	var p parsed
	b, err := r.v.store.ReadUnpromised(ctx, m.Digest, images.MaxManifestSize)
	switch {
	case errors.Is(err, blobstore.ErrBlobUnknown):
		return parsed{absent: true}, nil // perhaps not for long
	case errors.Is(err, blobstore.ErrTooLarge):
		p.none = err.Error()
	case invalid(err):
		p.bad = true
		r.forceRead(m.Digest)
	case err != nil:
		return parsed{}, err
	default:
		if p.names, err = images.ParseNames(m.MediaType, b); err != nil {
			p.none = err.Error()
		}
	}
	r.parsed.Put(m.Digest, p, int64(200+200*(1+len(p.names.Layers)+len(p.names.Manifests)+len(p.names.Elsewhere))))
	return p, nil
}

// forceRead has a blob read that looked damaged, whether it is in the sample or not.
func (r *run) forceRead(d digest.Digest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.force) < maxFound {
		r.force[d] = true
	}
}

func (r *run) forced(d digest.Digest) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.force[d]
}
