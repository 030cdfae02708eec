package blobstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/opencontainers/go-digest"
	"pgregory.net/rapid"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
)

func start(t *testing.T, s *blobstore.Store) *blobstore.Upload {
	t.Helper()
	u, err := s.StartUpload(t.Context(), repo, blobstore.UploadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func resume(t *testing.T, s *blobstore.Store, id string) *blobstore.Upload {
	t.Helper()
	u, err := s.ResumeUpload(t.Context(), repo, id)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

var sizes = []int{0, 1, blobstore.MaxInline, blobstore.MaxInline + 1, 256 << 10, 256<<10 + 1, partSize - 1, partSize, partSize + 1, 3*partSize + 7, 20 * partSize}

func TestBlobsOfEverySizeComeBackByEveryWay(t *testing.T) {
	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		for _, n := range sizes {
			t.Run(fmt.Sprintf("%s/%d", alg, n), func(t *testing.T) {
				s, _, _ := newStore(t)
				everyWay(t, s, alg, n)
			})
			if n <= 256<<10 || n == partSize || alg != digest.SHA256 && n < 20*partSize {
				continue // it is not written to the disk as it comes, or has been here
			}
			t.Run(fmt.Sprintf("on a disk/%s/%d", alg, n), func(t *testing.T) {
				b, c := newFolder(t)
				everyWay(t, open(t, b, options(c)), alg, n)
			})
		}
	}
}

func everyWay(t *testing.T, s *blobstore.Store, alg digest.Algorithm, n int) {
	for way, put := range map[string]func(b []byte, d digest.Digest) error{
		"put": func(b []byte, d digest.Digest) error {
			_, err := s.Put(t.Context(), repo, d, int64(len(b)), bytes.NewReader(b))
			return err
		},
		"put of unknown size": func(b []byte, d digest.Digest) error {
			_, err := s.Put(t.Context(), repo, d, -1, iotest.HalfReader(bytes.NewReader(b)))
			return err
		},
		"append and commit": func(b []byte, d digest.Digest) error {
			u := start(t, s)
			if off, err := u.Append(t.Context(), 0, bytes.NewReader(b)); err != nil || off != int64(len(b)) {
				return fmt.Errorf("at %d: %w", off, err)
			}
			_, err := u.Commit(t.Context(), d)
			return err
		},
		"finish": func(b []byte, d digest.Digest) error {
			_, err := start(t, s).Finish(t.Context(), 0, bytes.NewReader(b), d)
			return err
		},
		"append and finish": func(b []byte, d digest.Digest) error {
			u := start(t, s)
			half := len(b) / 2
			if _, err := u.Append(t.Context(), -1, bytes.NewReader(b[:half])); err != nil {
				return err
			}
			_, err := u.Finish(t.Context(), int64(half), bytes.NewReader(b[half:]), d)
			return err
		},
	} {
		b, _ := blob(n, uint64(len(alg))+uint64(len(way))<<8)
		d := alg.FromBytes(b)
		if err := put(b, d); err != nil {
			t.Fatalf("%s: %v", way, err)
		}
		mustRead(t, s, d, b)
		got, err := s.ReadAll(t.Context(), d, 1<<30)
		if err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%s: read all: %v", way, err)
		}
	}
}

// Any number of servers, any pieces, a server that forgets everything between
// any two of them: the blob is what was sent.
func TestUploadGoesOnAnywhere(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var b bucket.Bucket
		c := newClock()
		if rapid.IntRange(0, 7).Draw(rt, "on a disk") == 7 {
			b, c = newFolder(t)
		} else {
			b = newBucket(c)
		}
		servers := make([]*blobstore.Store, 3)
		for i := range servers {
			servers[i] = blobstore.New(b, options(c))
		}
		n := rapid.SampledFrom([]int{0, 1000, 70_000, 300_000, partSize, 2_000_000, 20 * partSize}).Draw(rt, "size")
		data, d := blob(n, 1)
		ctx := context.Background()
		u, err := servers[0].StartUpload(ctx, repo, blobstore.UploadOptions{})
		if err != nil {
			rt.Fatal(err)
		}
		off := 0
		for off < n {
			k := min(n-off, rapid.SampledFrom([]int{1, 100, 50_000, 65_536, 65_537, 200_000, partSize - 1, partSize, 600_000, 2_000_000, 18 * partSize}).Draw(rt, "chunk"))
			i := rapid.IntRange(0, 2).Draw(rt, "server")
			if rapid.IntRange(0, 4).Draw(rt, "restart") == 0 {
				servers[i] = blobstore.New(b, options(c))
			}
			s := servers[i]
			u, err := s.ResumeUpload(ctx, repo, u.ID())
			if err != nil {
				rt.Fatal(err)
			}
			var r io.Reader = bytes.NewReader(data[off : off+k])
			broken := rapid.IntRange(0, 3).Draw(rt, "broken") == 0
			if broken {
				r = io.MultiReader(io.LimitReader(r, int64(k/2)), iotest.ErrReader(errors.New("connection lost")))
				k /= 2
			}
			got, err := u.Append(ctx, int64(off), r)
			if (err != nil) != broken || got != int64(off+k) {
				rt.Fatalf("append of %d at %d: now at %d, %v", k, off, got, err)
			}
			off += k
		}
		last, err := servers[rapid.IntRange(0, 2).Draw(rt, "last")].ResumeUpload(ctx, repo, u.ID())
		if err != nil {
			rt.Fatal(err)
		}
		if _, err := last.Commit(ctx, d); err != nil {
			rt.Fatal(err)
		}
		got, err := servers[0].ReadAll(ctx, d, 1<<30)
		if err != nil || !bytes.Equal(got, data) {
			rt.Fatalf("read back: %v", err)
		}
		for _, s := range servers {
			if err := s.Close(ctx); err != nil {
				rt.Fatal(err)
			}
		}
		nothingLeft(rt, b, c, d)
	})
}

