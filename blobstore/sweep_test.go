package blobstore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
)

var errGone = errors.New("connection lost")

// sweepOne fails the test unless there is one upload, and returns what a sweep does
// with it: dry first, which must say the same and change nothing.
func sweepOne(t *testing.T, s *blobstore.Store, b bucket.Bucket) blobstore.UploadJudgement {
	t.Helper()
	before := strings.Join(keys(t, b, ""), "\n")
	dry := sweepUploads(t, s, true)
	if after := strings.Join(keys(t, b, ""), "\n"); after != before {
		t.Fatalf("the dry run made of\n%s\nthis:\n%s", before, after)
	}
	done := sweepUploads(t, s, false)
	if len(done) != 1 || len(dry) != 1 || done[0] != dry[0] {
		t.Fatalf("the dry run said %+v, and what was done is %+v", dry, done)
	}
	return done[0]
}

func TestAnUploadThatGoesOnIsNotTouched(t *testing.T) {
	for _, size := range []int{1000, 100_000, partSize + 200_000, 3 * partSize} {
		s, c, b := exactStore(t)
		u := start(t, s)
		data, d := blob(size, 1)
		half := size / 2
		if _, err := u.Append(t.Context(), 0, bytes.NewReader(data[:half])); err != nil {
			t.Fatal(err)
		}
		c.Turn(24*time.Hour - time.Second)
		if j := sweepOne(t, s, b); j.State != blobstore.UploadOpen || j.Repository != string(repo) {
			t.Fatalf("%+v", j)
		}
		if _, err := u.Finish(t.Context(), int64(half), bytes.NewReader(data[half:]), d); err != nil {
			t.Fatal(err)
		}
		mustRead(t, s, d, data)
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		nothingLeft(t, b, c, d)
	}
}

