package blobstore_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/count"
	"github.com/laminastore/lamina/blobstore/bucket/file"
)

// newFolder returns a bucket in a folder, and a clock that goes with the one by
// which that refuses late writes.
func newFolder(t *testing.T) (*file.Bucket, *clock) {
	t.Helper()
	b, err := file.Open(t.TempDir(), file.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	c := newClock()
	c.now = time.Now()
	return b, c
}

// counted is newFolder with a count of the calls to it.
func countedFolder(t *testing.T) (bucket.Bucket, *count.Bucket, *clock) {
	t.Helper()
	b, c := newFolder(t)
	counted := count.New(b)
	return counted.Whole(), counted, c
}

// What comes in one request of up to two parts is one object, and the upload's
// record is written once.
func TestCallsOfAPushToADisk(t *testing.T) {
	b, counted, c := countedFolder(t)
	o := options(c)
	o.Clock = c // stands still: what is left of ended uploads goes at the end
	s := open(t, b, o)
	for _, tt := range []struct {
		what string
		size int
		push func(data []byte, d digest.Digest) error
		want string
	}{
		{"append and commit", 2 * partSize, func(data []byte, d digest.Digest) error {
			u := start(t, s)
			if _, err := u.Append(t.Context(), 0, bytes.NewReader(data)); err != nil {
				return err
			}
			_, err := u.Commit(t.Context(), d)
			return err
		}, "put uploads/ put data/ put blobs/ put repos/"},
		{"put", 15 * partSize, func(data []byte, d digest.Digest) error {
			_, err := s.Put(t.Context(), repo, d, -1, bytes.NewReader(data))
			return err
		}, "put uploads/ put data/ put blobs/ put repos/"},
		// Parts while they come, and with the last of them the end.
		{"large put", 17*partSize + 7, func(data []byte, d digest.Digest) error {
			_, err := s.Put(t.Context(), repo, d, -1, bytes.NewReader(data))
			return err
		}, "put uploads/ part data/ put uploads/ part data/ put uploads/ complete data/ put blobs/ put repos/"},
	} {
		data, d := blob(tt.size, 31)
		counted.Reset()
		if err := tt.push(data, d); err != nil {
			t.Fatalf("%s: %v", tt.what, err)
		}
		var got []string
		for line := range strings.Lines(counted.Log()) {
			kind, key, _ := strings.Cut(strings.TrimSpace(line), " ")
			got = append(got, kind+" "+key[:strings.Index(key, "/")+1])
		}
		if have := strings.Join(got, " "); have != tt.want {
			t.Errorf("%s: %s\nwant %s", tt.what, have, tt.want)
		}
		mustRead(t, s, d, data)
	}
}

// A stopping reader says when it has delivered its bytes, and goes on with more
// when it may.
type stopping struct {
	io.Reader
	stopped, goOn chan struct{}
	more          io.Reader
}

func (s *stopping) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err == io.EOF && s.more != nil {
		close(s.stopped)
		<-s.goOn
		s.Reader, s.more = s.more, nil
		return s.Reader.Read(p)
	}
	return n, err
}

