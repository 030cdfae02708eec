package blobstore_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/storetest"
)

func TestASlowPublisherOfBarredDataFails(t *testing.T) {
	const size = 2*partSize + 100_000
	data, d := blob(size, 1)
	for name, before := range map[string]func(s *blobstore.Store, c *clock){
		"no record": func(*blobstore.Store, *clock) {},
		"a tombstone": func(s *blobstore.Store, c *clock) {
			put(t, s, size, 1)
			collect(t, s, c, d)
		},
	} {
		c := newClock()
		b := &unsure{Bucket: newBucket(c)}
		s := open(t, storetest.Patient{Bucket: b}, exact(c))
		before(s, c)
		u := start(t, s)
		if _, err := u.Append(t.Context(), 0, bytes.NewReader(data[:partSize])); err != nil {
			t.Fatal(err)
		}
		b.set(func(_ int, op, key string) fault {
			if op == "put" && key == blobstore.BlobKey(d) {
				return stalled
			}
			return none
		})
		if _, err := u.Finish(t.Context(), -1, bytes.NewReader(data[partSize:]), d); !errors.Is(err, bucket.ErrUnavailable) {
			t.Fatalf("%s: %v", name, err)
		}
		b.set(nil)
		c.Turn(orphanAge)
		sweepUploads(t, s, false)
		if left := keys(t, b, "uploads/"); len(left) > 0 {
			t.Fatalf("%s: uploads %q", name, left)
		}
		b.release()
		_, err := s.Stat(t.Context(), repo, d)
		unknown(t, name, err)
		info, err := s.Describe(t.Context(), d)
		if err != nil || info.State != "gone" || len(info.Barred) != 1 {
			t.Fatalf("%s: %+v, %v", name, info, err)
		}
		// The bytes that are pushed now are others' data, and are there.
		put(t, s, size, 1)
		mustRead(t, s, d, data)
	}
}

func TestALatePublisherIsRefused(t *testing.T) {
	const size = 2 * partSize
	data, d := blob(size, 1)
	c := newClock()
	b := &unsure{Bucket: newBucket(c)}
	s := open(t, b, exact(c))
	u := start(t, s)
	b.set(func(_ int, op, key string) fault {
		if key == blobstore.BlobKey(d) {
			return stalled
		}
		return none
	})
	if _, err := u.Finish(t.Context(), -1, bytes.NewReader(data), d); !errors.Is(err, bucket.ErrUnavailable) {
		t.Fatal(err)
	}
	b.set(nil)
	c.Turn(orphanAge)
	sweepUploads(t, s, false)
	b.release()
	if left := keys(t, b, ""); len(left) > 0 {
		t.Fatalf("left: %q", left)
	}
}

func TestAPublisherMeetsItsBar(t *testing.T) {
	const size = 2*partSize + 1
	data, d := blob(size, 1)
	c := newClock()
	hooked := &storetest.Bucket{Bucket: newBucket(c)}
	s := open(t, hooked, exact(c))
	u := start(t, s)
	other := open(t, hooked.Bucket, exact(c))
	data2, d2 := data, d
	hooked.Set(func(op, key string, pass func() error) error {
		if op == "put" && key == blobstore.BlobKey(d2) {
			hooked.Set(nil)
			// Someone else makes it a blob, which condemns nobody's data yet; and a
			// sweep whose clock runs wild bars ours.
			if _, err := other.Put(t.Context(), repo, d2, -1, bytes.NewReader(data2)); err != nil {
				t.Error(err)
			}
			wild := newClock()
			wild.Turn(orphanAge)
			sweeper := open(t, hooked.Bucket, exact(wild))
			for _, id := range keys(t, hooked.Bucket, "data/") {
				if _, err := sweeper.SweepData(t.Context(), id, false); err != nil {
					t.Error(err)
				}
			}
		}
		return pass()
	})
	if _, err := u.Finish(t.Context(), -1, bytes.NewReader(data), d); !errors.Is(err, blobstore.ErrUploadUnknown) {
		t.Fatalf("%v", err)
	}
	mustRead(t, other, d, data)
}
