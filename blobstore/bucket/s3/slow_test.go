package s3

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/buckettest/servers"
)

// slowMinIO returns a bucket on MinIO behind a throttle, which makes short
// pauses: what the throttle asks for, a minute, is not what it gets.
func slowMinIO(t *testing.T) (bucket.Bucket, *servers.Throttle) {
	t.Helper()
	th := servers.Throttled(t, servers.MinIO(t))
	b, err := Open(t.Context(), Options{
		Bucket: th.Bucket(), Endpoint: th.Endpoint(), Region: "us-east-1", Create: true, Pause: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	return b, th
}

// everyOperation makes each call that there is, in an order in which all succeed.
func everyOperation(ctx context.Context, b bucket.Bucket, each func(op string, err error)) {
	_, err := b.Put(ctx, "a", strings.NewReader("data"), 4, bucket.Condition{})
	each("put", err)
	_, err = b.Put(ctx, "b", strings.NewReader("data"), 4, bucket.Condition{IfAbsent: true})
	each("put if absent", err)
	_, err = b.Put(ctx, "c", strings.NewReader("data"), 4, bucket.Condition{IfAbsent: true, NotAfter: farOff()})
	each("put in time", err)
	each("get", drain(b.Get(ctx, "a", 0, -1)))
	each("get a range", drain(b.Get(ctx, "b", 1, 2)))
	_, err = b.Stat(ctx, "a")
	each("stat", err)
	err = nil
	for _, lerr := range b.List(ctx, "", "") {
		err = errors.Join(err, lerr)
	}
	each("list", err)
	_, err = b.Clock(ctx)
	each("clock", err)
	id, err := b.CreateMultipart(ctx, "m")
	each("create upload", err)
	if err != nil {
		id = "none"
	}
	part, err := b.PutPart(ctx, "m", id, 1, strings.NewReader("data"), 4)
	each("put part", err)
	_, err = b.CompleteMultipart(ctx, "m", id, []bucket.Part{part}, bucket.Condition{IfAbsent: true})
	each("complete upload", err)
	each("abort upload", b.AbortMultipart(ctx, "n", "none"))
	each("delete", b.Delete(ctx, "a", "b"))
	if d, ok := b.(bucket.ConditionalDeleter); ok {
		each("delete if", d.DeleteIf(ctx, "c", "0"))
	}
}

func TestABriefSlowDownIsNotNoticed(t *testing.T) {
	t.Parallel()
	b, th := slowMinIO(t)
	th.RefuseFirst(2)
	everyOperation(t.Context(), b, func(op string, err error) {
		if err != nil && !errors.Is(err, bucket.ErrPrecondition) {
			t.Errorf("%s: %v", op, err)
		}
	})
	if n := th.Refused(); n < 10 {
		t.Errorf("only %d calls were refused", n)
	}
}

func TestABucketThatStaysBusy(t *testing.T) {
	t.Parallel()
	b, th := slowMinIO(t)
	th.RefuseAll()
	before := 0
	everyOperation(t.Context(), b, func(op string, err error) {
		if !errors.Is(err, bucket.ErrBusy) || !errors.Is(err, bucket.ErrUnavailable) {
			t.Errorf("%s: %v", op, err)
		}
		// Each was made again and again first.
		if n := th.Refused(); n-before != maxTries {
			t.Errorf("%s: %d calls", op, n-before)
		}
		before = th.Refused()
	})
}

// Servers have several ways to ask for fewer requests.
func TestWhatIsBusy(t *testing.T) {
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		busy   bool
	}{
		"SlowDown":           {status(503, "SlowDown"), true},
		"429":                {status(429, "TooManyRequests"), true},
		"429 of a proxy":     {status(429, ""), true},
		"503 of a proxy":     {status(503, ""), true},
		"RequestTimeout":     {status(400, "RequestTimeout"), true},
		"ThrottlingError":    {status(400, "ThrottlingException"), true},
		"InternalError":      {status(500, "InternalError"), false},
		"a server beginning": {status(503, "XMinioServerNotInitialized"), false},
		"a proxy alone":      {status(502, ""), false},
		"no answer":          {hangUp, false},
	} {
		b, f := ask(t, tt.answer)
		err := putX(t, b, bucket.Condition{})
		if !errors.Is(err, bucket.ErrUnavailable) || errors.Is(err, bucket.ErrBusy) != tt.busy {
			t.Errorf("%s: %v", name, err)
		}
		if n := len(f.requests()); n != 3 {
			t.Errorf("%s: %d requests", name, n)
		}
	}
}
