package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// A fake is a server that answers what a test tells it to, one answer for each
// request, the last one again and again.
type fake struct {
	t       *testing.T
	mu      sync.Mutex
	answers []http.HandlerFunc
	bodies  []string // of the requests so far
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Errorf("the request's body: %v", err)
	}
	f.mu.Lock()
	f.bodies = append(f.bodies, string(body))
	answer := f.answers[min(len(f.bodies), len(f.answers))-1]
	f.mu.Unlock()
	answer(w, r)
}

func (f *fake) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.bodies)
}

// ask returns a bucket at a fake server, which makes short pauses.
func ask(t *testing.T, answers ...http.HandlerFunc) (*Bucket, *fake) {
	t.Helper()
	f := &fake{t: t, answers: answers}
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	b, err := connect(Options{
		Bucket: "images", Endpoint: srv.URL, Region: "us-east-1",
		Credentials: credentials.NewStaticV4("key", "secret", ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	b.retry = retry{tries: 3, first: time.Millisecond, limit: time.Millisecond, asked: time.Minute}
	return b, f
}

func status(code int, s3code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>says the server</Message></Error>", s3code)
	}
}

func ok(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("ETag", `"etag"`)
	w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
}

// hangUp closes the connection without an answer.
func hangUp(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

func putX(t *testing.T, b *Bucket, cond bucket.Condition) error {
	t.Helper()
	_, err := b.Put(t.Context(), "a", strings.NewReader("data"), 4, cond)
	return err
}

func TestACallIsMadeAgainWhenThatMayHelp(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"no answer": hangUp,
		"408":       status(408, "RequestTimeout"),
		"409":       status(409, "ConditionalRequestConflict"),
		"429":       status(429, "TooManyRequests"),
		"500":       status(500, "InternalError"),
		"502":       status(502, ""),
		"503":       status(503, "SlowDown"),
		"504":       status(504, ""),
		"corrupted": status(400, "BadDigest"),
	} {
		for _, cond := range []bucket.Condition{{}, {NotAfter: time.Now().Add(time.Hour)}} {
			b, f := ask(t, answer, answer, ok)
			if err := putX(t, b, cond); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if have := f.requests(); !slices.Equal(have, []string{"data", "data", "data"}) {
				t.Errorf("%s: sent %q", name, have)
			}
			b, f = ask(t, answer)
			if err := putX(t, b, cond); !errors.Is(err, bucket.ErrUnavailable) || !strings.Contains(err.Error(), "tried 3 times") {
				t.Errorf("%s for ever: %v", name, err)
			}
			if n := len(f.requests()); n != 3 {
				t.Errorf("%s for ever: %d requests", name, n)
			}
		}
	}
}

func TestACallIsMadeOnceWhenMoreDoesNotHelp(t *testing.T) {
	for _, tt := range []struct {
		status int
		code   string
		class  error
		says   string
	}{
		{412, "PreconditionFailed", bucket.ErrPrecondition, ""},
		{404, "NoSuchBucket", bucket.ErrUnavailable, "the bucket is gone"},
		{403, "AccessDenied", bucket.ErrUnavailable, "policy"},
		{403, "SignatureDoesNotMatch", bucket.ErrUnavailable, "AWS_SECRET_ACCESS_KEY"},
		{403, "InvalidAccessKeyId", bucket.ErrUnavailable, "AWS_ACCESS_KEY_ID"},
		{403, "RequestTimeTooSkewed", bucket.ErrUnavailable, "NTP"},
		{507, "XMinioStorageFull", bucket.ErrFull, ""},
		{507, "", bucket.ErrFull, ""},
		{400, "XMinioAdminBucketQuotaExceeded", bucket.ErrFull, ""},
		{403, "QuotaExceeded", bucket.ErrFull, ""},
		{501, "NotImplemented", bucket.ErrUnavailable, ""},
		{400, "InvalidArgument", bucket.ErrUnavailable, ""},
	} {
		for _, cond := range []bucket.Condition{{}, {NotAfter: time.Now().Add(time.Hour)}} {
			b, f := ask(t, status(tt.status, tt.code))
			err := putX(t, b, cond)
			if !errors.Is(err, tt.class) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%d %s: %v, want class %q, saying %q", tt.status, tt.code, err, tt.class, tt.says)
			}
			if n := len(f.requests()); n != 1 {
				t.Errorf("%d %s: %d requests", tt.status, tt.code, n)
			}
			if !strings.Contains(err.Error(), "put a in s3://images") {
				t.Errorf("the error does not say what failed: %v", err)
			}
		}
	}
}

func TestAnAbsentObjectIsAMismatch(t *testing.T) {
	for _, notAfter := range []time.Time{{}, time.Now().Add(time.Hour)} {
		b, _ := ask(t, status(404, "NoSuchKey"))
		err := putX(t, b, bucket.Condition{IfMatch: "etag", NotAfter: notAfter})
		if !errors.Is(err, bucket.ErrPrecondition) || errors.Is(err, bucket.ErrNotExist) {
			t.Errorf("put: %v", err)
		}
	}
}

func TestThePauseIsTheOneTheBucketAsksFor(t *testing.T) {
	b, _ := ask(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "1")
		status(503, "SlowDown")(w, r)
	}, ok)
	begin := time.Now()
	if err := putX(t, b, bucket.Condition{}); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begin); d < time.Second {
		t.Errorf("again after %s", d)
	}
}

