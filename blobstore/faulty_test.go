package blobstore_test

import (
	"bytes"
	"context"
	"io"
	"strconv"
	"sync"
	"testing"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
)

// faulty fails chosen calls, before or after they took effect.
type faulty struct {
	bucket.Bucket
	mu sync.Mutex
	// fail says what becomes of the nth write: "" passes, "lost" takes effect
	// and answers unavailable, "412" takes effect and answers as a retry would,
	// "down" has no effect.
	fail func(n int, op, key string) string
	n    int
}

func (f *faulty) next(op, key string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	return f.fail(f.n, op, key)
}

func result(what string, err error) error {
	switch what {
	case "lost":
		return bucket.ErrUnavailable
	case "412":
		return bucket.ErrPrecondition
	}
	return err
}

func (f *faulty) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, cond bucket.Condition) (bucket.Info, error) {
	what := f.next("put", key)
	if what == "down" {
		return bucket.Info{}, bucket.ErrUnavailable
	}
	info, err := f.Bucket.Put(ctx, key, r, size, cond)
	return info, result(what, err)
}

func (f *faulty) PutPart(ctx context.Context, key, id string, n int, r io.ReadSeeker, size int64) (bucket.Part, error) {
	what := f.next("part", key)
	if what == "down" {
		return bucket.Part{}, bucket.ErrUnavailable
	}
	p, err := f.Bucket.PutPart(ctx, key, id, n, r, size)
	if what == "412" {
		what = ""
	}
	return p, result(what, err)
}

func (f *faulty) CompleteMultipart(ctx context.Context, key, id string, parts []bucket.Part, cond bucket.Condition) (bucket.Info, error) {
	what := f.next("complete", key)
	if what == "down" {
		return bucket.Info{}, bucket.ErrUnavailable
	}
	info, err := f.Bucket.CompleteMultipart(ctx, key, id, parts, cond)
	return info, result(what, err)
}

// Spool passes what the bucket inside is on.
func (f faultyDisk) Spool(ctx context.Context) (bucket.Spool, error) {
	s, err := f.Bucket.(bucket.Spooler).Spool(ctx)
	return &faultySpool{s, f.faulty}, err
}

// A faultyDisk is a faulty bucket.Spooler.
type faultyDisk struct{ *faulty }

type faultySpool struct {
	bucket.Spool
	f *faulty
}

func (s *faultySpool) Write(p []byte) (int, error) {
	if s.f.next("write", "") != "" {
		return 0, bucket.ErrUnavailable
	}
	return s.Spool.Write(p)
}

func (s *faultySpool) Put(ctx context.Context, key string, cond bucket.Condition) (bucket.Info, error) {
	what := s.f.next("put", key)
	if what == "down" {
		return bucket.Info{}, bucket.ErrUnavailable
	}
	info, err := s.Spool.Put(ctx, key, cond)
	return info, result(what, err)
}

// Parts has no effect when it fails: there is no answer that could be lost.
func (s *faultySpool) Parts(ctx context.Context, key string, size int64, last bool) (string, []bucket.Part, error) {
	if s.f.next("parts", key) != "" {
		return "", nil, bucket.ErrUnavailable
	}
	return s.Spool.Parts(ctx, key, size, last)
}

// Whichever write fails, in whichever way: the client goes on where it is told
// to, with the same server or another, and gets its blob.
func TestEveryWriteMayFail(t *testing.T) {
	everyWriteMayFail(t, []string{"lost", "412", "down"}, partSize, []int{1000, 200_000, partSize + 1000, 5*partSize + 100_000}, func() (bucket.Bucket, *faulty, *clock) {
		c := newClock()
		f := &faulty{Bucket: newBucket(c)}
		return f, f, c
	})
}

func TestEveryWriteToADiskMayFail(t *testing.T) {
	const part = 256 << 10
	everyWriteMayFail(t, []string{"lost", "down"}, part, []int{2*part + 1000, 17*part + 1000}, func() (bucket.Bucket, *faulty, *clock) {
		b, c := newFolder(t)
		f := &faulty{Bucket: b}
		return faultyDisk{f}, f, c
	})
}

func everyWriteMayFail(t *testing.T, ways []string, part int64, sizes []int, make func() (bucket.Bucket, *faulty, *clock)) {
	for _, n := range sizes {
		for _, what := range ways {
			for at := 1; ; at++ {
				b, f, c := make()
				f.fail = func(int, string, string) string { return "" }
				o := options(c)
				o.PartSize = part
				s, other := blobstore.New(b, o), blobstore.New(b, o)
				data, d := blob(n, uint64(at))
				u := start(t, s)
				f.n = 0
				f.fail = func(i int, _, _ string) string {
					if i == at {
						return what
					}
					return ""
				}
				name := strconv.Itoa(n) + "/" + what + "/" + strconv.Itoa(at)
				off, err := u.Append(t.Context(), 0, bytes.NewReader(data))
				for try := 0; (err != nil || off < int64(n)) && try < 5; try++ {
					if off, err = u.Refresh(t.Context()); err == nil {
						off, err = u.Append(t.Context(), off, bytes.NewReader(data[off:]))
					}
				}
				if err != nil {
					t.Fatalf("%s: append: %v", name, err)
				}
				_, err = u.Commit(t.Context(), d)
				if err != nil {
					if u, err = other.ResumeUpload(t.Context(), repo, u.ID()); err == nil {
						_, err = u.Commit(t.Context(), d)
					}
				}
				if err != nil {
					t.Fatalf("%s: commit: %v", name, err)
				}
				mustRead(t, other, d, data)
				s.Close(t.Context())
				other.Close(t.Context())
				if f.n < at {
					break
				}
			}
		}
	}
}
