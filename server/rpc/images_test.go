package rpc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/laminastore/lamina/internal/imagetest"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

// imagesOn is what a test of images needs.
type imagesOn struct {
	*pusher
	conn   grpc.ClientConnInterface
	images pb.ImagesClient
	blobs  imagetest.Blobs
}

func imagesTo(t *testing.T, conn grpc.ClientConnInterface) *imagesOn {
	return &imagesOn{pushTo(t, conn), conn, pb.NewImagesClient(conn), imagetest.Blobs{}}
}

// push stores an image of b with all that it names, children of an index first.
func (i *imagesOn) push(d ocispec.Descriptor, tags ...string) {
	i.t.Helper()
	var m struct {
		Manifests, Layers []ocispec.Descriptor
		Config            *ocispec.Descriptor
	}
	if err := json.Unmarshal(i.blobs[d.Digest], &m); err != nil {
		i.t.Fatal(err)
	}
	for _, child := range m.Manifests {
		i.push(child)
	}
	if m.Config != nil {
		m.Layers = append(m.Layers, *m.Config)
	}
	for _, l := range m.Layers {
		i.put(i.blobs[l.Digest])
	}
	out, err := i.images.Put(i.t.Context(), &pb.ImagesPutRequest{Repository: i.repo, Manifest: i.blobs[d.Digest], MediaType: d.MediaType, Tags: tags})
	if err != nil {
		i.t.Fatal(err)
	}
	if got := out.Manifest; got.Digest != string(d.Digest) || got.Size != d.Size || got.MediaType != d.MediaType {
		i.t.Errorf("stored %v, want %v", got, d)
	}
}

func (i *imagesOn) resolve(ref string) string {
	i.t.Helper()
	out, err := i.images.Resolve(i.t.Context(), &pb.ImagesResolveRequest{Repository: i.repo, Reference: ref})
	if err != nil {
		i.t.Fatalf("resolve %s: %v", ref, err)
	}
	return out.Manifest.Digest
}

func TestImageComesBackAsItWas(t *testing.T) {
	i := imagesTo(t, start(t, nil).Conn)
	d := i.blobs.Image("amd64", 1, 1000, 70_000, 3<<20)
	i.push(d, "1", "latest")
	for _, ref := range []string{"1", "latest", string(d.Digest)} {
		if got := i.resolve(ref); got != string(d.Digest) {
			t.Errorf("%s is %s", ref, got)
		}
	}
	m, err := i.images.GetManifest(t.Context(), &pb.ImagesGetManifestRequest{Repository: i.repo, Reference: "1"})
	if err != nil || !bytes.Equal(m.ManifestBytes, i.blobs[d.Digest]) || m.Manifest.MediaType != d.MediaType {
		t.Errorf("manifest %v %v", m, err)
	}

	got, err := i.images.Get(t.Context(), &pb.ImagesGetRequest{Repository: i.repo, Reference: "1", WaitForLayers: true})
	if err != nil {
		t.Fatal(err)
	}
	var want ocispec.Manifest
	if err := json.Unmarshal(i.blobs[d.Digest], &want); err != nil {
		t.Fatal(err)
	}
	var config ocispec.Image
	if err := json.Unmarshal(got.ConfigBytes, &config); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.ManifestBytes, i.blobs[d.Digest]) || got.Target.Digest != got.Manifest.Digest || got.Config.Digest != string(want.Config.Digest) || len(got.Layers) != 3 {
		t.Fatalf("got %v", got)
	}
	for n, l := range got.Layers {
		if l.Blob.Digest != string(want.Layers[n].Digest) || l.Blob.Size != want.Layers[n].Size || l.DiffId != string(config.RootFS.DiffIDs[n]) || l.State != pb.LayerState_LAYER_STATE_PLAIN {
			t.Errorf("layer %d: %v", n, l)
		}
	}
	if got.Layers[0].ChainId != got.Layers[0].DiffId || got.Layers[1].ChainId != digest.FromString(got.Layers[0].DiffId+" "+got.Layers[1].DiffId).String() {
		t.Errorf("chain IDs %s, %s", got.Layers[0].ChainId, got.Layers[1].ChainId)
	}
}

