package client_test

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/laminastore/lamina/client"
	"github.com/laminastore/lamina/client/transfer"
	"github.com/laminastore/lamina/internal/imagetest"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/reference"
	"github.com/laminastore/lamina/server/servertest"
)

const repo = reference.Repository("demo/app")

func dial(t *testing.T, addr string) *client.Client {
	t.Helper()
	c, err := client.Dial(addr, client.Options{Patience: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func open(t *testing.T, place string) transfer.Source {
	t.Helper()
	l, err := transfer.ParseLocation(place)
	if err != nil {
		t.Fatal(err)
	}
	s, err := transfer.Open(t.Context(), l, transfer.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func create(t *testing.T, place string) transfer.Destination {
	t.Helper()
	l, err := transfer.ParseLocation(place)
	if err != nil {
		t.Fatal(err)
	}
	d, err := transfer.Create(t.Context(), l, transfer.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func tagged(tag string) reference.Locator { return reference.Locator{Tag: reference.Tag(tag)} }

func push(t *testing.T, c *client.Client, b imagetest.Blobs, root ocispec.Descriptor, tag reference.Tag) transfer.Result {
	t.Helper()
	r, err := c.Push(t.Context(), open(t, "oci:"+b.Layout(t, root)), repo, tag, client.CopyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func pull(t *testing.T, c *client.Client, l reference.Locator) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	if _, err := c.Pull(t.Context(), create(t, "oci:"+dir), repo, l, client.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestAnImageComesBackByteForByte(t *testing.T) {
	s := servertest.Start(t, servertest.Options{})
	c := dial(t, s.GRPC)
	b := imagetest.Blobs{}
	root := b.Index()
	r := push(t, c, b, root, "1")
	if r.Root.Digest != root.Digest || r.Moved != r.Blobs {
		t.Errorf("%+v", r)
	}
	if err := c.WaitLayers(t.Context(), repo, r.Manifests); err != nil {
		t.Error(err)
	}
	dir := pull(t, c, tagged("1"))
	for d, want := range b {
		name := filepath.Join(dir, "blobs", string(d.Algorithm()), d.Encoded())
		if got := read(t, name); !bytes.Equal(got, want) {
			t.Errorf("%s is not what it was", d)
		}
	}
}

// A manifest may be known by its sha512, and so may a layer.
func TestOtherDigestsComeBackToo(t *testing.T) {
	s := servertest.Start(t, servertest.Options{})
	c := dial(t, s.GRPC)
	b := imagetest.Blobs{}
	root := b.Image("amd64", 1, 2000)
	m := b[root.Digest]
	for d, data := range b {
		if len(data) > 2000 {
			d512 := digest.SHA512.FromBytes(data)
			m = bytes.ReplaceAll(m, []byte(d), []byte(d512))
			b[d512] = data
		}
	}
	root.Digest, root.Size = digest.SHA512.FromBytes(m), int64(len(m))
	b[root.Digest] = m
	r := push(t, c, b, root, "1")
	if err := c.WaitLayers(t.Context(), repo, r.Manifests); err != nil {
		t.Error(err)
	}
	dir := pull(t, c, tagged("1"))
	back, err := open(t, "oci:"+dir).Root(t.Context())
	if err != nil || back.Digest != root.Digest {
		t.Errorf("%v: %v", back.Digest, err)
	}
}

func TestAPushOfWhatIsThereSendsNoBlob(t *testing.T) {
	s := servertest.Start(t, servertest.Options{})
	through := newCutter(t, s.GRPC)
	b := imagetest.Blobs{}
	root := b.Image("amd64", 1, 3<<20, 1<<20)
	push(t, dial(t, s.GRPC), b, root, "1")
	r := push(t, dial(t, through.addr()), b, root, "2")
	if up := through.up.Load(); r.Moved != 0 || up > 10_000 {
		t.Errorf("%+v; %d bytes went to the server", r, up)
	}
}

func TestATagInAnotherRepositoryMovesNoBytes(t *testing.T) {
	s := servertest.Start(t, servertest.Options{})
	through := newCutter(t, s.GRPC)
	b := imagetest.Blobs{}
	root := b.Index()
	push(t, dial(t, s.GRPC), b, root, "1")
	c := dial(t, through.addr())
	r, err := c.Copy(t.Context(), repo, tagged("1"), "other/place", "9", client.CopyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Root.Digest != root.Digest || through.up.Load() > 20_000 || through.down.Load() > 20_000 {
		t.Errorf("%+v; %d bytes up, %d down", r, through.up.Load(), through.down.Load())
	}
	if d, err := c.Resolve(t.Context(), "other/place", tagged("9"), ""); err != nil || d.Digest != root.Digest {
		t.Errorf("%v %v", d, err)
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	s := open(t, "oci:"+filepath.Dir(filepath.Dir(filepath.Dir(name))))
	r, err := s.Open(t.Context(), ocispec.Descriptor{Digest: digest.NewDigestFromEncoded("sha256", filepath.Base(name))}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestNobodyThere(t *testing.T) {
	l := newCutter(t, "127.0.0.1:1")
	for addr, says := range map[string]string{
		"127.0.0.1:1":         "no answer from the server at 127.0.0.1:1: connection refused",
		l.addr():              "no answer from the server at " + l.addr() + ": ",
		"unix:/nowhere.sock":  "there is no such socket",
		"no.such.host.x:7070": "no answer from the server at no.such.host.x:7070: ",
	} {
		c, err := client.Dial(addr, client.Options{FirstPatience: 100 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Resolve(t.Context(), repo, tagged("1"), "")
		t.Log(err)
		if !client.Unreachable(err) || !strings.Contains(err.Error(), says) || status.Code(err) != codes.Unavailable {
			t.Errorf("%v, want one that says %q", err, says)
		}
		c.Close()
	}
}

func TestTheRegistrysPortIsNotGRPC(t *testing.T) {
	s := servertest.Start(t, servertest.Options{})
	c, err := client.Dial(s.HTTP, client.Options{FirstPatience: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Resolve(t.Context(), repo, tagged("1"), "")
	if err == nil || !strings.Contains(err.Error(), "its registry's port") {
		t.Error(err)
	}
}

func TestAnswersHaveReasons(t *testing.T) {
	s := servertest.Start(t, servertest.Options{})
	c := dial(t, s.GRPC)
	_, err := c.Resolve(t.Context(), repo, tagged("1"), "")
	if r := client.ReasonOf(err); r != pb.Reason_REASON_NAME_UNKNOWN && r != pb.Reason_REASON_MANIFEST_UNKNOWN {
		t.Errorf("%v: %v", r, err)
	}
	d := digest.FromString("nothing")
	if _, err = c.Read(t.Context(), repo, d, 0, 0); client.ReasonOf(err) != pb.Reason_REASON_BLOB_UNKNOWN {
		t.Errorf("%v", err)
	}
	m := imagetest.Blobs{}
	root := m.Image("amd64", 1, 10)
	err = c.PutManifest(t.Context(), repo, root, m[root.Digest])
	e, ok := errors.AsType[*client.Error](err)
	if !ok || e.Reason != pb.Reason_REASON_MANIFEST_BLOB_UNKNOWN || len(e.Missing) != 2 {
		t.Errorf("%+v: %v", e, err)
	}
}

func TestADamagedSourceIsNotStored(t *testing.T) {
	s := servertest.Start(t, servertest.Options{})
	c := dial(t, s.GRPC)
	b := imagetest.Blobs{}
	root := b.Image("amd64", 1, 5<<20)
	var layer digest.Digest
	for d, data := range b {
		if len(data) > 1<<20 {
			layer = d
		}
	}
	dir := b.Layout(t, root)
	bad := bytes.Clone(b[layer])
	bad[len(bad)-1] ^= 1
	imagetest.Put(t, dir, "blobs/sha256/"+layer.Encoded(), bad)
	_, err := c.Push(t.Context(), open(t, "oci:"+dir), repo, "1", client.CopyOptions{})
	if !errors.Is(err, transfer.ErrDamaged) {
		t.Errorf("%v", err)
	}
	missing, err := c.FindMissing(t.Context(), repo, []digest.Digest{layer, digest.FromBytes(bad)})
	if err != nil || len(missing) != 2 {
		t.Errorf("missing %v, %v", missing, err)
	}
}

func TestALayerThatIsNoTarIsSaid(t *testing.T) {
	s := servertest.Start(t, servertest.Options{})
	c := dial(t, s.GRPC)
	b := imagetest.Blobs{}
	b.Image("amd64", 1, 100)
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest}
	m.SchemaVersion = 2
	other := digest.FromString("another tar")
	m.Config = b.AddJSON(ocispec.MediaTypeImageConfig, ocispec.Image{
		Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{other}},
	})
	m.Layers = []ocispec.Descriptor{b.Add(ocispec.MediaTypeImageLayerGzip, imagetest.Gzipped(imagetest.TarOf(3, 1000)))}
	r := push(t, c, b, b.AddJSON(ocispec.MediaTypeImageManifest, m), "1")
	err := c.WaitLayers(t.Context(), repo, r.Manifests)
	e, ok := errors.AsType[*client.LayerError](err)
	if !ok || e.Number != 1 || e.Layer != m.Layers[0].Digest || e.Problem == "" {
		t.Errorf("%v", err)
	}
	t.Log(err)
}
