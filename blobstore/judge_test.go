package blobstore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/storetest"
)

const (
	grace = 72 * time.Hour
	drain = 24 * time.Hour
	skew  = 5 * time.Minute
)

// exact are options whose clock is turned by the test alone, and not by whatever
// sleeps in the background.
func exact(c *clock) blobstore.Options {
	o := options(c)
	o.Clock = c
	return o
}

func exactStore(t *testing.T) (*blobstore.Store, *clock, bucket.Bucket) {
	t.Helper()
	c := newClock()
	b := newBucket(c)
	return open(t, b, exact(c)), c, b
}

// judge has s judge d by a mark that begins now, dry first: what that says must be
// what is done.
func judge(t tester, s *blobstore.Store, c *clock, d digest.Digest) blobstore.Judgement {
	t.Helper()
	return judgeBy(t, s, d, c.Now())
}

func judgeBy(t tester, s *blobstore.Store, d digest.Digest, began time.Time) blobstore.Judgement {
	t.Helper()
	dry, err := s.Judge(context.Background(), d, began, true)
	if err != nil {
		t.Fatal(err)
	}
	j, err := s.Judge(context.Background(), d, began, false)
	if err != nil {
		t.Fatal(err)
	}
	if j != dry {
		t.Fatalf("the dry run said\n%+v, and what was done is\n%+v", dry, j)
	}
	if j.Why == "" {
		t.Fatalf("%+v has no reason", j)
	}
	return j
}

// becomes fails the test unless that is the next step of d.
func becomes(t tester, s *blobstore.Store, c *clock, d digest.Digest, step blobstore.Step) blobstore.Judgement {
	t.Helper()
	j := judge(t, s, c, d)
	if j.Step != step {
		t.Fatalf("%+v, want the step %s", j, step)
	}
	return j
}

// collect takes d to gone.
func collect(t tester, s *blobstore.Store, c *clock, d digest.Digest) {
	t.Helper()
	c.Turn(grace + time.Minute)
	becomes(t, s, c, d, blobstore.Condemned)
	c.Turn(2*skew + time.Minute)
	becomes(t, s, c, d, blobstore.Collected)
}

func unknown(t tester, what string, err error) {
	t.Helper()
	if !errors.Is(err, blobstore.ErrBlobUnknown) {
		t.Fatalf("%s: %v", what, err)
	}
}

// Every step of a blob that nothing names, at the first moment at which it may be
// taken, and not a moment before.
func TestABlobThatNothingNamesGoesAStepAtATime(t *testing.T) {
	for size, inline := range map[int]bool{1000: true, 100_000: false, 2_000_000: false} {
		s, c, b := exactStore(t)
		_, d := put(t, s, size, 1)
		step := func(after time.Duration, want blobstore.Step, freed, waiting int) {
			t.Helper()
			c.Turn(after)
			j := judge(t, s, c, d)
			if j.Step != want || j.Freed != int64(freed) || j.Waiting != int64(waiting) || j.Size != int64(size) {
				t.Fatalf("%d bytes: %+v, want %s, %d freed, %d waiting", size, j, want, freed, waiting)
			}
		}
		step(0, blobstore.Kept, 0, size)
		step(grace, blobstore.Kept, 0, size)
		step(time.Second, blobstore.Condemned, 0, size)
		step(2*skew, blobstore.Kept, 0, size)
		if inline {
			step(time.Second, blobstore.Collected, size, 0)
		} else {
			step(time.Second, blobstore.Collected, 0, size)
			step(drain-time.Second, blobstore.Draining, 0, size)
			if n := len(keys(t, b, "data/")); n != 1 {
				t.Fatalf("%d data objects while it drains", n)
			}
			step(time.Second, blobstore.Freed, size, 0)
		}
		if left := keys(t, b, "data/"); len(left) > 0 {
			t.Fatalf("data %q is left", left)
		}
		c.Turn(grace + 24*time.Hour)
		step(2*skew, blobstore.Kept, 0, 0) // of the inline one nothing drains, but a tombstone stays as long
		step(drain+time.Second, blobstore.Removed, 0, 0)
		if left := keys(t, b, "blobs/"); len(left) > 0 {
			t.Fatalf("the record %q is left", left)
		}
	}
}

