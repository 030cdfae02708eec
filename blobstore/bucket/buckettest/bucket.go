package buckettest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
)

var contextTests = []test{
	{"an ended context fails every call", func(t *testing.T, b bucket.Bucket) {
		info := put(t, b, "a", []byte("x"), bucket.Condition{})
		up := begin(t, b, "m")
		part := up.put(t, 1, content(10, 1))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, _, err := b.Get(ctx, "a", 0, -1)
		wantError(t, "get", err, context.Canceled)
		_, err = b.Stat(ctx, "a")
		wantError(t, "stat", err, context.Canceled)
		_, err = b.Put(ctx, "b", strings.NewReader("x"), 1, bucket.Condition{})
		wantError(t, "put", err, context.Canceled)
		_, err = b.Put(ctx, "b", strings.NewReader("x"), 1, bucket.Condition{NotAfter: time.Now().Add(time.Hour)})
		wantError(t, "put with NotAfter", err, context.Canceled)
		wantError(t, "delete", b.Delete(ctx, "a"), context.Canceled)
		if d, ok := b.(bucket.ConditionalDeleter); ok {
			wantError(t, "delete if", d.DeleteIf(ctx, "a", info.ETag), context.Canceled)
		}
		listed := 0
		for _, err := range b.List(ctx, "", "") {
			wantError(t, "list", err, context.Canceled)
			listed++
		}
		if listed != 1 {
			t.Errorf("list yielded %d times, want the error alone", listed)
		}
		_, err = b.CreateMultipart(ctx, "m")
		wantError(t, "create upload", err, context.Canceled)
		_, err = b.PutPart(ctx, "m", up.id, 1, strings.NewReader("x"), 1)
		wantError(t, "put part", err, context.Canceled)
		_, err = b.CompleteMultipart(ctx, "m", up.id, []bucket.Part{part}, bucket.Condition{})
		wantError(t, "complete upload", err, context.Canceled)
		wantError(t, "abort upload", b.AbortMultipart(ctx, "m", up.id), context.Canceled)
		listed = 0
		for _, err := range b.ListMultiparts(ctx, "m") {
			wantError(t, "list uploads", err, context.Canceled)
			listed++
		}
		if listed != 1 {
			t.Errorf("list uploads yielded %d times, want the error alone", listed)
		}
		_, err = b.Clock(ctx)
		wantError(t, "clock", err, context.Canceled)
		wantObject(t, b, "a", []byte("x"), info)
		wantAbsent(t, b, "b")
		up.complete(t)
	}},
	{"a context that ends in mid-write leaves nothing", func(t *testing.T, b bucket.Bucket) {
		for _, size := range []int64{1000, 3 << 20} {
			ctx, cancel := context.WithCancel(t.Context())
			ends := func(r io.Reader) io.Reader { return io.MultiReader(io.LimitReader(r, size/2), cancelReader{cancel}, r) }
			_, err := b.Put(ctx, "a", newSeeker(content(size, 1), ends), size, bucket.Condition{})
			wantError(t, "put", err, context.Canceled)
			wantAbsent(t, b, "a")
			up := begin(t, b, "m")
			ctx, cancel = context.WithCancel(t.Context())
			_, err = b.PutPart(ctx, "m", up.id, 1, newSeeker(content(size, 1), ends), size)
			wantError(t, "put part", err, context.Canceled)
			up.put(t, 1, content(size, 2))
			up.complete(t)
			if err := b.Delete(t.Context(), "m"); err != nil {
				t.Fatal(err)
			}
			cancel()
		}
	}},
}

// A cancelReader ends a context when it is read, and is empty.
type cancelReader struct{ cancel func() }

func (c cancelReader) Read([]byte) (int, error) {
	c.cancel()
	return 0, io.EOF
}

var bucketTests = []test{
	{"Features are plausible", func(t *testing.T, b bucket.Bucket) {
		f := b.Features()
		if f.MinPart < 1 || f.MinPart > 5<<20 || f.MaxParts < 10_000 {
			t.Errorf("%+v", f)
		}
		if f != b.Features() {
			t.Error("they change")
		}
		if b.String() == "" {
			t.Error("the bucket has no name")
		}
	}},
	{"Clock tells the time", func(t *testing.T, b bucket.Bucket) {
		first, err := b.Clock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		second, err := b.Clock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if second.Before(first) || second.Sub(first) > time.Minute {
			t.Errorf("it is %s, then %s", first, second)
		}
		if first.Nanosecond() != 0 {
			t.Errorf("%s has a fraction of a second", first)
		}
	}},
	{"a presigned URL is read without credentials", func(t *testing.T, b bucket.Bucket) {
		p, ok := b.(bucket.Presigner)
		if !ok {
			t.Skip("the bucket does not presign")
		}
		url, err := p.PresignGet(t.Context(), "p/a+b:c=d~e", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		data := content(300<<10, 1)
		put(t, b, "p/a+b:c=d~e", data, bucket.Condition{})
		status, body := fetch(t, url, "")
		if status != http.StatusOK || !bytes.Equal(body, data) {
			t.Errorf("GET: status %d, %s", status, brief(body))
		}
		status, body = fetch(t, url, "bytes=100-199")
		if status != http.StatusPartialContent || !bytes.Equal(body, data[100:200]) {
			t.Errorf("GET of a range: status %d, %s", status, brief(body))
		}
		status, _ = fetch(t, strings.Replace(url, "Signature=", "Signature=0", 1), "")
		if status != http.StatusForbidden {
			t.Errorf("GET with a wrong signature: status %d", status)
		}
		_, err = p.PresignGet(t.Context(), "p/a", 8*24*time.Hour)
		if err == nil {
			t.Error("8 days are allowed")
		}
	}},
}

// fetch reads a URL as anyone would.
func fetch(t *testing.T, url, byteRange string) (status int, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if byteRange != "" {
		req.Header.Set("Range", byteRange)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}
