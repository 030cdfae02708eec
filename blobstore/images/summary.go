package images

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/blobstore/link"
	"github.com/laminastore/lamina/blobstore/record"
)

// summaryRecord is the payload of a manifest's link.
type summaryRecord struct {
	MediaType    string        `json:"mediaType"`
	Size         int64         `json:"size"`
	Subject      digest.Digest `json:"subject,omitempty"`
	ArtifactType string        `json:"artifactType,omitempty"`
	Layers       int           `json:"layers,omitempty"`
	LayersSize   int64         `json:"layersSize,omitempty"`
	Platforms    []string      `json:"platforms,omitempty"`
	Created      string        `json:"created,omitempty"` // RFC 3339
	Sparse       bool          `json:"sparse,omitempty"`
}

// summary reads the payload of the link of d.
func summary(d digest.Digest, l link.Link) (Summary, error) {
	var p summaryRecord
	if err := json.Unmarshal(l.Payload, &p); err != nil {
		return Summary{}, fmt.Errorf("%w: link of manifest %s: %v", record.ErrInvalid, d, err)
	}
	return Summary{
		Descriptor: Descriptor{Digest: d, MediaType: p.MediaType, Size: p.Size},
		Subject:    p.Subject, ArtifactType: p.ArtifactType,
		Layers: p.Layers, LayersSize: p.LayersSize, Platforms: p.Platforms,
		Created: parseTime(p.Created), Pushed: l.Since, Sparse: p.Sparse,
	}, nil
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
		Layers: len(n.layers), Platforms: n.platforms[:min(len(n.platforms), 64)], Sparse: n.sparse,
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
			check = w.wanted(n, config)
		}
	}
	payload, err := json.Marshal(s)
	return payload, check, err
}

// wanted lists the layers that can be checked against what the config says.
func (w *writer) wanted(n *naming, config *ocispec.Image) []wanted {
	if w.im.checker == nil || len(config.RootFS.DiffIDs) != len(w.parsed.layers) {
		return nil
	}
	var check []wanted
	for i, l := range w.parsed.layers {
		if _, here := n.blobs[l.Digest]; here && isLayer(l.MediaType) && !elsewhere(l) {
			check = append(check, wanted{l.Digest, l.MediaType, config.RootFS.DiffIDs[i]})
		}
	}
	return check
}
