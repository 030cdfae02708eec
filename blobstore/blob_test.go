package blobstore_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/reference"
)

func put(t *testing.T, s *blobstore.Store, n int, seed uint64) ([]byte, digest.Digest) {
	t.Helper()
	b, d := blob(n, seed)
	if _, err := s.Put(t.Context(), repo, d, int64(n), bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	return b, d
}

// edit changes a blob's record behind the store's back, as a collector on
// another server would.
func edit(t *testing.T, b bucket.Bucket, d digest.Digest, change func(r map[string]any)) {
	t.Helper()
	rd, info, err := b.Get(t.Context(), blobstore.BlobKey(d), 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	r := map[string]any{}
	if err := json.NewDecoder(rd).Decode(&r); err != nil {
		t.Fatal(err)
	}
	change(r)
	r["rev"] = fmt.Sprint(r["rev"], "x")
	raw, _ := json.Marshal(r)
	if _, err := b.Put(t.Context(), info.Key, bytes.NewReader(raw), int64(len(raw)), bucket.Condition{IfMatch: info.ETag}); err != nil {
		t.Fatal(err)
	}
}

func state(t *testing.T, b bucket.Bucket, d digest.Digest) (state string, promise time.Time) {
	t.Helper()
	edit(t, b, d, func(r map[string]any) {
		state = r["state"].(string)
		promise, _ = time.Parse(time.RFC3339Nano, r["promise"].(string))
	})
	return state, promise
}

func TestCondemnedBlobIsRevivedByAnyAnswer(t *testing.T) {
	for name, answer := range map[string]func(s *blobstore.Store, d digest.Digest) error{
		"stat": func(s *blobstore.Store, d digest.Digest) error {
			_, err := s.Stat(t.Context(), repo, d)
			return err
		},
		"read": func(s *blobstore.Store, d digest.Digest) error {
			r, err := s.Open(t.Context(), repo, d, 0, -1)
			if err == nil {
				r.Close()
			}
			return err
		},
		"find missing": func(s *blobstore.Store, d digest.Digest) error {
			m, _, err := s.FindMissing(t.Context(), repo, []digest.Digest{d}, nil)
			if len(m) > 0 {
				return errors.New("missing")
			}
			return err
		},
		"mount": func(s *blobstore.Store, d digest.Digest) error {
			_, err := s.Mount(t.Context(), "demo/other", repo, d)
			return err
		},
		"upload": func(s *blobstore.Store, d digest.Digest) error {
			b, _ := blob(1000, 1)
			_, err := s.Put(t.Context(), repo, d, 1000, bytes.NewReader(b))
			return err
		},
	} {
		s, c, b := newStore(t)
		_, d := put(t, s, 1000, 1)
		c.Turn(73 * time.Hour) // the promise is over, and so is the cache's licence
		edit(t, b, d, func(r map[string]any) { r["state"], r["condemned"] = "condemned", c.Now() })
		if err := answer(s, d); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if st, p := state(t, b, d); st != "live" || p.Before(c.Now().Add(72*time.Hour)) {
			t.Errorf("%s: %s, promised until %v", name, st, p)
		}
	}
}

func TestCollectedBlobIsUploadedAgain(t *testing.T) {
	for _, n := range []int{1000, 200_000, 2 * partSize} {
		s, c, b := newStore(t)
		data, d := put(t, s, n, 1)
		c.Turn(73 * time.Hour)
		var old []any
		edit(t, b, d, func(r map[string]any) {
			r["state"], r["gone"] = "gone", c.Now()
			old, _ = r["copies"].([]any)
			r["drop"], r["copies"], r["inline"] = old, nil, nil
		})
		if _, err := s.Stat(t.Context(), repo, d); !errors.Is(err, blobstore.ErrBlobUnknown) {
			t.Fatalf("%d: a tombstone answers: %v", n, err)
		}
		put(t, s, n, 1)
		mustRead(t, s, d, data)
		edit(t, b, d, func(r map[string]any) {
			if r["state"] != "live" {
				t.Errorf("%d: %v", n, r["state"])
			}
			if n > blobstore.MaxInline && (fmt.Sprint(r["drop"]) != fmt.Sprint(old) || fmt.Sprint(r["copies"]) == fmt.Sprint(old)) {
				t.Errorf("%d: copies %v, to drop %v, was %v", n, r["copies"], r["drop"], old)
			}
		})
	}
}

func TestBarredDataIsNotPublished(t *testing.T) {
	s, _, b := newStore(t)
	data, d := blob(200_000, 1)
	u := start(t, s)
	if _, err := u.Append(t.Context(), 0, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	var id string
	for info := range b.List(t.Context(), "data/", "") {
		id = info.Key[len("data/"):]
	}
	// What the sweep does first: a tombstone that bars the name.
	raw, _ := json.Marshal(map[string]any{"rev": "sweep", "digest": d, "state": "gone", "barred": []string{id}})
	if _, err := b.Put(t.Context(), blobstore.BlobKey(d), bytes.NewReader(raw), int64(len(raw)), bucket.Condition{IfAbsent: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Commit(t.Context(), d); !errors.Is(err, blobstore.ErrUploadUnknown) {
		t.Fatalf("published: %v", err)
	}
	put(t, s, 200_000, 1) // under a new name
	mustRead(t, s, d, data)
}

func TestLatePublicationFails(t *testing.T) {
	s, c, b := newStore(t)
	data, d := blob(2*partSize, 1)
	u := start(t, s)
	late := readerFunc(func(p []byte) (int, error) {
		if len(data) == 0 {
			c.Turn(25 * time.Hour)
			return 0, io.EOF
		}
		n := copy(p, data)
		data = data[n:]
		return n, nil
	})
	if _, err := u.Finish(t.Context(), 0, late, d); !errors.Is(err, blobstore.ErrUploadUnknown) {
		t.Fatal(err)
	}
	for info := range b.List(t.Context(), "blobs/", "") {
		t.Errorf("published: %s", info.Key)
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestRepositoriesAreWalls(t *testing.T) {
	s, _, _ := newStore(t)
	data, d := put(t, s, 1000, 1)
	const other = reference.Repository("other/app")
	denied := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, blobstore.ErrBlobUnknown) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := s.Stat(t.Context(), other, d)
	denied("stat", err)
	_, err = s.Open(t.Context(), other, d, 0, -1)
	denied("open", err)
	_, err = s.Mount(t.Context(), repo, other, d)
	denied("mount from it", err)
	denied("unlink", s.Unlink(t.Context(), other, d))
	if m, _, err := s.FindMissing(t.Context(), other, []digest.Digest{d}, nil); err != nil || len(m) != 1 {
		t.Errorf("find missing: %v, %v", m, err)
	}
	if m, _, err := s.FindMissing(t.Context(), other, []digest.Digest{d}, []reference.Repository{"no/such", repo}); err != nil || len(m) != 0 {
		t.Errorf("find missing, mounted: %v, %v", m, err)
	}
	if err := s.Unlink(t.Context(), repo, d); err != nil {
		t.Fatal(err)
	}
	_, err = s.Stat(t.Context(), repo, d)
	denied("stat after unlink", err)
	denied("unlink twice", s.Unlink(t.Context(), repo, d))
	if r, err := s.Open(t.Context(), other, d, 0, -1); err != nil {
		t.Errorf("the other repository: %v", err)
	} else {
		got, _ := io.ReadAll(r)
		r.Close()
		if !bytes.Equal(got, data) {
			t.Error("other bytes")
		}
	}
}

func TestUnlinkIsSeenByEveryServerAtOnce(t *testing.T) {
	c := newClock()
	b := newBucket(c)
	one, two := open(t, b, options(c)), open(t, b, options(c))
	_, d := put(t, one, 1000, 1)
	if _, err := two.Stat(t.Context(), repo, d); err != nil {
		t.Fatal(err)
	}
	if err := one.Unlink(t.Context(), repo, d); err != nil {
		t.Fatal(err)
	}
	if _, err := two.Stat(t.Context(), repo, d); !errors.Is(err, blobstore.ErrBlobUnknown) {
		t.Fatalf("still there on the other: %v", err)
	}
}

func TestFindMissing(t *testing.T) {
	s, _, _ := newStore(t)
	var ds, want []digest.Digest
	for i := range 1000 {
		if i%100 == 0 {
			_, d := put(t, s, 100+i, uint64(i))
			ds = append(ds, d)
		} else {
			_, d := blob(10, uint64(i))
			ds, want = append(ds, d), append(want, d)
		}
	}
	got, until, err := s.FindMissing(t.Context(), repo, ds, nil)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("%d missing, %v", len(got), err)
	}
	if until.Before(s.Clock().Now().Add(53 * time.Hour)) {
		t.Errorf("promised until %v", until)
	}
	if _, _, err := s.FindMissing(t.Context(), repo, append(ds, ds[0]), nil); !errors.Is(err, blobstore.ErrTooLarge) {
		t.Errorf("1001: %v", err)
	}
}

func TestRanges(t *testing.T) {
	s, _, _ := newStore(t)
	for _, n := range []int{0, 1000, 700_000} {
		data, d := put(t, s, n, 1)
		for _, r := range [][2]int{{0, 0}, {0, 1}, {n / 2, 10}, {n, 1}, {n / 3, n}, {n / 2, -1}} {
			rd, err := s.Open(t.Context(), repo, d, int64(r[0]), int64(r[1]))
			if err != nil {
				t.Fatalf("%d %v: %v", n, r, err)
			}
			want := data[r[0]:]
			if r[1] >= 0 {
				want = want[:min(len(want), r[1])]
			}
			got, err := io.ReadAll(rd)
			rd.Close()
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d %v: %d bytes, %v", n, r, len(got), err)
			}
		}
		for _, off := range []int64{-1, int64(n) + 1} {
			if _, err := s.Open(t.Context(), repo, d, off, 1); !errors.Is(err, blobstore.ErrRange) {
				t.Errorf("%d at %d: %v", n, off, err)
			}
		}
	}
}

// damage changes a byte of the blob's data, or of its record if it is inline.
func damage(t *testing.T, b bucket.Bucket, d digest.Digest) {
	t.Helper()
	edit(t, b, d, func(r map[string]any) {
		copies, _ := r["copies"].([]any)
		if len(copies) == 0 {
			raw := []byte(r["inline"].(string))
			raw[10] ^= 1
			r["inline"] = string(raw)
			return
		}
		key := "data/" + copies[len(copies)-1].(string)
		rd, info, err := b.Get(t.Context(), key, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := io.ReadAll(rd)
		rd.Close()
		raw[len(raw)/3] ^= 1
		if _, err := b.Put(t.Context(), key, bytes.NewReader(raw), info.Size, bucket.Condition{}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestDamagedBytesAreNeverServed(t *testing.T) {
	for _, n := range []int{1000, 200_000, 700_000} {
		c := newClock()
		b := newBucket(c)
		s := blobstore.New(b, options(c))
		data, d := put(t, s, n, 1)
		damage(t, b, d)
		s = blobstore.New(b, options(c)) // no record in its cache
		for _, whole := range []func(r *blobstore.Reader, w *bytes.Buffer) error{
			func(r *blobstore.Reader, w *bytes.Buffer) error { _, err := r.WriteTo(w); return err },
			func(r *blobstore.Reader, w *bytes.Buffer) error {
				_, err := io.Copy(w, struct{ io.Reader }{r})
				return err
			},
		} {
			var got bytes.Buffer
			r, err := s.Open(t.Context(), repo, d, 0, -1)
			if err == nil {
				err = whole(r, &got)
				r.Close()
			}
			if !errors.Is(err, blobstore.ErrCorrupt) && !errors.Is(err, blobstore.ErrBlobUnknown) {
				t.Fatalf("%d: %v", n, err)
			}
			if got.Len() >= n {
				t.Fatalf("%d: all %d bytes were served", n, got.Len())
			}
		}
		if err := s.Close(t.Context()); err != nil { // waits for the quarantine
			t.Fatal(err)
		}
		s = open(t, b, options(c))
		if m, _, err := s.FindMissing(t.Context(), repo, []digest.Digest{d}, nil); n > blobstore.MaxInline && (err != nil || len(m) != 1) {
			t.Fatalf("%d: it must count as missing: %v, %v", n, m, err)
		}
		put(t, s, n, 1) // mends it
		mustRead(t, s, d, data)
	}
}

func TestVerdictStaysWithTheBlob(t *testing.T) {
	s, _, b := newStore(t)
	_, d := put(t, s, 1000, 1)
	if v, err := s.VerdictOf(t.Context(), d); err != nil || v != nil {
		t.Fatal(v, err)
	}
	want := blobstore.Verdict{Problem: "no tar"}
	if err := s.SetVerdict(t.Context(), d, want); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*blobstore.Store{s, open(t, b, options(newClock()))} {
		if v, err := s.VerdictOf(t.Context(), d); err != nil || v == nil || *v != want {
			t.Fatal(v, err)
		}
	}
	_, none := blob(10, 2)
	if err := s.SetVerdict(t.Context(), none, want); !errors.Is(err, blobstore.ErrBlobUnknown) {
		t.Fatal(err)
	}
}

// What has been checked once is checked again, by other means, and damage that
// came later is found.
func TestDamageThatComesLaterIsFound(t *testing.T) {
	for _, n := range []int{200_000, 700_000, 3*partSize + 5} {
		s, c, b := newStore(t)
		data, d := put(t, s, n, 1)
		mustRead(t, s, d, data)
		other := open(t, b, options(c)) // has not seen it come in
		mustRead(t, other, d, data)
		mustRead(t, other, d, data)
		damage(t, b, d)
		for _, s := range []*blobstore.Store{s, other} {
			var got bytes.Buffer
			r, err := s.Open(t.Context(), repo, d, 0, -1)
			if err == nil {
				_, err = r.WriteTo(&got)
				r.Close()
			}
			if !errors.Is(err, blobstore.ErrCorrupt) && !errors.Is(err, blobstore.ErrBlobUnknown) || got.Len() >= n || !bytes.HasPrefix(data, got.Bytes()) {
				t.Fatalf("%d: %d bytes served, %v", n, got.Len(), err)
			}
		}
	}
}