func TestAPauseEndsWithTheContext(t *testing.T) {
	b, _ := ask(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "3600")
		status(503, "SlowDown")(w, r)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := b.Stat(ctx, "a")
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, bucket.ErrUnavailable) {
		t.Errorf("stat: %v", err)
	}
}

func TestTooLateAfterAnUnclearTryIsUnclear(t *testing.T) {
	notAfter := time.Now().Add(2 * time.Second)
	b, _ := ask(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Until(notAfter)) // a server as slow as that
		hangUp(w, r)
	})
	err := putX(t, b, bucket.Condition{NotAfter: notAfter})
	if !errors.Is(err, bucket.ErrUnavailable) || errors.Is(err, bucket.ErrTooLate) {
		t.Errorf("put: %v", err)
	}
}

func TestAnExpiredURLIsTooLate(t *testing.T) {
	answer := func(now time.Time) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
			status(403, "AccessDenied")(w, r)
		}
	}
	notAfter := time.Now().Add(time.Minute)
	b, _ := ask(t, answer(notAfter.Add(time.Second)))
	if err := putX(t, b, bucket.Condition{NotAfter: notAfter}); !errors.Is(err, bucket.ErrTooLate) {
		t.Errorf("refused after the deadline: %v", err)
	}
	b, _ = ask(t, answer(notAfter.Add(-10*time.Second)))
	if err := putX(t, b, bucket.Condition{NotAfter: notAfter}); errors.Is(err, bucket.ErrTooLate) || !errors.Is(err, bucket.ErrUnavailable) {
		t.Errorf("refused before the deadline: %v", err)
	}
}

func TestAnErrorHasNoSignature(t *testing.T) {
	b, _ := ask(t, hangUp)
	err := putX(t, b, bucket.Condition{NotAfter: time.Now().Add(time.Hour)})
	if err == nil || strings.Contains(err.Error(), "X-Amz") {
		t.Errorf("put: %v", err)
	}
}

