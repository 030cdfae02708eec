package node

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

// A composed image is a base with one layer more.
type composed struct {
	config       []byte
	configDesc   ocispec.Descriptor
	manifest     []byte
	manifestDesc ocispec.Descriptor
	layers       []ocispec.Descriptor // of the base
	chainID      digest.Digest
}

// compose puts a layer on top of an image. What the base's config and manifest
// say of other things, known here or not, stays as it is.
func compose(b *base, l *layer, c container, in *pb.ContainersCommitRequest, now time.Time) (*composed, error) {
	config, err := composeConfig(b, l, c, in, now)
	if err != nil {
		return nil, err
	}
	out := &composed{
		config: config, layers: b.manifest.Layers,
		configDesc: ocispec.Descriptor{
			MediaType: b.manifest.Config.MediaType, Digest: digest.FromBytes(config), Size: int64(len(config)),
		},
		chainID: identity.ChainID(append(append([]digest.Digest{}, b.diffIDs...), l.diffID)),
	}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: b.manifest.MediaType, ArtifactType: b.manifest.ArtifactType,
		Config: out.configDesc, Annotations: b.manifest.Annotations,
	}
	m.Layers = append(append(m.Layers, b.manifest.Layers...), l.Descriptor)
	if out.manifest, err = json.Marshal(m); err != nil {
		return nil, err
	}
	out.manifestDesc = ocispec.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(out.manifest), Size: int64(len(out.manifest))}
	return out, nil
}

func composeConfig(b *base, l *layer, c container, in *pb.ContainersCommitRequest, now time.Time) ([]byte, error) {
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(b.config, &all); err != nil {
		return nil, fmt.Errorf("config of the image: %w", err)
	}
	var known ocispec.Image
	if err := json.Unmarshal(b.config, &known); err != nil {
		return nil, fmt.Errorf("config of the image: %w", err)
	}
	now = now.UTC()
	known.RootFS.Type = "layers"
	known.RootFS.DiffIDs = append(known.RootFS.DiffIDs, l.diffID)
	// Who reads the history counts its entries against the layers. Where the image
	// has none for some, ours would be taken for theirs.
	for range unrecorded(known.History, len(b.diffIDs)) {
		known.History = append(known.History, ocispec.History{Comment: "not recorded"})
	}
	known.History = append(known.History, ocispec.History{
		Created: &now, CreatedBy: "lamina commit " + c.Id, Author: in.Author, Comment: in.Message,
	})
	set := map[string]any{"created": now, "rootfs": known.RootFS, "history": known.History}
	if in.Author != "" {
		set["author"] = in.Author
	}
	if len(in.Changes) > 0 {
		changed, err := applyInstructions(all["config"], in.Changes)
		if err != nil {
			return nil, err
		}
		set["config"] = changed
	}
	for k, v := range set {
		raw, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		all[k] = raw
	}
	return json.Marshal(all)
}

// unrecorded is how many of the layers the history does not speak of.
func unrecorded(history []ocispec.History, layers int) int {
	for _, h := range history {
		if !h.EmptyLayer {
			layers--
		}
	}
	return max(layers, 0)
}
