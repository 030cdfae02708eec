package registry_test

import (
	"context"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/crane"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket/count"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/server/registry"
)

// A still clock does not move, so that no lease ends between two calls, and what
// waits for its time is done when the server stops.
type stillClock struct{ time.Time }

func (c stillClock) Now() time.Time { return c.Time }

func (stillClock) Sleep(ctx context.Context, _ time.Duration) error {
	<-ctx.Done()
	return ctx.Err()
}

// Each call to a bucket is money and 10-50 ms. These are the budgets; the peers
// take 188 and 132 calls for the push, 52 and 35 for the pull, and 16 and 17 for
// the tag.
func TestBucketCalls(t *testing.T) {
	clock := stillClock{time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	counted := count.New(memory.New(memory.Options{Now: clock.Now}))
	still := func(o *blobstore.Options, _ *registry.Options) {
		o.Clock = clock
		o.LinkLease = 0 // the default
	}
	spend := func(what string, budget int64, f func()) {
		t.Helper()
		counted.Reset()
		f()
		calls := counted.Snapshot()
		t.Logf("%s: %v", what, calls)
		if calls.Total() > budget {
			t.Errorf("%s: %d calls, at most %d\n%s", what, calls.Total(), budget, counted.Log())
		}
	}
	image, err := random.Image(4<<20, 5)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config.OS, config.Architecture = "linux", "amd64" // else it is no container image, and its layers are not looked at
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	s := serve(t, counted, still)
	spend("push with all that follows in the background", 44, func() {
		pushImage(t, image, s.ref("demo/app:1"))
		end := time.Now().Add(time.Minute)
		for strings.Count(counted.Log(), "put layers/") < 5 { // each layer is checked
			if time.Now().After(end) {
				t.Fatalf("the layers are not checked\n%s", counted.Log())
			}
			runtime.Gosched()
		}
		s.close() // the records of the uploads go
	})

	s = serve(t, counted, still)
	spend("pull by a server that has just started", 20, func() { pullImage(t, s.ref("demo/app:1")) })
	spend("pull with the records cached", 8, func() { pullImage(t, s.ref("demo/app:1")) })

	manifest := s.do("GET", "/v2/demo/app/manifests/1", nil).is(200)
	tag := func(s *server, name string) func() {
		return func() {
			s.do("PUT", "/v2/demo/app/manifests/"+name, manifest.body, "Content-Type: "+manifest.header.Get("Content-Type")).is(201)
		}
	}
	spend("tag", 2, tag(s, "2"))
	spend("tag, again", 2, tag(s, "3"))
	s = serve(t, counted, still)
	spend("tag by a server that has just started", 4, tag(s, "4"))
}

func pushImage(t *testing.T, image v1.Image, ref string) {
	t.Helper()
	if err := crane.Push(image, ref, crane.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// pullImage reads an image, all of it.
func pullImage(t *testing.T, ref string) v1.Image {
	t.Helper()
	image, err := crane.Pull(ref, crane.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	if err := crane.SaveOCI(image, filepath.Join(t.TempDir(), "layout")); err != nil {
		t.Fatal(err)
	}
	return image
}