func TestIndexes(t *testing.T) {
	i := imagesTo(t, start(t, nil).Conn)
	d := i.blobs.Index()
	i.push(d, "multi")
	if got := i.resolve("multi"); got != string(d.Digest) {
		t.Errorf("without a platform: %s", got)
	}
	var index ocispec.Index
	if err := json.Unmarshal(i.blobs[d.Digest], &index); err != nil {
		t.Fatal(err)
	}
	for n, platform := range []string{"linux/amd64", "linux/arm64"} {
		r, err := i.images.Resolve(t.Context(), &pb.ImagesResolveRequest{Repository: i.repo, Reference: "multi", Platform: platform})
		if err != nil || r.Manifest.Digest != string(index.Manifests[n].Digest) {
			t.Errorf("%s: %v %v", platform, r, err)
		}
		got, err := i.images.Get(t.Context(), &pb.ImagesGetRequest{Repository: i.repo, Reference: "multi", Platform: platform})
		if err != nil || got.Target.Digest != string(d.Digest) || got.Manifest.Digest != r.GetManifest().GetDigest() || len(got.Platforms) != 2 {
			t.Errorf("%s: %v %v", platform, got, err)
		}
	}
	_, err := i.images.Resolve(t.Context(), &pb.ImagesResolveRequest{Repository: i.repo, Reference: "multi", Platform: "linux/s390x"})
	refused(t, err, codes.NotFound, "MANIFEST_UNKNOWN")
}

// An instruction that changes no file makes history, not a layer.
func TestHistory(t *testing.T) {
	i := imagesTo(t, start(t, nil).Conn)
	layer := imagetest.TarOf(1, 5000)
	config := ocispec.Image{
		Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(layer)}},
		History:  []ocispec.History{{CreatedBy: "ENV A=b", EmptyLayer: true}, {CreatedBy: "ADD . ."}, {CreatedBy: "CMD node", EmptyLayer: true, Comment: "last"}},
	}
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Layers: []ocispec.Descriptor{i.blobs.Add(ocispec.MediaTypeImageLayer, layer)}}
	m.SchemaVersion = 2
	m.Config = i.blobs.AddJSON(ocispec.MediaTypeImageConfig, config)
	i.push(i.blobs.AddJSON(ocispec.MediaTypeImageManifest, m), "1")

	h, err := i.images.History(t.Context(), &pb.ImagesHistoryRequest{Repository: i.repo, Reference: "1"})
	if err != nil || len(h.Entries) != 3 {
		t.Fatalf("%v %v", h, err)
	}
	for n, e := range h.Entries {
		if e.CreatedBy != config.History[n].CreatedBy || e.Comment != config.History[n].Comment || (e.Layer != nil) != (n == 1) {
			t.Errorf("entry %d: %v", n, e)
		}
	}
	if l := h.Entries[1].Layer; l.Blob.Digest != string(m.Layers[0].Digest) {
		t.Errorf("layer %v", l)
	}
}

func TestLayerThatIsNotWhatTheConfigSays(t *testing.T) {
	i := imagesTo(t, start(t, nil).Conn)
	for name, layer := range map[string][]byte{
		"another diffID": imagetest.Gzipped(imagetest.TarOf(2, 5000)),
		"no tar":         imagetest.Gzipped([]byte("hello")),
		"no gzip":        []byte("hello"),
	} {
		config := ocispec.Image{
			Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"},
			RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(imagetest.TarOf(1, 5000))}},
		}
		m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Layers: []ocispec.Descriptor{i.blobs.Add(ocispec.MediaTypeImageLayerGzip, layer)}}
		m.SchemaVersion = 2
		m.Config = i.blobs.AddJSON(ocispec.MediaTypeImageConfig, config)
		i.push(i.blobs.AddJSON(ocispec.MediaTypeImageManifest, m), "bad")
		got, err := i.images.Get(t.Context(), &pb.ImagesGetRequest{Repository: i.repo, Reference: "bad", WaitForLayers: true})
		if err != nil || len(got.Layers) != 1 || got.Layers[0].State != pb.LayerState_LAYER_STATE_INVALID || got.Layers[0].Problem == "" {
			t.Errorf("%s: %v %v", name, got.GetLayers(), err)
		}
	}
}

