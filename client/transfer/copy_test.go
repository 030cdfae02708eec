package transfer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	registryserver "github.com/google/go-containerregistry/pkg/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/internal/imagetest"
)

// places is one place of each kind that gives back what it got.
func places(t *testing.T) map[string]string {
	dir := t.TempDir()
	srv := httptest.NewServer(registryserver.New(registryserver.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(srv.Close)
	return map[string]string{
		"layout":   "oci:" + filepath.Join(dir, "layout") + ":1",
		"archive":  "oci-archive:" + filepath.Join(dir, "archive.tar") + ":1",
		"registry": "docker://" + strings.TrimPrefix(srv.URL, "http://") + "/demo/app:1",
	}
}

// everything reads all that an image names, by the raw bytes.
func everything(t *testing.T, place string) map[string]string {
	t.Helper()
	s, err := Open(t.Context(), mustParse(t, place), OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tree, err := collect(t.Context(), s, Options{Parallel: 1})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"root": string(tree.levels[0][0].Digest)}
	for _, level := range tree.levels {
		for _, m := range level {
			all[string(m.Digest)] = string(m.bytes)
		}
	}
	for _, d := range tree.blobs {
		r, err := Checked(s, d).Open(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		all[string(d.Digest)] = string(b)
	}
	return all
}

func TestAnImageOfSeveralPlatformsComesBackByteForByte(t *testing.T) {
	b := imagetest.Blobs{}
	root := b.Index()
	origin := "oci:" + b.Layout(t, root)
	for fromName := range places(t) {
		for toName := range places(t) {
			t.Run(fromName+" to "+toName, func(t *testing.T) {
				from, to := places(t)[fromName], places(t)[toName]
				mustCopy(t, origin, from, Options{})
				r := mustCopy(t, from, to, Options{})
				got := everything(t, to)
				if got["root"] != string(root.Digest) || r.Root.Digest != root.Digest {
					t.Errorf("root %s, want %s", got["root"], root.Digest)
				}
				delete(got, "root")
				if len(got) != len(b) {
					t.Errorf("%d blobs and manifests, want %d", len(got), len(b))
				}
				for d, data := range b {
					if got[string(d)] != string(data) {
						t.Errorf("%s is not what it was", d)
					}
				}
				if len(r.Manifests) != 3 || r.Moved != r.Blobs {
					t.Errorf("%+v", r)
				}
			})
		}
	}
}

func TestOnlyWhatIsMissingMoves(t *testing.T) {
	b := imagetest.Blobs{}
	one := b.Image("amd64", 1, 1000, 2000)
	two := b.Image("amd64", 1, 1000, 2000, 3000)
	origin := b.Layout(t, imagetest.Named(one, "one"), imagetest.Named(two, "two"))
	for name, place := range places(t) {
		t.Run(name, func(t *testing.T) {
			if name == "archive" {
				t.Skip("an archive is written anew each time")
			}
			mustCopy(t, "oci:"+origin+":one", place, Options{})
			if r := mustCopy(t, "oci:"+origin+":one", place, Options{}); r.Moved != 0 || r.MovedSize != 0 {
				t.Errorf("the second time %+v moved", r)
			}
			// The config and the third layer.
			if r := mustCopy(t, "oci:"+origin+":two", place, Options{}); r.Moved != 2 || r.Blobs != 4 {
				t.Errorf("of the next image %+v moved", r)
			}
		})
	}
}

func TestOnePlatformOfAnIndex(t *testing.T) {
	b := imagetest.Blobs{}
	origin := "oci:" + b.Layout(t, b.Index())
	to := "oci:" + t.TempDir() + "/x"
	r := mustCopy(t, origin, to, Options{Platform: "linux/arm64"})
	if len(r.Manifests) != 1 || r.Blobs != 3 || r.Root.Platform.Architecture != "arm64" {
		t.Errorf("%+v", r)
	}
	_, err := copyImage(t, origin, to, Options{Platform: "linux/s390x"})
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "linux/amd64, linux/arm64") {
		t.Errorf("no such platform: %v", err)
	}
	if _, err = copyImage(t, origin, to, Options{Platform: "a/b/c/d/e"}); !errors.Is(err, ErrLocation) {
		t.Errorf("no platform at all: %v", err)
	}
}

func TestALayoutKeepsItsOtherImages(t *testing.T) {
	b := imagetest.Blobs{}
	one, two := b.Image("amd64", 1, 1000), b.Image("amd64", 50, 1000)
	origin := b.Layout(t, imagetest.Named(one, "one"), imagetest.Named(two, "two"))
	dir := b.Layout(t)
	imagetest.Put(t, dir, "index.json", []byte(`{"schemaVersion":2,"annotations":{"a":"b"},"manifests":[
		{"mediaType":"x/y","digest":"sha256:`+strings.Repeat("0", 64)+`","size":7,"note":"kept as it is"}]}`))
	for range 2 { // the second time each takes its own place again
		mustCopy(t, "oci:"+origin+":one", "oci:"+dir+":a", Options{})
		mustCopy(t, "oci:"+origin+":two", "oci:"+dir+":b", Options{})
		mustCopy(t, "oci:"+origin+":two", "oci:"+dir, Options{})
	}
	mustCopy(t, "oci:"+origin+":two", "oci:"+dir+":a", Options{})
	raw, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var index struct {
		Annotations map[string]string
		Manifests   []map[string]any
	}
	if err := json.Unmarshal(raw, &index); err != nil {
		t.Fatal(err)
	}
	if index.Annotations["a"] != "b" || len(index.Manifests) != 4 || index.Manifests[0]["note"] != "kept as it is" {
		t.Fatalf("%s", raw)
	}
	for _, name := range []string{"a", "b", string(two.Digest)} {
		if got := everything(t, "oci:"+dir+":"+name)["root"]; got != string(two.Digest) {
			t.Errorf("%s is %s", name, got)
		}
	}
}

func TestManyPullsIntoOneLayoutAtOnce(t *testing.T) {
	b := imagetest.Blobs{}
	origin := b.Layout(t, b.Index())
	dir := filepath.Join(t.TempDir(), "shared")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if _, err := copyImage(t, "oci:"+origin, "oci:"+dir+":t"+string(rune('a'+i)), Options{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	entries, err := readIndex(folder(dir))
	if err != nil || len(entries) != 8 {
		t.Errorf("%d entries: %v", len(entries), err)
	}
}

func TestTheSameImageMakesTheSameArchive(t *testing.T) {
	b := imagetest.Blobs{}
	origin := "oci:" + b.Layout(t, b.Index())
	var first []byte
	for i := range 5 {
		name := filepath.Join(t.TempDir(), "a.tar")
		mustCopy(t, origin, "oci-archive:"+name+":1", Options{Parallel: 1 + i})
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = got
		}
		if !bytes.Equal(got, first) {
			t.Fatal("two archives of one image differ")
		}
	}
}

// stopping is a source that ends the copy in the middle of the largest blob.
type stopping struct {
	Source
	stop func()
}

func (s stopping) Open(ctx context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	r, err := s.Source.Open(ctx, d, offset)
	if err != nil || d.Size < 100_000 {
		return r, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(r, 1000), stopReader{ctx, s.stop}), r}, nil
}

type stopReader struct {
	ctx  context.Context
	stop func()
}

func (s stopReader) Read([]byte) (int, error) {
	s.stop()
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}

func TestWhatIsInterruptedLeavesNothingHalf(t *testing.T) {
	b := imagetest.Blobs{}
	image := b.Image("amd64", 1, 1000, 70_000, 200_000)
	origin := b.Layout(t, image)
	for _, kind := range []string{"oci:", "oci-archive:", "docker-archive:"} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			ctx, cancel := context.WithCancel(t.Context())
			s, err := Open(ctx, mustParse(t, "oci:"+origin), OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			place := kind + filepath.Join(dir, "x") + ":1"
			d, err := Create(ctx, mustParse(t, place), OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = Copy(ctx, d, stopping{s, cancel}, Options{})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			_ = filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
				if err != nil || e.IsDir() {
					return err
				}
				fi, _ := e.Info()
				whole := int64(-1)
				for d, data := range b {
					if d.Encoded() == e.Name() {
						whole = int64(len(data))
					}
				}
				if e.Name() != "oci-layout" && fi.Size() != whole {
					t.Errorf("%s is left, with %d bytes", p, fi.Size())
				}
				return nil
			})
			// And the next try comes to its end.
			mustCopy(t, "oci:"+origin, place, Options{})
		})
	}
}

