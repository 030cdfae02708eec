package node

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

func TestComposedImage(t *testing.T) {
	one, two := digest.FromString("one"), digest.FromString("two")
	entry := ocispec.History{CreatedBy: "ADD"}
	for name, tt := range map[string]struct {
		config    string
		mediaType string
		history   int // entries in the end
	}{
		"OCI":           {`"history":[{"created_by":"ADD"},{"created_by":"CMD","empty_layer":true},{"created_by":"COPY"}]`, ocispec.MediaTypeImageManifest, 4},
		"Docker":        {`"history":[{"created_by":"ADD"},{"created_by":"COPY"}]`, "application/vnd.docker.distribution.manifest.v2+json", 3},
		"no history":    {`"docker_version":"1"`, ocispec.MediaTypeImageManifest, 3},
		"less than all": {`"history":[{"created_by":"ADD"}]`, ocispec.MediaTypeImageManifest, 3},
	} {
		t.Run(name, func(t *testing.T) {
			config := `{"architecture":"riscv64","os":"linux","variant":"v9","x-own":{"k":1},"config":{"Cmd":["sh"],"Healthcheck":{"Test":["NONE"]}},` +
				`"rootfs":{"type":"layers","diff_ids":["` + string(one) + `","` + string(two) + `"]},` + tt.config + `}`
			m := ocispec.Manifest{
				MediaType: tt.mediaType, Config: ocispec.Descriptor{MediaType: "the config's", Digest: digest.FromString(config)},
				Layers:      []ocispec.Descriptor{{Digest: "sha256:1"}, {Digest: "sha256:2"}},
				Annotations: map[string]string{"kept": "yes"}, Subject: &ocispec.Descriptor{Digest: "sha256:s"},
			}
			b, err := newBase(m, []byte(config))
			if err != nil {
				t.Fatal(err)
			}
			l := &layer{Descriptor: ocispec.Descriptor{MediaType: "the layer's", Digest: digest.FromString("layer"), Size: 9}, diffID: digest.FromString("diff")}
			now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
			img, err := compose(b, l, container{Container: &pb.Container{Id: "web-1"}},
				&pb.ContainersCommitRequest{Author: "me", Message: "why", Changes: []string{"USER www"}}, now)
			if err != nil {
				t.Fatal(err)
			}
			var got ocispec.Manifest
			unmarshal(t, string(img.manifest), &got)
			if got.MediaType != tt.mediaType || img.manifestDesc.MediaType != tt.mediaType || len(got.Layers) != 3 || got.Layers[2].Digest != l.Digest ||
				got.Layers[2].Size != 9 || got.Annotations["kept"] != "yes" || got.Subject != nil ||
				got.Config.Digest != digest.FromBytes(img.config) || got.Config.Size != int64(len(img.config)) || got.Config.MediaType != "the config's" {
				t.Errorf("manifest %s", img.manifest)
			}
			if len(b.manifest.Layers) != 2 || len(b.diffIDs) != 2 {
				t.Error("the base has been changed")
			}
			if want := identity.ChainID([]digest.Digest{one, two, l.diffID}); img.chainID != want {
				t.Errorf("chain ID %s, want %s", img.chainID, want)
			}
			var c ocispec.Image
			unmarshal(t, string(img.config), &c)
			last := c.History[len(c.History)-1]
			if len(c.History) != tt.history || last.CreatedBy != "lamina commit web-1" || last.Author != "me" || last.Comment != "why" || !last.Created.Equal(now) || last.EmptyLayer {
				t.Errorf("history %+v", c.History)
			}
			layers := 0
			for _, h := range c.History {
				if !h.EmptyLayer {
					layers++
				}
			}
			if layers != len(c.RootFS.DiffIDs) || layers != 3 {
				t.Errorf("the history speaks of %d layers, there are %d", layers, len(c.RootFS.DiffIDs))
			}
			if name != "no history" && c.History[0].CreatedBy != entry.CreatedBy {
				t.Errorf("history %+v", c.History)
			}
			var all map[string]json.RawMessage
			unmarshal(t, string(img.config), &all)
			if string(all["x-own"]) != `{"k":1}` || c.Variant != "v9" || c.Author != "me" || !c.Created.Equal(now) || c.Config.User != "www" ||
				string(all["config"]) != `{"Cmd":["sh"],"Healthcheck":{"Test":["NONE"]},"User":"www"}` {
				t.Errorf("config %s", img.config)
			}
		})
	}
}