func TestManifestsThatAreRefused(t *testing.T) {
	i := imagesTo(t, start(t, nil).Conn)
	d := i.blobs.Image("amd64", 1, 1000)
	ctx := t.Context()
	put := func(in *pb.ImagesPutRequest) error {
		in.Repository = i.repo
		_, err := i.images.Put(ctx, in)
		return err
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(i.blobs[d.Digest], &m); err != nil {
		t.Fatal(err)
	}

	err := put(&pb.ImagesPutRequest{Manifest: i.blobs[d.Digest], MediaType: d.MediaType, Tags: []string{"1"}})
	refused(t, err, codes.FailedPrecondition, "MANIFEST_BLOB_UNKNOWN")
	var missing []string
	for _, v := range detailOf[*errdetails.PreconditionFailure](err).GetViolations() {
		missing = append(missing, v.Subject)
	}
	want := []string{string(m.Config.Digest), string(m.Layers[0].Digest)}
	slices.Sort(missing)
	slices.Sort(want)
	if !slices.Equal(missing, want) {
		t.Errorf("missing %v, want %v", missing, want)
	}

	refused(t, put(&pb.ImagesPutRequest{Manifest: []byte("no JSON"), MediaType: d.MediaType}), codes.InvalidArgument, "MANIFEST_INVALID")
	refused(t, put(&pb.ImagesPutRequest{Manifest: i.blobs[d.Digest], MediaType: "text/plain"}), codes.InvalidArgument, "MANIFEST_INVALID")
	large := append([]byte(`{"schemaVersion":2,"x":"`+strings.Repeat("x", 4<<20)), `"}`...)
	refused(t, put(&pb.ImagesPutRequest{Manifest: large, MediaType: d.MediaType}), codes.InvalidArgument, "MANIFEST_TOO_LARGE")
	refused(t, put(&pb.ImagesPutRequest{Manifest: i.blobs[d.Digest], Tags: []string{strings.Repeat("a", 129)}}), codes.InvalidArgument, "TAG_INVALID")
	refused(t, put(&pb.ImagesPutRequest{Manifest: i.blobs[d.Digest], Tags: []string{"-x"}}), codes.InvalidArgument, "TAG_INVALID")
	refused(t, put(&pb.ImagesPutRequest{Manifest: i.blobs[d.Digest], Tags: strings.Split("abcdefghijk", "")}), codes.InvalidArgument, "ARGUMENT_INVALID")
	refused(t, put(&pb.ImagesPutRequest{Manifest: i.blobs[d.Digest], ExpectedDigest: "x"}), codes.InvalidArgument, "DIGEST_INVALID")

	// Nothing of all that can be seen.
	_, err = i.images.Resolve(ctx, &pb.ImagesResolveRequest{Repository: i.repo, Reference: "1"})
	refused(t, err, codes.NotFound, "MANIFEST_UNKNOWN")
	_, err = i.images.Resolve(ctx, &pb.ImagesResolveRequest{Repository: i.repo, Reference: string(d.Digest)})
	refused(t, err, codes.NotFound, "MANIFEST_UNKNOWN")
}

func TestImagesRefuseBadNames(t *testing.T) {
	c := pb.NewImagesClient(start(t, nil).Conn)
	calls := map[string]func(ctx context.Context, repo, ref string) error{
		"Resolve": func(ctx context.Context, repo, ref string) error {
			_, err := c.Resolve(ctx, &pb.ImagesResolveRequest{Repository: repo, Reference: ref})
			return err
		},
		"GetManifest": func(ctx context.Context, repo, ref string) error {
			_, err := c.GetManifest(ctx, &pb.ImagesGetManifestRequest{Repository: repo, Reference: ref})
			return err
		},
		"Get": func(ctx context.Context, repo, ref string) error {
			_, err := c.Get(ctx, &pb.ImagesGetRequest{Repository: repo, Reference: ref})
			return err
		},
		"History": func(ctx context.Context, repo, ref string) error {
			_, err := c.History(ctx, &pb.ImagesHistoryRequest{Repository: repo, Reference: ref})
			return err
		},
		"Delete": func(ctx context.Context, repo, ref string) error {
			_, err := c.Delete(ctx, &pb.ImagesDeleteRequest{Repository: repo, Reference: ref})
			return err
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			refused(t, call(t.Context(), "a/../b", "1"), codes.InvalidArgument, "NAME_INVALID")
			refused(t, call(t.Context(), "Demo", "1"), codes.InvalidArgument, "NAME_INVALID")
			refused(t, call(t.Context(), "a", strings.Repeat("a", 129)), codes.InvalidArgument, "TAG_INVALID")
			refused(t, call(t.Context(), "a", ""), codes.InvalidArgument, "TAG_INVALID")
			refused(t, call(t.Context(), "a", "sha256:x"), codes.InvalidArgument, "DIGEST_INVALID")
			refused(t, call(t.Context(), "a", "1"), codes.NotFound, "MANIFEST_UNKNOWN")
			refused(t, call(t.Context(), "a", absent), codes.NotFound, "MANIFEST_UNKNOWN")
		})
	}
}

