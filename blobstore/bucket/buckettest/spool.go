package buckettest

import (
	"bytes"
	"errors"
	"testing"

	"github.com/laminastore/lamina/blobstore/bucket"
)

func spool(t *testing.T, b bucket.Bucket, data ...[]byte) bucket.Spool {
	t.Helper()
	s, err := b.(bucket.Spooler).Spool(t.Context())
	if err != nil {
		t.Fatalf("spool: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() }) // it may be closed
	for _, d := range data {
		write(t, s, d)
	}
	return s
}

func write(t *testing.T, s bucket.Spool, data []byte) {
	t.Helper()
	if n, err := s.Write(data); n != len(data) || err != nil {
		t.Fatalf("write: %d of %d, %v", n, len(data), err)
	}
}

// spoolParts makes parts of what is in s, of size bytes, and adds them to up.
func (up *upload) spoolParts(t *testing.T, s bucket.Spool, size int64, last bool) {
	t.Helper()
	id, parts, err := s.Parts(t.Context(), up.key, size, last)
	if err != nil {
		t.Fatalf("parts: %v", err)
	}
	if up.id != "" && up.id != id {
		t.Fatalf("parts of upload %s, and then of %s", up.id, id)
	}
	up.id = id
	for _, p := range parts {
		data := make([]byte, p.Size)
		if _, err := s.ReadAt(data, int64(p.Number-1)*size); err != nil {
			t.Fatalf("read part %d: %v", p.Number, err)
		}
		up.parts, up.data[p.Number] = append(up.parts, p), data
	}
}

func (up *upload) wantParts(t *testing.T, sizes ...int64) {
	t.Helper()
	if len(up.parts) != len(sizes) {
		t.Fatalf("parts %+v, want %d", up.parts, len(sizes))
	}
	for i, p := range up.parts {
		if p.Number != i+1 || p.Size != sizes[i] || p.ETag == "" {
			t.Fatalf("part %+v, want number %d of %d bytes", p, i+1, sizes[i])
		}
	}
}

func closeSpool(t *testing.T, s bucket.Spool) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

var spoolTests = []test{
	{"bytes become an object", func(t *testing.T, b bucket.Bucket) {
		for i, size := range []int64{0, 5, 1 << 20} {
			key, data := string(rune('a'+i)), content(size, uint64(i))
			s := spool(t, b, data[:size/3], data[size/3:])
			wantAbsent(t, b, key)
			info, err := s.Put(t.Context(), key, bucket.Condition{IfAbsent: true})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Write(data); size > 0 && err == nil {
				t.Error("an object was written to")
			}
			wantObject(t, b, key, data, info)
			closeSpool(t, s)
			wantObject(t, b, key, data, info)
		}
	}},
	{"bytes can be read at once", func(t *testing.T, b bucket.Bucket) {
		data := content(300_000, 1)
		s, have := spool(t, b, data[:7], data[7:]), make([]byte, 1000)
		if _, err := s.ReadAt(have, 200_000); err != nil || !bytes.Equal(have, data[200_000:201_000]) {
			t.Fatal(err)
		}
	}},
	{"without a name nothing is there", func(t *testing.T, b bucket.Bucket) {
		s := spool(t, b, content(1000, 1))
		wantKeys(t, b, "", "", nil)
		closeSpool(t, s)
		wantKeys(t, b, "", "", nil)
	}},
	{"conditions hold, and another name can be tried", func(t *testing.T, b bucket.Bucket) {
		old := put(t, b, "a", content(10, 1), bucket.Condition{})
		data := content(200_000, 2)
		s := spool(t, b, data)
		for _, cond := range []bucket.Condition{{IfAbsent: true}, {IfMatch: "another"}} {
			if _, err := s.Put(t.Context(), "a", cond); !errors.Is(err, bucket.ErrPrecondition) {
				t.Fatalf("%+v: %v", cond, err)
			}
		}
		if _, err := s.Put(t.Context(), "/", bucket.Condition{}); !errors.Is(err, bucket.ErrKey) {
			t.Fatal(err)
		}
		wantObject(t, b, "a", content(10, 1), old)
		if _, err := s.Put(t.Context(), "b", bucket.Condition{IfAbsent: true}); err != nil {
			t.Fatal(err)
		}
		wantObject(t, b, "b", data)
		s = spool(t, b, data)
		if _, err := s.Put(t.Context(), "a", bucket.Condition{IfMatch: old.ETag}); err != nil {
			t.Fatal(err)
		}
		wantObject(t, b, "a", data)
	}},
	{"bytes become parts, and more parts, and the last", func(t *testing.T, b bucket.Bucket) {
		least := b.Features().MinPart + 9
		up := &upload{b: b, key: "m/a", data: map[int][]byte{}}
		s := spool(t, b, content(2*least+3, 1))
		up.spoolParts(t, s, least, false)
		up.wantParts(t, least, least)
		write(t, s, content(2*least-1, 2))
		up.spoolParts(t, s, least, false)
		up.wantParts(t, least, least, least, least)
		up.spoolParts(t, s, least, false)
		up.wantParts(t, least, least, least, least)
		up.spoolParts(t, s, least, true)
		up.wantParts(t, least, least, least, least, 2)
		if _, err := s.Write([]byte("more")); err == nil {
			t.Error("something was written behind the last part")
		}
		if _, err := s.Put(t.Context(), "m/b", bucket.Condition{}); err == nil {
			t.Error("parts became an object too")
		}
		wantKeys(t, b, "", "", nil)
		wantUploads(t, b, "m/a", up.id)
		closeSpool(t, s)
		up.complete(t)
	}},
	{"others go on with the parts", func(t *testing.T, b bucket.Bucket) {
		least := b.Features().MinPart + 9
		for _, open := range []bool{false, true} { // as when a process dies, and when one is slow
			up := &upload{b: b, key: "m", data: map[int][]byte{}}
			s := spool(t, b, content(2*least+3, 1)) // behind the parts are bytes that do not count
			up.spoolParts(t, s, least, false)
			if !open {
				closeSpool(t, s)
			}
			up.put(t, 3, content(least, 3))
			up.put(t, 4, content(1, 4))
			if open {
				if _, err := s.Write(content(least, 5)); err == nil {
					if _, _, err = s.Parts(t.Context(), "m", least, false); err == nil {
						t.Error("the spool made parts that others had made")
					}
				} else if !errors.Is(err, bucket.ErrPart) {
					t.Error(err)
				}
			}
			up.complete(t)
			if err := b.Delete(t.Context(), "m"); err != nil {
				t.Fatal(err)
			}
		}
	}},
	{"an upload that others have ended gets no more parts", func(t *testing.T, b bucket.Bucket) {
		least := b.Features().MinPart + 9
		up := &upload{b: b, key: "m", data: map[int][]byte{}}
		s := spool(t, b, content(least, 1))
		up.spoolParts(t, s, least, false)
		up.complete(t)
		_, err := s.Write(content(least, 2))
		if err == nil {
			_, _, err = s.Parts(t.Context(), "m", least, false)
		}
		if !errors.Is(err, bucket.ErrNoUpload) {
			t.Fatal(err)
		}
		closeSpool(t, s)
		wantObject(t, b, "m", content(least, 1))
	}},
	{"parts of a spool that is empty", func(t *testing.T, b bucket.Bucket) {
		up := &upload{b: b, key: "m", data: map[int][]byte{}}
		s := spool(t, b)
		up.spoolParts(t, s, 10, false)
		up.wantParts(t)
		write(t, s, content(3, 1))
		up.spoolParts(t, s, 10, true)
		up.wantParts(t, 3)
		closeSpool(t, s)
		up.complete(t)
	}},
}