// What an upload has left that nobody finishes: its parts go when it is over, and
// its data when that is nobody's for certain.
func TestAnUploadThatNobodyFinishes(t *testing.T) {
	for _, size := range []int{0, 1000, 100_000, partSize + 200_000, 3 * partSize} {
		c := newClock()
		b := &unsure{Bucket: newBucket(c)}
		s := open(t, b, exact(c))
		u := start(t, s)
		data, _ := blob(size, 1)
		if _, err := u.Append(t.Context(), 0, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		c.Turn(24*time.Hour + 2*skew + time.Second)
		s = open(t, b, exact(c)) // another server
		j := sweepOne(t, s, b)
		if left := b.open(t); len(left) > 0 {
			t.Fatalf("%d bytes: parts are left", size)
		}
		parts := int64(size / partSize * partSize)
		if j.Freed != parts {
			t.Fatalf("%d bytes: %+v, want %d freed", size, j, parts)
		}
		if rest := len(keys(t, b, "data/")); rest > 0 {
			if j.State != blobstore.UploadExpired || j.Next.IsZero() || j.Waiting == 0 {
				t.Fatalf("%d bytes: %+v", size, j)
			}
			c.Turn(j.Next.Sub(c.Now()))
			if again := sweepOne(t, s, b); again.State != blobstore.UploadExpired {
				t.Fatalf("%d bytes, a moment too early: %+v", size, again)
			}
			c.Turn(time.Second)
			if last := sweepOne(t, s, b); last.State != blobstore.UploadOrphan || last.Freed != j.Waiting {
				t.Fatalf("%d bytes: %+v", size, last)
			}
		}
		if left := keys(t, b, ""); len(left) > 0 {
			t.Fatalf("%d bytes: %q is left", size, left)
		}
	}
}

// A server that dies in the middle of a part has told nobody of the bucket's
// upload.
func TestPartsOfAnUploadWhoseServerDied(t *testing.T) {
	c := newClock()
	b := &unsure{Bucket: newBucket(c)}
	s := open(t, b, exact(c))
	u := start(t, s)
	data, _ := blob(2*partSize, 1)
	b.set(func(_ int, op, key string) fault { // nothing more is written, as by one that is dead
		if op == "put" || op == "abort" || op == "delete" {
			return lost
		}
		return none
	})
	if _, err := u.Append(t.Context(), 0, bytes.NewReader(data)); !errors.Is(err, bucket.ErrUnavailable) {
		t.Fatal(err)
	}
	b.set(nil)
	if len(b.open(t)) != 1 {
		t.Fatal("no multipart upload is open")
	}
	c.Turn(25 * time.Hour)
	sweepUploads(t, open(t, b, exact(c)), false)
	if left := b.open(t); len(left) > 0 {
		t.Fatalf("left: %q", left)
	}
}

// A piece has been written behind a part that did not arrive, and the upload ends
// without it; and two servers begin the parts of one upload at once.
func TestWhatIsNotNotedInTimeIsFoundAllTheSame(t *testing.T) {
	data, d := blob(partSize+100_000, 1)
	c := newClock()
	b := &unsure{Bucket: newBucket(c)}
	s, other := blobstore.New(b, exact(c)), blobstore.New(b, exact(c))
	u := start(t, s)
	b.set(func(_ int, op, _ string) fault {
		if op == "part" {
			return lost
		}
		return none
	})
	if _, err := u.Append(t.Context(), 0, bytes.NewReader(data)); !errors.Is(err, bucket.ErrUnavailable) {
		t.Fatal(err)
	}
	b.set(nil)
	if n := len(keys(t, b, "data/")); n != 1 {
		t.Fatalf("%d pieces were written", n)
	}
	off, err := u.Refresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Finish(t.Context(), off, bytes.NewReader(data[off:]), d); err != nil {
		t.Fatal(err)
	}
	two := start(t, s)
	same, err := other.ResumeUpload(t.Context(), repo, two.ID())
	if err != nil {
		t.Fatal(err)
	}
	late := &between{r: bytes.NewReader(data), at: partSize, do: func() {
		if _, err := same.Append(t.Context(), 0, bytes.NewReader(data)); err != nil {
			t.Error(err)
		}
	}}
	if _, err := two.Append(t.Context(), 0, late); !errors.Is(err, blobstore.ErrUploadOffset) {
		t.Fatal(err)
	}
	if n := len(b.open(t)); n != 1 {
		t.Fatalf("%d multipart uploads are open: %q", n, b.open(t))
	}
	if _, err := same.Commit(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*blobstore.Store{s, other} {
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	nothingLeft(t, b, c, d)
}

// A between does something once it has delivered so many bytes.
type between struct {
	r  io.Reader
	at int
	do func()
}

func (b *between) Read(p []byte) (int, error) {
	if b.at == 0 && b.do != nil {
		b.do()
		b.do = nil
	}
	if b.at > 0 {
		p = p[:min(len(p), b.at)]
	}
	n, err := b.r.Read(p)
	b.at -= min(n, b.at)
	return n, err
}

// Uploads that end in each of the ways in which something may be left. Nothing
// that is left has no record that leads to it, and all of it goes.
func TestWhatUploadsLeave(t *testing.T) {
	for _, size := range []int{1000, 100_000, partSize - 1, partSize + 1, 2*partSize + 100_000} {
		data, d := blob(size, 1)
		half := size / 2
		type env struct {
			s, other *blobstore.Store
			b        *unsure
			u        *blobstore.Upload
		}
		finish := func(e env, d digest.Digest) error {
			_, err := e.u.Finish(t.Context(), -1, bytes.NewReader(data[half:]), d)
			return err
		}
		for name, do := range map[string]func(e env) (there bool){
			"finished": func(e env) bool {
				if err := finish(e, d); err != nil {
					t.Fatal(err)
				}
				return true
			},
			"aborted": func(e env) bool {
				if err := e.u.Abort(t.Context()); err != nil {
					t.Fatal(err)
				}
				return false
			},
			"another digest": func(e env) bool {
				if err := finish(e, digest.FromString("other")); !errors.Is(err, blobstore.ErrDigestMismatch) {
					t.Fatal(err)
				}
				return false
			},
			"another digest of another kind": func(e env) bool {
				if err := finish(e, digest.SHA512.FromString("other")); !errors.Is(err, blobstore.ErrDigestMismatch) {
					t.Fatal(err)
				}
				return false
			},
			"another was faster": func(e env) bool {
				if _, err := e.other.Put(t.Context(), repo, d, -1, bytes.NewReader(data)); err != nil {
					t.Fatal(err)
				}
				if err := finish(e, d); err != nil {
					t.Fatal(err)
				}
				return true
			},
			"aborted by another server": func(e env) bool {
				u, err := e.other.ResumeUpload(t.Context(), repo, e.u.ID())
				if err != nil {
					t.Fatal(err)
				}
				if err := u.Abort(t.Context()); err != nil {
					t.Fatal(err)
				}
				return finish(e, d) == nil // what came first may be all that it takes
			},
			"finished by another server": func(e env) bool {
				u, err := e.other.ResumeUpload(t.Context(), repo, e.u.ID())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := u.Finish(t.Context(), -1, bytes.NewReader(data[half:]), d); err != nil {
					t.Fatal(err)
				}
				return true
			},
			"finished by both": func(e env) bool { // a client that has not heard the answer
				u, err := e.other.ResumeUpload(t.Context(), repo, e.u.ID())
				if err != nil {
					t.Fatal(err)
				}
				for _, u := range []*blobstore.Upload{u, e.u} {
					off, err := u.Refresh(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if _, err := u.Finish(t.Context(), off, bytes.NewReader(data[off:]), d); err != nil {
						t.Fatal(err)
					}
				}
				return true
			},
			"published, and the answer lost, and finished again": func(e env) bool {
				e.b.set(func(_ int, op, key string) fault {
					if key == blobstore.BlobKey(d) {
						return unheard
					}
					return none
				})
				finish(e, d) // reads what it wrote, and may know better
				e.b.set(nil)
				if err := finish(e, d); err != nil && !errors.Is(err, blobstore.ErrUploadUnknown) && !errors.Is(err, blobstore.ErrDigestMismatch) {
					t.Fatal(err)
				}
				return true
			},
			"cut off, and gone on with": func(e env) bool {
				cut := io.MultiReader(bytes.NewReader(data[half:half+size/4]), iotest.ErrReader(errGone))
				if _, err := e.u.Append(t.Context(), -1, cut); !errors.Is(err, errGone) {
					t.Fatal(err)
				}
				if _, err := e.u.Finish(t.Context(), -1, bytes.NewReader(data[half+size/4:]), d); err != nil {
					t.Fatal(err)
				}
				return true
			},
		} {
			c := newClock()
			b := &unsure{Bucket: newBucket(c)}
			e := env{s: blobstore.New(b, exact(c)), other: blobstore.New(b, exact(c)), b: b}
			e.u = start(t, e.s)
			if _, err := e.u.Append(t.Context(), 0, bytes.NewReader(data[:half])); err != nil {
				t.Fatal(err)
			}
			there := do(e)
			for _, s := range []*blobstore.Store{e.s, e.other} {
				if err := s.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			t.Log(size, name)
			if there {
				nothingLeft(t, b, c, d)
			} else {
				nothingLeft(t, b, c)
			}
			if left := b.open(t); len(left) > 0 {
				t.Fatalf("%s, %d bytes: parts of %q are left", name, size, left)
			}
		}
	}
}

// Holes 8 and 9 of the model: the sweep finds data that no record names, and its
// publisher wakes up. The sweep's bar makes it fail, whatever is in the record, in
// a bucket that does not know that the write is late.
// Where the bucket refuses late writes no tombstone is needed for that.
// A publisher that is slow itself, and not its write, is stopped by the bar too.
// A full cycle lists the data; what nothing led to goes, by either algorithm, and
// what a record names stays.
func TestSweepOfData(t *testing.T) {
	s, c, b := exactStore(t)
	data, d := put(t, s, 100_000, 1)
	d512 := digest.SHA512.FromBytes(data[:99_000])
	if _, err := s.Put(t.Context(), repo, d512, -1, bytes.NewReader(data[:99_000])); err != nil {
		t.Fatal(err)
	}
	orphan := s.NewID()
	store(t, b, "data/"+orphan, strings.Repeat("x", 70_000))
	twin := s.NewID() // of bytes that are a blob, but not this one's data
	store(t, b, "data/"+twin, string(data))
	sweep := func(id string, dry bool) blobstore.DataJudgement {
		t.Helper()
		j, err := s.SweepData(t.Context(), id, dry)
		if err != nil || j.Why == "" {
			t.Fatalf("%+v, %v", j, err)
		}
		return j
	}
	if j := sweep(orphan, false); j.Step != blobstore.Draining || j.Waiting != 70_000 || !j.Next.After(c.Now()) {
		t.Fatalf("%+v", j)
	}
	c.Turn(orphanAge)
	for _, id := range keys(t, b, "data/") {
		want := blobstore.Kept
		if id == orphan || id == twin {
			want = blobstore.Freed
		}
		dry := sweep(id, true)
		if j := sweep(id, false); j != dry || j.Step != want {
			t.Fatalf("%s: %+v, dry %+v, want %s", id, j, dry, want)
		}
		if j := sweep(id, false); want == blobstore.Freed && j.Step != blobstore.Kept {
			t.Fatalf("twice: %+v", j)
		}
	}
	if n := len(keys(t, b, "data/")); n != 2 {
		t.Fatalf("%d data objects", n)
	}
	mustRead(t, s, d, data)
	mustRead(t, s, d512, data[:99_000])
	// What others put there is left alone.
	store(t, b, "data/readme", "hello")
	if j := sweep("readme", false); j.Step != blobstore.Kept {
		t.Fatalf("%+v", j)
	}
	store(t, b, "uploads/readme", "hello")
	if j, err := s.SweepUpload(context.Background(), "readme", false); err != nil || j.State != blobstore.UploadOpen {
		t.Fatalf("%+v, %v", j, err)
	}
}