// A server stops in the middle of an upload, behind a checkpoint. Another goes
// on, with all kinds of ends; then the first one wakes up.
func TestAServerThatWasSlowOnADisk(t *testing.T) {
	b, c := newFolder(t)
	one, two := open(t, b, options(c)), open(t, b, options(c))
	for i, end := range []string{"finishes", "appends", "aborts", "nothing"} {
		data, d := blob(20*partSize+1000, uint64(40+i))
		u := start(t, one)
		r := &stopping{
			Reader: bytes.NewReader(data[:17*partSize+300_000]), more: bytes.NewReader(data[17*partSize+300_000:]),
			stopped: make(chan struct{}), goOn: make(chan struct{}),
		}
		done := make(chan error, 1)
		go func() {
			_, err := u.Finish(t.Context(), 0, r, d)
			done <- err
		}()
		<-r.stopped
		theirs := resume(t, two, u.ID())
		at, err := theirs.Refresh(t.Context())
		if err != nil || at != 16*partSize {
			t.Fatalf("another server finds %d bytes, %v", at, err)
		}
		want := blobstore.ErrUploadUnknown
		switch end {
		case "finishes":
			_, err = theirs.Finish(t.Context(), at, bytes.NewReader(data[at:]), d)
		case "appends":
			_, err = theirs.Append(t.Context(), at, bytes.NewReader(data[at:at+2*partSize+5]))
			want = blobstore.ErrUploadOffset
		case "aborts":
			err = theirs.Abort(t.Context())
		case "nothing":
			want = nil
		}
		if err != nil {
			t.Fatalf("the other %s: %v", end, err)
		}
		close(r.goOn)
		if err := <-done; !errors.Is(err, want) {
			t.Errorf("the other %s, and the first has %v, want %v", end, err, want)
		}
		if end == "appends" {
			at := int64(18*partSize + 5)
			if _, err := theirs.Finish(t.Context(), at, bytes.NewReader(data[at:]), d); err != nil {
				t.Fatal(err)
			}
		}
		if end != "aborts" {
			mustRead(t, two, d, data)
		}
	}
}

// What is left in the spool when a request breaks off is kept, up to the last
// byte, whatever it has become.
func TestABrokenRequestOnADiskLosesNothing(t *testing.T) {
	b, c := newFolder(t)
	for i, cut := range []int{300_000, partSize + 1, 2*partSize + 1, 5*partSize + 300_000, 16 * partSize, 17*partSize + 5} {
		s := open(t, b, options(c))
		data, d := blob(cut+3*partSize, uint64(60+i))
		u := start(t, s)
		broken := io.MultiReader(bytes.NewReader(data[:cut]), failing{})
		if at, err := u.Append(t.Context(), 0, broken); !errors.Is(err, errBroken) || at != int64(cut) {
			t.Fatalf("%d: at %d, %v", cut, at, err)
		}
		s = open(t, b, options(c)) // another, which has no memory of it
		if _, err := resume(t, s, u.ID()).Finish(t.Context(), int64(cut), bytes.NewReader(data[cut:]), d); err != nil {
			t.Fatalf("%d: %v", cut, err)
		}
		mustRead(t, s, d, data)
	}
}

var errBroken = errors.New("connection lost")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errBroken }

// A flippingDisk is a flipper that bytes can wait on.
type flippingDisk struct {
	*flipper
	bucket.Spooler
}

// A first piece that is larger than a part is read back when more comes behind
// it. A bit that is flipped on the way is noticed, on whatever server.
func TestALargeFirstPieceThatIsReadBackWithAFlippedBit(t *testing.T) {
	for _, elsewhere := range []bool{false, true} {
		b, c := newFolder(t)
		f := &flipper{Bucket: b}
		disk := flippingDisk{f, b}
		o := options(c)
		o.RecentBytes = 1
		s := open(t, disk, o)
		data, d := blob(4*partSize+1000, 70)
		u := start(t, s)
		const cut = 3*partSize + 300_000
		if at, err := u.Append(t.Context(), -1, bytes.NewReader(data[:cut])); err != nil || at != cut {
			t.Fatal(at, err)
		}
		if elsewhere {
			s = open(t, disk, o)
			u = resume(t, s, u.ID())
		}
		f.flips.Store(1)
		if _, err := u.Finish(t.Context(), cut, bytes.NewReader(data[cut:]), d); !errors.Is(err, bucket.ErrUnavailable) {
			t.Errorf("elsewhere %v: %v", elsewhere, err)
		}
		if f.flips.Load() > 0 {
			t.Fatal("nothing was read")
		}
		u = resume(t, s, u.ID())
		at, err := u.Refresh(t.Context())
		if err != nil || at != cut {
			t.Fatal(at, err)
		}
		if _, err := u.Finish(t.Context(), at, bytes.NewReader(data[at:]), d); err != nil {
			t.Fatal(err)
		}
		mustRead(t, s, d, data)
	}
}