func TestOffsetThatDoesNotFollow(t *testing.T) {
	s, _, _ := newStore(t)
	u := start(t, s)
	data, d := blob(100_000, 1)
	if _, err := u.Append(t.Context(), 0, bytes.NewReader(data[:70_000])); err != nil {
		t.Fatal(err)
	}
	for _, off := range []int64{0, 69_999, 70_001} {
		got, err := u.Append(t.Context(), off, bytes.NewReader(data))
		var e *blobstore.Error
		if !errors.Is(err, blobstore.ErrUploadOffset) || !errors.As(err, &e) || e.Facts["offset"] != "70000" || got != 70_000 {
			t.Fatalf("at %d: got %d, %v", off, got, err)
		}
	}
	if _, err := u.Finish(t.Context(), 70_000, bytes.NewReader(data[70_000:]), d); err != nil {
		t.Fatal(err)
	}
	mustRead(t, s, d, data)
}

func TestAnotherServerHasGoneOn(t *testing.T) {
	c := newClock()
	b := newBucket(c)
	one, two := open(t, b, options(c)), open(t, b, options(c))
	for _, n := range []int{1000, 200_000, 3 * partSize} {
		data, d := blob(n, 2)
		u1 := start(t, one)
		u2 := resume(t, two, u1.ID())
		if _, err := u2.Append(t.Context(), -1, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		if off, err := u1.Refresh(t.Context()); err != nil || off != int64(n) {
			t.Fatalf("%d: refresh: %d, %v", n, off, err)
		}
		if _, err := u1.Commit(t.Context(), d); err != nil {
			t.Fatalf("%d: commit: %v", n, err)
		}
		mustRead(t, two, d, data)
	}
	// Without a refresh, and without an offset to compare: nothing is mixed up.
	data, _ := blob(200_000, 3)
	u1 := start(t, one)
	u2 := resume(t, two, u1.ID())
	if _, err := u2.Append(t.Context(), -1, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	other, d := blob(200_000, 4)
	if _, err := u1.Append(t.Context(), -1, bytes.NewReader(other)); !errors.Is(err, blobstore.ErrUploadOffset) {
		t.Fatalf("both wrote: %v", err)
	}
	// Who goes on where it is told to gets what the other server began.
	more, _ := blob(1000, 5)
	whole := append(bytes.Clone(data), more...)
	if _, err := u1.Finish(t.Context(), 200_000, bytes.NewReader(more), digest.FromBytes(whole)); err != nil {
		t.Fatalf("gone on after that: %v", err)
	}
	mustRead(t, two, digest.FromBytes(whole), whole)
	if _, err := one.Stat(t.Context(), repo, d); !errors.Is(err, blobstore.ErrBlobUnknown) {
		t.Fatalf("what was refused is there: %v", err)
	}
}

func TestUnknownUploads(t *testing.T) {
	s, c, _ := newStore(t)
	unknown := func(what, id string) {
		t.Helper()
		if _, err := s.ResumeUpload(t.Context(), repo, id); !errors.Is(err, blobstore.ErrUploadUnknown) {
			t.Errorf("%s: %v", what, err)
		}
	}
	unknown("no id", "../../etc")
	unknown("never begun", s.NewID())
	u := start(t, s)
	if _, err := s.ResumeUpload(t.Context(), "demo/other", u.ID()); !errors.Is(err, blobstore.ErrUploadUnknown) {
		t.Errorf("another repository: %v", err)
	}
	if err := u.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	unknown("aborted", u.ID())
	if err := u.Abort(t.Context()); !errors.Is(err, blobstore.ErrUploadUnknown) {
		t.Errorf("aborted twice: %v", err)
	}
	u = start(t, s)
	c.Turn(24*time.Hour + time.Second)
	unknown("too old", u.ID())
	if _, err := u.Append(t.Context(), 0, bytes.NewReader([]byte("x"))); !errors.Is(err, blobstore.ErrUploadUnknown) {
		t.Errorf("append to one that is too old: %v", err)
	}
}

func TestWrongDigestAndLengthLeaveNothing(t *testing.T) {
	s, _, b := newStore(t)
	for _, n := range sizes {
		data, d := blob(n, 5)
		_, other := blob(10, 6)
		_, err := start(t, s).Finish(t.Context(), 0, bytes.NewReader(data), other)
		var e *blobstore.Error
		if !errors.Is(err, blobstore.ErrDigestMismatch) || !errors.As(err, &e) || e.Facts["actual"] != string(d) {
			t.Fatalf("%d: %v", n, err)
		}
		if _, err := s.Put(t.Context(), repo, d, int64(n+1), bytes.NewReader(data)); !errors.Is(err, blobstore.ErrSizeMismatch) {
			t.Fatalf("%d: too short: %v", n, err)
		}
		if n > 0 {
			if _, err := s.Put(t.Context(), repo, d, int64(n-1), bytes.NewReader(data)); !errors.Is(err, blobstore.ErrSizeMismatch) && n > 1 {
				t.Fatalf("%d: too long: %v", n, err)
			}
		}
		if _, err := s.Stat(t.Context(), repo, d); !errors.Is(err, blobstore.ErrBlobUnknown) {
			t.Fatalf("%d: visible: %v", n, err)
		}
	}
	if _, err := s.StartUpload(t.Context(), repo, blobstore.UploadOptions{Algorithm: "md5"}); !errors.Is(err, blobstore.ErrDigestUnsupported) {
		t.Fatalf("md5: %v", err)
	}
	for info := range b.List(t.Context(), "blobs/", "") {
		t.Errorf("left: %s", info.Key)
	}
}

func TestTruncatedBodyIsNotABlob(t *testing.T) {
	s, _, _ := newStore(t)
	for _, n := range sizes[1:] {
		data, d := blob(n, 7)
		r := io.MultiReader(bytes.NewReader(data[:n-1]), iotest.ErrReader(io.ErrUnexpectedEOF))
		if _, err := s.Put(t.Context(), repo, d, -1, r); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%d: %v", n, err)
		}
		u := start(t, s)
		r = io.MultiReader(bytes.NewReader(data[:n-1]), iotest.ErrReader(io.ErrUnexpectedEOF))
		if _, err := u.Finish(t.Context(), 0, r, d); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%d: finish: %v", n, err)
		}
		off, err := u.Refresh(t.Context())
		if err != nil || off != int64(n-1) {
			t.Fatalf("%d: %d bytes kept, %v", n, off, err)
		}
		if _, err := u.Finish(t.Context(), off, bytes.NewReader(data[off:]), d); err != nil {
			t.Fatalf("%d: gone on: %v", n, err)
		}
		mustRead(t, s, d, data)
	}
}

func TestTwoUploadsOfOneBlobAtOnce(t *testing.T) {
	c := newClock()
	b := newBucket(c)
	for i, n := range []int{100, 100_000, 3 * partSize} {
		data, d := blob(n, uint64(8+i))
		var wg sync.WaitGroup
		for range 8 {
			s := open(t, b, options(c))
			wg.Go(func() {
				if _, err := s.Put(context.Background(), repo, d, int64(n), bytes.NewReader(data)); err != nil {
					t.Errorf("%d: %v", n, err)
				}
			})
		}
		wg.Wait()
		mustRead(t, open(t, b, options(c)), d, data)
	}
}

func TestFullBucketSaysSo(t *testing.T) {
	c := newClock()
	s := open(t, memory.New(memory.Options{Now: c.Now, MinPart: partSize, Capacity: 2 * partSize}), options(c))
	data, d := blob(4*partSize, 1)
	_, err := s.Put(t.Context(), repo, d, -1, bytes.NewReader(data))
	if !errors.Is(err, bucket.ErrFull) {
		t.Fatal(err)
	}
	if _, err := s.Stat(t.Context(), repo, d); !errors.Is(err, blobstore.ErrBlobUnknown) {
		t.Fatalf("visible: %v", err)
	}
}