func TestTags(t *testing.T) {
	i := imagesTo(t, start(t, nil).Conn)
	one, two := i.blobs.Image("amd64", 1, 1000), i.blobs.Image("amd64", 9, 1000)
	i.push(one, "a")
	i.push(two)
	tag := func(name string, d digest.Digest, expected string) error {
		_, err := i.images.Tag(t.Context(), &pb.ImagesTagRequest{Repository: i.repo, Tag: name, Digest: string(d), ExpectedDigest: expected})
		return err
	}
	if err := tag("a", two.Digest, string(one.Digest)); err != nil {
		t.Error(err)
	}
	info := refused(t, tag("a", one.Digest, string(one.Digest)), codes.Aborted, "TAG_CONFLICT")
	if info.Metadata["actual"] != string(two.Digest) {
		t.Errorf("metadata %v", info.Metadata)
	}
	refused(t, tag("a", one.Digest, "absent"), codes.Aborted, "TAG_CONFLICT")
	if got := i.resolve("a"); got != string(two.Digest) {
		t.Errorf("a is %s", got)
	}
	if err := tag("b", one.Digest, "absent"); err != nil {
		t.Error(err)
	}
	refused(t, tag("c", one.Digest, string(one.Digest)), codes.Aborted, "TAG_CONFLICT")
	refused(t, tag("c", absent, ""), codes.NotFound, "MANIFEST_UNKNOWN")
	refused(t, tag("a", "sha256:", ""), codes.InvalidArgument, "DIGEST_INVALID")
	refused(t, tag(strings.Repeat("a", 129), one.Digest, ""), codes.InvalidArgument, "TAG_INVALID")
	_, err := i.images.Put(t.Context(), &pb.ImagesPutRequest{Repository: i.repo, Manifest: i.blobs[one.Digest], Tags: []string{"a"}, ExpectedDigest: "absent"})
	refused(t, err, codes.Aborted, "TAG_CONFLICT")

	// Deleting a tag leaves the manifest and its other tags; deleting the
	// manifest takes them all, and no layer.
	del := func(ref string) error {
		_, err := i.images.Delete(t.Context(), &pb.ImagesDeleteRequest{Repository: i.repo, Reference: ref})
		return err
	}
	if err := tag("b2", one.Digest, ""); err != nil {
		t.Error(err)
	}
	if err := del("b"); err != nil {
		t.Error(err)
	}
	refused(t, del("b"), codes.NotFound, "MANIFEST_UNKNOWN")
	if got := i.resolve("b2"); got != string(one.Digest) {
		t.Errorf("b2 is %s", got)
	}
	if err := del(string(one.Digest)); err != nil {
		t.Error(err)
	}
	_, err = i.images.Resolve(t.Context(), &pb.ImagesResolveRequest{Repository: i.repo, Reference: "b2"})
	refused(t, err, codes.NotFound, "MANIFEST_UNKNOWN")
	i.resolve("a")
}

