package buckettest

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/laminastore/lamina/blobstore/bucket"
)

var multipartTests = []test{
	{"parts become an object", func(t *testing.T, b bucket.Bucket) {
		up := begin(t, b, "m/a")
		least := b.Features().MinPart
		up.put(t, 1, content(least, 1))
		up.put(t, 2, content(least, 2))
		wantAbsent(t, b, "m/a")
		wantKeys(t, b, "", "", nil)
		up.put(t, 3, content(100, 3))
		up.complete(t)
	}},
	{"one part is enough", func(t *testing.T, b bucket.Bucket) {
		up := begin(t, b, "a")
		up.put(t, 1, content(10, 1))
		up.complete(t)
	}},
	{"parts in any order, at once", func(t *testing.T, b bucket.Bucket) {
		up := begin(t, b, "a")
		least := b.Features().MinPart
		const parts = 5
		up.parts = make([]bucket.Part, parts)
		var g errgroup.Group
		for i := parts; i >= 1; i-- {
			size := least
			if i == parts {
				size = least/2 + 1
			}
			data := content(size, uint64(i))
			up.data[i] = data
			g.Go(func() (err error) {
				up.parts[i-1], err = b.PutPart(t.Context(), up.key, up.id, i, bytes.NewReader(data), size)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		up.complete(t)
	}},
	{"the last part first, and numbers with gaps", func(t *testing.T, b bucket.Bucket) {
		up := begin(t, b, "a")
		up.put(t, b.Features().MaxParts, content(10, 1))
		up.put(t, 7, content(b.Features().MinPart+1, 2))
		up.put(t, 2, content(b.Features().MinPart, 3))
		up.complete(t)
	}},
	{"parts of different sizes", func(t *testing.T, b bucket.Bucket) {
		up := begin(t, b, "a")
		least := b.Features().MinPart
		up.put(t, 1, content(least, 1))
		up.put(t, 2, content(least+1000, 2))
		up.put(t, 3, content(least+1, 3))
		up.complete(t)
	}},
	{"a part put again is replaced", func(t *testing.T, b bucket.Bucket) {
		up := begin(t, b, "a")
		least := b.Features().MinPart
		up.put(t, 1, content(least, 1))
		up.put(t, 2, content(least, 2))
		up.put(t, 3, content(10, 3))
		up.put(t, 2, content(least, 4))
		up.put(t, 1, content(least+5, 5))
		up.put(t, 1, content(least, 6))
		up.put(t, 3, content(11, 7))
		up.complete(t)
	}},
	{"a part not named is left out", func(t *testing.T, b bucket.Bucket) {
		up := begin(t, b, "a")
		least := b.Features().MinPart
		up.put(t, 1, content(least, 1))
		up.put(t, 2, content(least, 2))
		up.put(t, 3, content(least, 3))
		up.drop(3)
		up.complete(t)
	}},
	{"a reader is checked and read from its beginning", func(t *testing.T, b bucket.Bucket) {
		up := begin(t, b, "a")
		data := content(b.Features().MinPart, 1)
		size := int64(len(data))
		_, err := b.PutPart(t.Context(), up.key, up.id, 1, bytes.NewReader(data), size+1)
		wantError(t, "short", err, io.ErrUnexpectedEOF)
		_, err = b.PutPart(t.Context(), up.key, up.id, 1, bytes.NewReader(data), size-1)
		wantError(t, "long", err, bucket.ErrSize)
		r := bytes.NewReader(data)
		_, _ = io.Copy(io.Discard, r) // to its end
		p, err := b.PutPart(t.Context(), up.key, up.id, 1, r, size)
		if err != nil {
			t.Fatal(err)
		}
		up.parts, up.data[1] = []bucket.Part{p}, data
		up.complete(t)
	}},
	{"an upload that is completed or aborted is gone", func(t *testing.T, b bucket.Bucket) {
		done := begin(t, b, "done")
		done.put(t, 1, content(10, 1))
		done.complete(t)
		aborted := begin(t, b, "aborted")
		aborted.put(t, 1, content(10, 1))
		for range 2 { // the second time it is not there, which is no error
			if err := b.AbortMultipart(t.Context(), aborted.key, aborted.id); err != nil {
				t.Fatal(err)
			}
		}
		for _, up := range []*upload{done, aborted} {
			_, err := b.PutPart(t.Context(), up.key, up.id, 2, strings.NewReader("x"), 1)
			wantError(t, "put part of "+up.key, err, bucket.ErrNoUpload)
			_, err = b.CompleteMultipart(t.Context(), up.key, up.id, up.parts, bucket.Condition{})
			if up == aborted || err != nil { // some stores let it succeed again
				wantError(t, "complete "+up.key, err, bucket.ErrNoUpload)
			}
		}
		wantObject(t, b, "done", content(10, 1))
		wantAbsent(t, b, "aborted")
		if err := b.AbortMultipart(t.Context(), done.key, done.id); err != nil {
			t.Error(err)
		}
		wantObject(t, b, "done", content(10, 1))
	}},
	{"an upload is valid with its own key only", func(t *testing.T, b bucket.Bucket) {
		up := begin(t, b, "a")
		up.put(t, 1, content(10, 1))
		_, err := b.PutPart(t.Context(), "b", up.id, 1, strings.NewReader("x"), 1)
		wantError(t, "put part", err, bucket.ErrNoUpload)
		_, err = b.CompleteMultipart(t.Context(), "b", up.id, up.parts, bucket.Condition{})
		wantError(t, "complete", err, bucket.ErrNoUpload)
		if err := b.AbortMultipart(t.Context(), "b", up.id); err != nil {
			t.Errorf("abort: %v", err)
		}
		wantAbsent(t, b, "b")
		up.complete(t)
	}},
	{"two uploads to one key are two", func(t *testing.T, b bucket.Bucket) {
		one, two := begin(t, b, "a"), begin(t, b, "a")
		if one.id == two.id {
			t.Fatalf("both have id %s", one.id)
		}
		one.put(t, 1, content(10, 1))
		two.put(t, 1, content(20, 2))
		one.complete(t)
		two.complete(t)
	}},
	{"a wrong list of parts is refused", func(t *testing.T, b bucket.Bucket) {
		up := begin(t, b, "a")
		least := b.Features().MinPart
		up.put(t, 1, content(least, 1))
		up.put(t, 2, content(least, 2))
		up.put(t, 3, content(1, 3))
		p := slices.Clone(up.parts)
		missing, other := p[2], p[1]
		missing.Number = 4
		other.ETag = p[0].ETag
		lists := map[string][]bucket.Part{
			"no part":         nil,
			"missing part":    {p[0], p[1], missing},
			"other version":   {p[0], other},
			"descending":      {p[1], p[0]},
			"the same twice":  {p[0], p[0]},
			"a part too many": {p[0], p[1], p[2], missing},
		}
		if least > 1 {
			last := up.put(t, 4, content(10, 4))
			lists["small part in the middle"] = []bucket.Part{p[0], p[2], last}
			up.drop(4)
		}
		for name, parts := range lists {
			_, err := b.CompleteMultipart(t.Context(), up.key, up.id, parts, bucket.Condition{})
			wantError(t, name, err, bucket.ErrPart)
		}
		wantAbsent(t, b, "a")
		up.complete(t) // the upload is as it was
	}},
	{"the open uploads of a key are listed", func(t *testing.T, b bucket.Bucket) {
		wantUploads(t, b, "m/a")
		one, two := begin(t, b, "m/a"), begin(t, b, "m/a")
		longer, other := begin(t, b, "m/ab"), begin(t, b, "m/a-/c")
		one.put(t, 1, content(10, 1))
		wantUploads(t, b, "m/a", one.id, two.id)
		wantUploads(t, b, "m/ab", longer.id)
		wantUploads(t, b, "m/a-/c", other.id)
		wantUploads(t, b, "m/b")
		one.complete(t)
		wantUploads(t, b, "m/a", two.id)
		if err := b.AbortMultipart(t.Context(), "m/a", two.id); err != nil {
			t.Fatal(err)
		}
		wantUploads(t, b, "m/a")
		// Who has enough of a listing ends it.
		begin(t, b, "m/b")
		begin(t, b, "m/b")
		n := 0
		for range b.ListMultiparts(t.Context(), "m/b") {
			n++
			break
		}
		if n != 1 {
			t.Errorf("%d uploads after the first", n)
		}
	}},
	{"a part's number is between 1 and MaxParts", func(t *testing.T, b bucket.Bucket) {
		up := begin(t, b, "a")
		for _, n := range []int{0, -1, b.Features().MaxParts + 1} {
			_, err := b.PutPart(t.Context(), up.key, up.id, n, strings.NewReader("x"), 1)
			wantError(t, "put part", err, bucket.ErrPart)
		}
	}},
}

// wantUploads fails the test unless those are the open uploads of key.
func wantUploads(t *testing.T, b bucket.Bucket, key string, ids ...string) {
	t.Helper()
	var have []string
	for info, err := range b.ListMultiparts(t.Context(), key) {
		if err != nil {
			t.Fatal(err)
		}
		if info.Started.IsZero() {
			t.Errorf("upload %s began at no time", info.ID)
		}
		have = append(have, info.ID)
	}
	slices.Sort(have)
	slices.Sort(ids)
	if !slices.Equal(have, ids) {
		t.Fatalf("uploads of %s: %q, want %q", key, have, ids)
	}
}

// An upload is a multipart upload and what has been put into it.
type upload struct {
	b     bucket.Bucket
	key   string
	id    string
	parts []bucket.Part // ascending
	data  map[int][]byte
}

func begin(t *testing.T, b bucket.Bucket, key string) *upload {
	t.Helper()
	id, err := b.CreateMultipart(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.WithoutCancel(t.Context())
	t.Cleanup(func() { _ = b.AbortMultipart(ctx, key, id) })
	return &upload{b: b, key: key, id: id, data: map[int][]byte{}}
}

func (up *upload) put(t *testing.T, n int, data []byte) bucket.Part {
	t.Helper()
	p, err := up.b.PutPart(t.Context(), up.key, up.id, n, bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if p.Number != n || p.Size != int64(len(data)) || p.ETag == "" {
		t.Fatalf("part %d of %d bytes: %+v", n, len(data), p)
	}
	up.drop(n)
	up.data[n] = data
	up.parts = append(up.parts, p)
	slices.SortFunc(up.parts, func(a, b bucket.Part) int { return a.Number - b.Number })
	return p
}

// drop forgets part n.
func (up *upload) drop(n int) {
	delete(up.data, n)
	up.parts = slices.DeleteFunc(up.parts, func(p bucket.Part) bool { return p.Number == n })
}

func (up *upload) whole() []byte {
	var all []byte
	for _, p := range up.parts {
		all = append(all, up.data[p.Number]...)
	}
	return all
}

// complete completes the upload and checks the object.
func (up *upload) complete(t *testing.T) bucket.Info {
	t.Helper()
	info, err := up.b.CompleteMultipart(t.Context(), up.key, up.id, up.parts, bucket.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	wantObject(t, up.b, up.key, up.whole(), info)
	return info
}