func TestTombstonesStayWhereWritesMayBeLate(t *testing.T) {
	c := newClock()
	b := newBucket(c)
	for name, b := range map[string]bucket.Bucket{
		"late writes land":       storetest.Patient{Bucket: b},
		"no conditional deletes": struct{ bucket.Bucket }{b},
	} {
		s := open(t, b, exact(c))
		_, d := put(t, s, 1000, 1)
		collect(t, s, c, d)
		c.Turn(1000 * time.Hour)
		if j := becomes(t, s, c, d, blobstore.Kept); !j.Gone || !j.Next.IsZero() {
			t.Errorf("%s: %+v", name, j)
		}
		put(t, s, 1000, 1)
	}
}

// Whatever tells somebody that a condemned blob is there makes it live again.
func TestAnAnswerRevivesACondemnedBlob(t *testing.T) {
	data, d := blob(100_000, 1)
	for name, ask := range map[string]func(*blobstore.Store) error{
		"stat": func(s *blobstore.Store) error { _, err := s.Stat(t.Context(), repo, d); return err },
		"read": func(s *blobstore.Store) error {
			r, err := s.Open(t.Context(), repo, d, 0, -1)
			if err == nil {
				_, err = r.WriteTo(io.Discard)
			}
			return err
		},
		"find": func(s *blobstore.Store) error {
			missing, _, err := s.FindMissing(t.Context(), repo, []digest.Digest{d}, nil)
			if len(missing) > 0 {
				t.Error("it is missing")
			}
			return err
		},
		"mount": func(s *blobstore.Store) error { _, err := s.Mount(t.Context(), "demo/other", repo, d); return err },
		"push": func(s *blobstore.Store) error {
			_, err := s.Put(t.Context(), repo, d, -1, bytes.NewReader(data))
			return err
		},
		"revive": func(s *blobstore.Store) error {
			revived, err := s.Revive(t.Context(), d)
			if !revived {
				t.Error("it was not condemned")
			}
			return err
		},
	} {
		c := newClock()
		b := newBucket(c)
		s := open(t, b, exact(c))
		if _, err := s.Put(t.Context(), repo, d, -1, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		other := open(t, b, exact(c))
		c.Turn(grace + time.Minute)
		becomes(t, other, c, d, blobstore.Condemned)
		c.Turn(time.Hour)
		if err := ask(s); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		info, err := s.Describe(t.Context(), d)
		if err != nil || info.State != "live" {
			t.Fatalf("%s: %+v, %v", name, info, err)
		}
		if name == "revive" { // which promises nothing
			becomes(t, other, c, d, blobstore.Condemned)
			continue
		}
		if j := becomes(t, other, c, d, blobstore.Kept); !j.Next.Equal(c.Now().Add(grace)) {
			t.Fatalf("%s: %+v", name, j)
		}
	}
}

func TestReviveOfWhatIsGone(t *testing.T) {
	s, c, _ := exactStore(t)
	_, d := put(t, s, 1000, 1)
	if revived, err := s.Revive(t.Context(), d); revived || err != nil {
		t.Errorf("of a live one: %v, %v", revived, err)
	}
	collect(t, s, c, d)
	_, err := s.Revive(t.Context(), d)
	unknown(t, "of one that is gone", err)
	_, err = s.Revive(t.Context(), digest.FromString("never"))
	unknown(t, "of one that never was", err)
}

// Hole 1 of the model: two collectors, and one of them looks at what an old mark
// of its own says. Each of the two conditions is enough by itself.
func TestAnOldMarkTakesNoStep(t *testing.T) {
	s, c, _ := exactStore(t)
	data, d := put(t, s, 100_000, 1)
	began := c.Now().Add(grace) // before the promise ended, but for a second
	c.Turn(grace + 10*time.Hour)
	if j := judgeBy(t, s, d, began); j.Step != blobstore.Kept {
		t.Fatalf("a mark that began before the promise ended: %+v", j)
	}
	began = c.Now()
	becomes(t, s, c, d, blobstore.Condemned)
	c.Turn(100 * time.Hour)
	if j := judgeBy(t, s, d, began); j.Step != blobstore.Kept {
		t.Fatalf("a mark that began before it was condemned: %+v", j)
	}
	mustRead(t, s, d, data)
}

// A collector's clock may be ahead of the one by which a blob was condemned.
func TestACollectorWhoseClockIsAheadWaits(t *testing.T) {
	c := newClock()
	b := newBucket(c)
	s := open(t, b, exact(c))
	_, d := put(t, s, 1000, 1)
	c.Turn(grace + time.Minute)
	becomes(t, s, c, d, blobstore.Condemned)
	if j := judgeBy(t, s, d, c.Now().Add(2*skew)); j.Step != blobstore.Kept {
		t.Fatalf("%+v", j)
	}
}

// Whoever is told of the blob between a collector's read and its write wins.
func TestACollectorLosesEveryRace(t *testing.T) {
	for _, step := range []blobstore.Step{blobstore.Condemned, blobstore.Collected} {
		c := newClock()
		b := &storetest.Bucket{Bucket: newBucket(c)}
		s, other := open(t, b, exact(c)), open(t, b.Bucket, exact(c))
		data, d := put(t, s, 100_000, 1)
		c.Turn(grace + time.Minute)
		if step == blobstore.Collected {
			becomes(t, s, c, d, blobstore.Condemned)
			c.Turn(time.Hour)
		}
		b.Set(func(op, key string, pass func() error) error {
			if op == "put" && key == blobstore.BlobKey(d) {
				b.Set(nil)
				if _, err := other.Stat(t.Context(), repo, d); err != nil {
					t.Error(err)
				}
			}
			return pass()
		})
		j, err := s.Judge(t.Context(), d, c.Now(), false)
		if err != nil || j.Step != blobstore.Kept {
			t.Fatalf("%s: %+v, %v", step, j, err)
		}
		mustRead(t, s, d, data)
	}
}

// A record in the cache answers without the bucket as long as it is a licence;
// no sweep can have come past it in that time, and when it is none the bucket is
// asked, also when another server has collected the blob.
func TestACachedRecordNeverAnswersForWhatIsGone(t *testing.T) {
	c := newClock()
	b := newBucket(c)
	s, collector := open(t, b, exact(c)), open(t, b, exact(c))
	data, d := put(t, s, 100_000, 1)
	for range 100 {
		c.Turn(time.Hour)
		before := c.Now()
		blob, err := s.Stat(t.Context(), repo, d)
		if err != nil {
			t.Fatal(err)
		}
		for c.Now().Before(blob.Promised) { // nobody asks for as long as it was promised
			c.Turn(6 * time.Hour)
			if c.Now().Before(blob.Promised) {
				becomes(t, collector, c, d, blobstore.Kept)
			}
		}
		if c.Now().Sub(before) < grace/4*3-skew {
			t.Fatalf("promised for %v only", c.Now().Sub(before))
		}
	}
	r, err := s.Open(t.Context(), repo, d, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	collect(t, collector, c, d)
	if _, err := s.Stat(t.Context(), repo, d); !errors.Is(err, blobstore.ErrBlobUnknown) {
		t.Fatalf("%v", err)
	}
	// Who reads it since before reaches the end.
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
}

// What was collected and is pushed again has other data; the old one goes when
// its readers have had their time, though the blob is live and named.
func second[T any](_ T, err error) error { return err }

// The same without anybody who knows of the blob: the upload's record leads there.
func TestTheUploadLeadsToWhatItReplaced(t *testing.T) {
	for _, size := range []int{100_000, 2_000_000} {
		c := newClock()
		b := newBucket(c)
		s := blobstore.New(b, exact(c))
		_, d := put(t, s, size, 1)
		collect(t, s, c, d)
		put(t, s, size, 1)
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(keys(t, b, "uploads/")); n != 1 {
			t.Fatalf("%d uploads lead to the data that is to be dropped", n)
		}
		c.Turn(orphanAge)
		s = open(t, b, exact(c))
		sweepUploads(t, s, false)
		if n, u := keys(t, b, "data/"), keys(t, b, "uploads/"); len(n) != 1 || len(u) != 0 {
			t.Fatalf("data %q, uploads %q", n, u)
		}
	}
}

// Design 4.8: a repository's link to a blob that was collected does not open it
// when another tenant pushes the same bytes.
// Records and links from before there were lives agree with each other.
func store(t *testing.T, b bucket.Bucket, key, raw string) {
	t.Helper()
	if _, err := b.Put(t.Context(), key, bytes.NewReader([]byte(raw)), int64(len(raw)), bucket.Condition{IfAbsent: true}); err != nil {
		t.Fatal(err)
	}
}