func TestImageList(t *testing.T) {
	i := imagesTo(t, start(t, nil).Conn)
	var want, wantAll []string
	for n, repo := range []string{"a", "a-b", "a/b", "ab", "b"} {
		i.repo = repo
		var loose []string
		for k := range 3 {
			d := i.blobs.Image("amd64", uint64(100*n+10*k), 500+k)
			if k == 2 {
				i.push(d) // no tag names it
				loose = append(loose, repo+"@"+string(d.Digest))
				continue
			}
			i.push(d, fmt.Sprintf("t%d", k), fmt.Sprintf("u%d", k))
		}
		tags := []string{repo + ":t0", repo + ":t1", repo + ":u0", repo + ":u1"}
		want, wantAll = append(want, tags...), append(append(wantAll, tags...), loose...)
	}
	list := func(in *pb.ImagesListRequest) (got []string) {
		t.Helper()
		for {
			out, err := i.images.List(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if in.PageSize > 0 && len(out.Images) > int(in.PageSize) {
				t.Fatalf("%d on a page of %d", len(out.Images), in.PageSize)
			}
			for _, m := range out.Images {
				name := m.Repository + ":" + m.Tag
				if m.Tag == "" {
					name = m.Repository + "@" + m.Manifest.Digest
				}
				if m.Layers != 1 || m.LayersSize < 500 || m.PushedAt == nil || !slices.Equal(m.Platforms, []string{"linux/amd64"}) {
					t.Errorf("%v", m)
				}
				got = append(got, name)
			}
			if in.PageToken = out.NextPageToken; in.PageToken == "" {
				return got
			}
		}
	}
	for size := range int32(26) {
		if got := list(&pb.ImagesListRequest{PageSize: size}); !slices.Equal(got, want) {
			t.Fatalf("pages of %d: %v\nwant %v", size, got, want)
		}
		if got := list(&pb.ImagesListRequest{PageSize: size, Untagged: true}); !slices.Equal(got, wantAll) {
			t.Fatalf("pages of %d, untagged: %v\nwant %v", size, got, wantAll)
		}
	}
	for prefix, want := range map[string]int{"a": 16, "a/": 4, "a-": 4, "ab": 4, "b": 4, "c": 0, "a/b": 4, "abc": 0, "0": 0, "1": 0, "z": 0, "a.": 0, "a_": 0, "a0": 0} {
		if got := list(&pb.ImagesListRequest{Prefix: prefix, PageSize: 3}); len(got) != want {
			t.Errorf("prefix %q: %v", prefix, got)
		}
	}

	first, err := i.images.List(t.Context(), &pb.ImagesListRequest{PageSize: 2})
	if err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string]*pb.ImagesListRequest{
		"size":          {PageSize: -1},
		"large page":    {PageSize: 1001},
		"token":         {PageToken: "x"},
		"other filters": {PageToken: first.NextPageToken, Untagged: true},
		"prefix":        {Prefix: "A"},
		"its beginning": {Prefix: "/a"},
	} {
		_, err := i.images.List(t.Context(), in)
		refused(t, err, codes.InvalidArgument, "ARGUMENT_INVALID")
		if v := detailOf[*errdetails.BadRequest](err).GetFieldViolations(); len(v) != 1 {
			t.Errorf("%s: no field named in %v", name, err)
		}
	}
}