type meterLog struct {
	mu    sync.Mutex
	done  map[string]int64
	ended int
	plan  [2]int
}

func (m *meterLog) Plan(all, missing []ocispec.Descriptor) { m.plan = [2]int{len(all), len(missing)} }
func (m *meterLog) Begin(s Step, d ocispec.Descriptor) Meter {
	return &oneMeter{m, string(d.Digest)}
}

type oneMeter struct {
	m    *meterLog
	blob string
}

func (o *oneMeter) At(n int64) { o.m.mu.Lock(); o.m.done[o.blob] = n; o.m.mu.Unlock() }
func (o *oneMeter) End(err error) {
	o.m.mu.Lock()
	defer o.m.mu.Unlock()
	if err == nil {
		o.m.ended++
	}
}

func TestProgressAddsUp(t *testing.T) {
	b := imagetest.Blobs{}
	origin := b.Layout(t, b.Index())
	p := &meterLog{done: map[string]int64{}}
	r := mustCopy(t, "oci:"+origin, "oci:"+t.TempDir()+"/x", Options{Progress: p})
	var sum int64
	for _, n := range p.done {
		sum += n
	}
	if p.plan != [2]int{r.Blobs, r.Blobs} || p.ended != r.Blobs || sum != r.Size {
		t.Errorf("plan %v, %d ended, %d bytes; the image has %d blobs of %d bytes", p.plan, p.ended, sum, r.Blobs, r.Size)
	}
}
