package retain_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/fleet"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/retain"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/reference"
)

const (
	repo = reference.Repository("demo/app")
	day  = 24 * time.Hour
)

// A world is a store with one repository, of which tests speak by short names.
type world struct {
	t      *testing.T
	clock  *storetest.Clock
	bucket *storetest.Bucket
	store  *blobstore.Store
	images *images.Images
	fleet  *fleet.Fleet
	named  map[string]storetest.Image
	names  map[digest.Digest]string
}

func newWorld(t *testing.T) *world {
	clock := storetest.NewClock()
	w := &world{t: t, clock: clock, bucket: &storetest.Bucket{Bucket: storetest.NewBucket(clock)},
		named: map[string]storetest.Image{}, names: map[digest.Digest]string{}}
	w.store, w.images, w.fleet = w.server()
	return w
}

// server is one more server over the same bucket.
func (w *world) server() (*blobstore.Store, *images.Images, *fleet.Fleet) {
	s := storetest.Open(w.t, w.bucket, w.clock)
	im := images.New(s, nil, images.Options{Logger: storetest.Quiet()})
	return s, im, fleet.New(s, im)
}

// make returns the image of a name: one with a layer of its own, or an index of
// others, or what refers to another.
func (w *world) make(name string, refersTo string, of ...string) storetest.Image {
	if i, ok := w.named[name]; ok {
		return i
	}
	var i storetest.Image
	if len(of) > 0 {
		var ds []ocispec.Descriptor
		for _, n := range of {
			ds = append(ds, w.named[n].Descriptor())
		}
		i = storetest.Index(ds...)
	} else {
		var subject ocispec.Descriptor
		if refersTo != "" {
			subject = w.make(refersTo, "").Descriptor()
		}
		i = build(name, subject)
	}
	w.named[name], w.names[i.Digest] = i, name
	return i
}

// built are the images of all tests.
var built sync.Map

// build builds an image with a layer of its own that refers to subject, unless
// that is empty.
func build(name string, subject ocispec.Descriptor) storetest.Image {
	key := name + " " + string(subject.Digest)
	if i, ok := built.Load(key); ok {
		return i.(storetest.Image)
	}
	b := storetest.Build{Tars: [][]byte{storetest.Tar(100, name)}}
	if subject.Digest != "" {
		b.Subject = &subject
	}
	i := b.Image()
	built.Store(key, i)
	return i
}

// push pushes the image of a name, made by make, with tags.
func (w *world) push(im *images.Images, s *blobstore.Store, name string, tags ...string) error {
	i := w.named[name]
	storetest.PushBlobs(w.t, s, repo, i)
	o := images.PutOptions{MediaType: i.MediaType, Bytes: i.Manifest}
	for _, t := range tags {
		o.Tags = append(o.Tags, reference.Tag(t))
	}
	_, err := im.Put(w.t.Context(), repo, o)
	return err
}

// image makes and pushes an image with tags.
func (w *world) image(name string, tags ...string) {
	w.t.Helper()
	w.make(name, "")
	w.must(w.push(w.images, w.store, name, tags...))
}

// index makes and pushes an index of others.
func (w *world) index(name string, of string, tags ...string) {
	w.t.Helper()
	w.make(name, "", strings.Fields(of)...)
	w.must(w.push(w.images, w.store, name, tags...))
}

// referrer makes and pushes what refers to another.
func (w *world) referrer(name, subject string, tags ...string) {
	w.t.Helper()
	w.make(name, subject)
	w.must(w.push(w.images, w.store, name, tags...))
}

func (w *world) untag(tag string) {
	w.t.Helper()
	w.must(w.images.Untag(w.t.Context(), repo, reference.Tag(tag)))
}

func (w *world) tag(tag, name string) {
	w.t.Helper()
	w.must(w.images.Tag(w.t.Context(), repo, reference.Tag(tag), w.named[name].Digest, images.Expect{}))
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// days lets some days pass.
func (w *world) days(n int) { w.clock.Turn(time.Duration(n) * day) }

// rules reads rules from a file's text.
func rules(t *testing.T, text string) *retain.Policy {
	t.Helper()
	r, err := retain.ParseRules("retention.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return retain.Fixed(r)
}

// rule is rules of one for all repositories.
func rule(t *testing.T, keys string) *retain.Policy {
	t.Helper()
	return rules(t, "[[rules]]\nrepositories = [\"**\"]\n"+keys)
}

// apply applies rules and returns what they say, by "tag NAME" and the names of
// manifests.
func (w *world) apply(p *retain.Policy, dry bool) map[string]retain.Finding {
	w.t.Helper()
	out := map[string]retain.Finding{}
	err := w.retainer(p).Apply(w.t.Context(), dry, func(f retain.Finding) {
		name := w.names[f.Digest]
		switch f.Kind {
		case retain.KindTag:
			name = "tag " + string(f.Tag)
		case retain.KindRepository:
			name = "repository " + string(f.Repository)
		}
		if _, twice := out[name]; twice {
			w.t.Errorf("%s is there twice", name)
		}
		out[name] = f
	})
	w.must(err)
	return out
}

func (w *world) retainer(p *retain.Policy) *retain.Retainer {
	return retain.New(w.store, w.images, w.fleet, p, retain.Options{Logger: storetest.Quiet()})
}

// there lists the tags and manifests that a server that has no caches sees,
// sorted and separated by spaces.
func (w *world) there() (tags, manifests string) {
	w.t.Helper()
	_, im, _ := w.server()
	var ts, ms []string
	for t, err := range im.Tags(w.t.Context(), repo, "") {
		w.must(err)
		ts = append(ts, string(t.Tag))
	}
	for m, err := range im.Manifests(w.t.Context(), repo, "") {
		w.must(err)
		ms = append(ms, w.names[m.Digest])
	}
	slices.Sort(ms)
	return strings.Join(ts, " "), strings.Join(ms, " ")
}

// removed lists what findings say that it goes, sorted.
func removed(fs map[string]retain.Finding) string {
	var out []string
	for name, f := range fs {
		if f.Remove {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return fmt.Sprint(out)
}
