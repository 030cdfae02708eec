package images

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/reference"
)

// parseConfig reads the config of a container image.
func parseConfig(b []byte) (*ocispec.Image, error) {
	if len(b) > MaxConfigSize {
		return nil, fmt.Errorf("it has %d bytes, at most %d are read", len(b), MaxConfigSize)
	}
	if err := checkJSON(b, false, MaxDepth); err != nil {
		return nil, err
	}
	var c ocispec.Image
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, err
	}
	switch n := len(c.RootFS.DiffIDs); {
	case c.RootFS.Type != "layers":
		return nil, fmt.Errorf("its rootfs is of type %.40q, not \"layers\"", c.RootFS.Type)
	case n > MaxDescriptors:
		return nil, fmt.Errorf("%d diff_ids, allowed are %d", n, MaxDescriptors)
	case c.OS == "" || c.Architecture == "":
		return nil, errors.New("it names no os and architecture")
	}
	for i, d := range c.RootFS.DiffIDs {
		if _, err := reference.ParseDigest(string(d)); err != nil {
			return nil, fmt.Errorf("diff_ids[%d]: %w", i, err)
		}
	}
	return &c, nil
}

// platformName is a platform as people write it: "linux/arm64/v8".
func platformName(p ocispec.Platform) string {
	if len(p.OS)+len(p.Architecture)+len(p.Variant) > 100 {
		return "unknown"
	}
	return platforms.Format(platforms.Normalize(ocispec.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}))
}

func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return t
}
