package transfer

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/internal/imagetest"
)

// Every mistake is answered with what it is about and what to do.
func TestBadInput(t *testing.T) {
	cases := []struct {
		name  string
		place func(t *testing.T, dir string, b imagetest.Blobs) string // dir is a good layout with one image, 1
		class error
		says  []string
	}{
		{"no folder", func(t *testing.T, dir string, b imagetest.Blobs) string { return "oci:/nowhere/at/all" },
			ErrNotFound, []string{"/nowhere/at/all"}},
		{"no file", func(t *testing.T, dir string, b imagetest.Blobs) string { return "oci-archive:/nowhere.tar" },
			ErrNotFound, []string{"/nowhere.tar"}},
		{"a folder that is no layout", func(t *testing.T, dir string, b imagetest.Blobs) string { return "oci:" + t.TempDir() },
			ErrNotFound, []string{"no OCI layout", "oci-layout"}},
		{"a file taken for a folder", func(t *testing.T, dir string, b imagetest.Blobs) string { return "oci:" + tarDir(t, dir) },
			ErrNotFound, []string{"oci-archive:"}},
		{"a folder taken for an archive", func(t *testing.T, dir string, b imagetest.Blobs) string { return "oci-archive:" + dir },
			ErrNotFound, []string{"oci:" + "/"}},
		{"an OCI archive taken for Docker's", func(t *testing.T, dir string, b imagetest.Blobs) string { return "docker-archive:" + tarDir(t, dir) },
			ErrNotFound, []string{"manifest.json", "oci-archive:"}},
		{"another version", func(t *testing.T, dir string, b imagetest.Blobs) string {
			imagetest.Put(t, dir, "oci-layout", []byte(`{"imageLayoutVersion":"2.0.0"}`))
			return "oci:" + dir
		}, ErrUnsupported, []string{"2.0.0", "1.0.0"}},
		{"index.json is no JSON", func(t *testing.T, dir string, b imagetest.Blobs) string {
			imagetest.Put(t, dir, "index.json", []byte(`{`))
			return "oci:" + dir
		}, ErrDamaged, []string{"index.json"}},
		{"no such tag", func(t *testing.T, dir string, b imagetest.Blobs) string { return "oci:" + dir + ":2" },
			ErrNotFound, []string{`"2"`, "it has 1"}},
		{"no image", func(t *testing.T, dir string, b imagetest.Blobs) string { return "oci:" + b.Layout(t) },
			ErrNotFound, []string{"no image"}},
		{"two images", func(t *testing.T, dir string, b imagetest.Blobs) string {
			return "oci:" + b.Layout(t, imagetest.Named(b.Image("amd64", 1, 10), "x"), imagetest.Named(b.Image("amd64", 2, 10), "y"))
		}, ErrAmbiguous, []string{"x, y", ":x)"}},
		{"a blob with other bytes", func(t *testing.T, dir string, b imagetest.Blobs) string {
			d := largest(b)
			data := append([]byte{}, b[d]...)
			data[len(data)/2] ^= 1
			imagetest.Put(t, dir, blobName(d), data)
			return "oci:" + dir
		}, ErrDamaged, []string{"sha256:", "its bytes have the digest", "get it anew"}},
		{"a blob that is too short", func(t *testing.T, dir string, b imagetest.Blobs) string {
			d := largest(b)
			imagetest.Put(t, dir, blobName(d), b[d][:100])
			return "oci:" + dir
		}, ErrDamaged, []string{"ends after 100 of"}},
		{"a blob that is too long", func(t *testing.T, dir string, b imagetest.Blobs) string {
			d := largest(b)
			imagetest.Put(t, dir, blobName(d), append(append([]byte{}, b[d]...), 0))
			return "oci:" + dir
		}, ErrDamaged, []string{"goes on after"}},
		{"a blob that is missing", func(t *testing.T, dir string, b imagetest.Blobs) string {
			if err := os.Remove(filepath.Join(dir, blobName(largest(b)))); err != nil {
				t.Fatal(err)
			}
			return "oci:" + dir
		}, ErrNotFound, []string{string(largest(nil))}},
		{"a manifest with other bytes", func(t *testing.T, dir string, b imagetest.Blobs) string {
			imagetest.Put(t, dir, blobName(root(t, dir)), []byte(`{}`))
			return "oci:" + dir
		}, ErrDamaged, []string{"manifest sha256:", "digest"}},
		{"a manifest that is no JSON", func(t *testing.T, dir string, b imagetest.Blobs) string {
			return "oci:" + b.Layout(t, b.Add(ocispec.MediaTypeImageManifest, []byte("no")))
		}, ErrDamaged, []string{"no JSON"}},
		{"a manifest of long ago", func(t *testing.T, dir string, b imagetest.Blobs) string {
			return "oci:" + b.Layout(t, b.Add("application/vnd.docker.distribution.manifest.v1+json", []byte(`{"schemaVersion":1}`)))
		}, ErrUnsupported, []string{"schema 1"}},
		{"a manifest that is too large", func(t *testing.T, dir string, b imagetest.Blobs) string {
			return "oci:" + b.Layout(t, b.Add(ocispec.MediaTypeImageManifest, make([]byte, MaxManifest+1)))
		}, ErrUnsupported, []string{"allowed are 4194304"}},
		{"a digest that leads out", func(t *testing.T, dir string, b imagetest.Blobs) string {
			m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, Config: ocispec.Descriptor{Digest: "sha256:../../../etc/passwd", Size: 1}}
			return "oci:" + b.Layout(t, b.AddJSON(ocispec.MediaTypeImageManifest, m))
		}, ErrDamaged, []string{"invalid digest"}},
		{"a size below zero", func(t *testing.T, dir string, b imagetest.Blobs) string {
			m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, Config: ocispec.Descriptor{Digest: digest.FromString("x"), Size: -1}}
			return "oci:" + b.Layout(t, b.AddJSON(ocispec.MediaTypeImageManifest, m))
		}, ErrDamaged, []string{"size -1"}},
		{"an index that lacks an image", func(t *testing.T, dir string, b imagetest.Blobs) string {
			index := b.Index()
			for d := range b {
				if d != index.Digest {
					delete(b, d)
				}
			}
			return "oci:" + b.Layout(t, index)
		}, ErrNotFound, []string{"--platform"}},
		{"a truncated archive", func(t *testing.T, dir string, b imagetest.Blobs) string {
			name := tarDir(t, dir)
			fi, err := os.Stat(name)
			if err == nil {
				err = os.Truncate(name, fi.Size()/2)
			}
			if err != nil {
				t.Fatal(err)
			}
			return "oci-archive:" + name
		}, ErrDamaged, []string{"cut off"}},
		{"an archive that is no tar", func(t *testing.T, dir string, b imagetest.Blobs) string {
			imagetest.Put(t, dir, "x.tar", []byte(strings.Repeat("no tar at all. ", 100)))
			return "oci-archive:" + filepath.Join(dir, "x.tar")
		}, ErrDamaged, []string{"x.tar", "no tar"}},
		{"an empty archive", func(t *testing.T, dir string, b imagetest.Blobs) string {
			imagetest.Put(t, dir, "x.tar", nil)
			return "docker-archive:" + filepath.Join(dir, "x.tar")
		}, ErrDamaged, []string{"no tar"}},
		{"an archive whose compression is damaged", func(t *testing.T, dir string, b imagetest.Blobs) string {
			z := imagetest.Gzipped(imagetest.TarOf(1, 5000))
			imagetest.Put(t, dir, "x.tar.gz", z[:len(z)/2])
			return "oci-archive:" + filepath.Join(dir, "x.tar.gz")
		}, nil, []string{"x.tar.gz", "unexpected EOF"}},
		{"a registry that is not there", func(t *testing.T, dir string, b imagetest.Blobs) string { return "docker://127.0.0.1:1/x:1" },
			nil, []string{"docker://127.0.0.1:1/x:1", "connection refused"}},
		{"an image that a registry does not have", func(t *testing.T, dir string, b imagetest.Blobs) string { return places(t)["registry"] },
			ErrNotFound, []string{"docker://127.0.0.1:"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := imagetest.Blobs{}
			dir := b.Layout(t, imagetest.Named(b.Image("amd64", 1, 1000, 50_000), "1"))
			// The image is made with fixed bytes: blobs and folder agree.
			for d, data := range b {
				imagetest.Put(t, dir, blobName(d), data)
			}
			place := c.place(t, dir, b)
			out := t.TempDir()
			_, err := copyImage(t, place, "oci-archive:"+filepath.Join(out, "out.tar"), Options{})
			if err == nil {
				t.Fatal("no error")
			}
			t.Log(err)
			if c.class != nil && !errors.Is(err, c.class) {
				t.Errorf("not of the class %v", c.class)
			}
			for _, s := range c.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("does not say %q", s)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Error("has several lines")
			}
			if left, _ := os.ReadDir(out); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// largest is the digest of the largest blob of the image that all cases have.
func largest(b imagetest.Blobs) digest.Digest {
	if b == nil {
		b = imagetest.Blobs{}
		b.Image("amd64", 1, 1000, 50_000)
	}
	var found digest.Digest
	for d, data := range b {
		if len(data) > len(b[found]) {
			found = d
		}
	}
	return found
}

func root(t *testing.T, dir string) digest.Digest {
	t.Helper()
	entries, err := readIndex(folder(dir))
	if err != nil {
		t.Fatal(err)
	}
	return entries[0].Digest
}

func TestPlacesThatCannotTakeAnImage(t *testing.T) {
	b := imagetest.Blobs{}
	index := "oci:" + b.Layout(t, b.Index())
	other := t.TempDir()
	imagetest.Put(t, other, "letter.txt", []byte("dear"))
	for _, c := range []struct{ place, says string }{
		{"oci:" + other, "no OCI layout and not empty"},
		{"oci-archive:" + other, "no regular file"},
		{"oci-archive:/nowhere/x.tar", "there is no folder /nowhere"},
		{"docker-archive:" + other + "/x.tar", "--platform"},
	} {
		_, err := copyImage(t, index, c.place, Options{})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.place, err, c.says)
		}
	}
	if left, _ := os.ReadDir(other); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}