func TestABodyThatIsCutShortIsAnError(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"with a length": func(w http.ResponseWriter, r *http.Request) {
			ok(w, r)
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, "short")
		},
		"from an offset, in chunks": func(w http.ResponseWriter, r *http.Request) {
			ok(w, r)
			w.Header().Set("Content-Range", "bytes 10-999/1000")
			w.WriteHeader(http.StatusPartialContent)
			w.(http.Flusher).Flush()
			fmt.Fprint(w, "short")
		},
	} {
		b, _ := ask(t, answer)
		off := int64(0)
		if name != "with a length" {
			off = 10
		}
		r, info, err := b.Get(t.Context(), "a", off, -1)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		data, err := io.ReadAll(r)
		if string(data) != "short" || !errors.Is(err, bucket.ErrUnavailable) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: read %q, %v", name, data, err)
		}
		if info.Size != 1000 {
			t.Errorf("%s: %+v", name, info)
		}
		_ = r.Close()
	}
}

func TestAServerThatIgnoresRangesIsNotBelieved(t *testing.T) {
	b, _ := ask(t, func(w http.ResponseWriter, r *http.Request) {
		ok(w, r)
		fmt.Fprint(w, "everything")
	})
	_, _, err := b.Get(t.Context(), "a", 5, 2)
	if !errors.Is(err, bucket.ErrUnavailable) {
		t.Errorf("get: %v", err)
	}
}

func TestDeleteNamesWhatItCouldNotDelete(t *testing.T) {
	b, f := ask(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `<DeleteResult><Deleted><Key>a</Key></Deleted>
			<Error><Key>b</Key><Code>AccessDenied</Code></Error>
			<Error><Key>c</Key><Code>InternalError</Code></Error></DeleteResult>`)
	}, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `<DeleteResult><Deleted><Key>c</Key></Deleted></DeleteResult>`)
	})
	err := b.Delete(t.Context(), "a", "b", "c")
	if !errors.Is(err, bucket.ErrUnavailable) || !strings.Contains(err.Error(), "delete b in") || strings.Contains(err.Error(), "delete c") {
		t.Errorf("delete: %v", err)
	}
	if have := f.requests(); len(have) != 2 || strings.Contains(have[1], "<Key>a<") || !strings.Contains(have[1], "<Key>c<") {
		t.Errorf("sent %q", have)
	}
}

func TestAListingGoesOnWhereItFailed(t *testing.T) {
	page := func(truncated bool, keys ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, "<ListBucketResult><IsTruncated>%v</IsTruncated><NextContinuationToken>next</NextContinuationToken>", truncated)
			for _, key := range keys {
				fmt.Fprintf(w, "<Contents><Key>%s</Key><ETag>x</ETag></Contents>", key)
			}
			fmt.Fprint(w, "</ListBucketResult>")
		}
	}
	var startAfter string
	b, _ := ask(t, page(true, "a", "b"), status(503, "SlowDown"), func(w http.ResponseWriter, r *http.Request) {
		startAfter = r.URL.Query().Get("start-after")
		page(false, "c")(w, r)
	})
	var have []string
	for info, err := range b.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		have = append(have, info.Key)
	}
	if !slices.Equal(have, []string{"a", "b", "c"}) || startAfter != "b" {
		t.Errorf("listed %q, again after %q", have, startAfter)
	}
}

func TestConnectRefuses(t *testing.T) {
	for want, opts := range map[string]Options{
		"endpoint":              {Bucket: "b", Endpoint: "s3.example.com"},
		"not of the form https": {Bucket: "b", Endpoint: "https://s3.example.com/path"},
		"prefix":                {Bucket: "b", Prefix: "a//b"},
		"prefix has 201 bytes":  {Bucket: "b", Prefix: strings.Repeat("p", 200)},
		"set AWS_ACCESS_KEY_ID": {Bucket: "b"},
		"s3://b":                {Bucket: "b"},
	} {
		if opts.Bucket == "b" && strings.Contains(want, "prefix") {
			opts.Credentials = credentials.NewStaticV4("key", "secret", "")
		}
		t.Run(want, func(t *testing.T) {
			for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY", "AWS_SECRET_KEY"} {
				t.Setenv(name, "")
			}
			t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
			_, err := Open(t.Context(), opts)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("open: %v", err)
			}
		})
	}
}
