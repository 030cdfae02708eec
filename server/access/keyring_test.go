package access_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/server/access"
	"github.com/laminastore/lamina/server/access/accesstest"
)

func TestServersOfABucketHonourEachOthersTokens(t *testing.T) {
	w := newWorld(t)
	a, b := w.server(t), w.server(t)
	for _, c := range [][2]*access.Control{{a, b}, {b, a}, {a, a}} {
		caller, err := w.bearer(c[1], t, token(t, c[0], w.Writer, "repository:team/app:pull,push"))
		if err != nil {
			t.Fatal(err)
		}
		if caller.Subject() != "user:writer" || !caller.May(access.Push, app) || caller.May(access.Delete, app) {
			t.Errorf("it is %s", caller.Subject())
		}
	}
	// A server that is ahead by more than the leeway signs for one that is behind.
	tok := token(t, a, w.Reader, "repository:team/app:pull")
	w.clock.turn(-3 * time.Minute)
	if _, err := w.bearer(b, t, tok); err != nil {
		t.Errorf("a server whose clock is ahead: %v", err)
	}
	w.clock.turn(3 * time.Minute)
	// Another service over the same bucket is not meant.
	w.edit(t, "[users]", "[tokens]\nservice = \"other\"\n[users]")
	if _, err := w.bearer(w.Control, t, tok); !errors.Is(err, access.ErrCredentials) || !strings.Contains(err.Error(), "audience") {
		t.Errorf("another service: %v", err)
	}
}

func TestAKeyThatIsTakenBack(t *testing.T) {
	w := newWorld(t)
	gone := w.server(t)
	tok := token(t, gone, w.Owner, "repository:team/app:pull")
	if _, err := w.bearer(w.Control, t, tok); err != nil {
		t.Fatal(err)
	}
	if err := w.bucket.Delete(t.Context(), w.keyOf(t, tok)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.bearer(w.server(t), t, tok); !errors.Is(err, access.ErrCredentials) {
		t.Errorf("a server that did not know the key: %v", err)
	}
	w.clock.turn(5*time.Minute + time.Second)
	if _, err := w.bearer(w.Control, t, tok); !errors.Is(err, access.ErrCredentials) || !strings.Contains(err.Error(), "key") {
		t.Errorf("one that did, later: %v", err)
	}
}

func TestAKeyIsRenewedBeforeItEnds(t *testing.T) {
	w := newWorld(t)
	first := token(t, w.Control, w.Owner)
	if second := token(t, w.Control, w.Owner); w.keyOf(t, first) != w.keyOf(t, second) {
		t.Error("each token has a key of its own")
	}
	w.clock.turn(24*time.Hour - 4*time.Minute)
	second := token(t, w.Control, w.Owner)
	if w.keyOf(t, first) == w.keyOf(t, second) {
		t.Error("a token outlives its key")
	}
	for _, c := range []*access.Control{w.Control, w.server(t)} {
		if _, err := w.bearer(c, t, second); err != nil {
			t.Error(err)
		}
	}
}

func TestKeysOfServersThatAreGoneAreDeleted(t *testing.T) {
	w := newWorld(t)
	old := w.keyOf(t, token(t, w.server(t), w.Owner))
	w.clock.turn(73 * time.Hour)
	c := accesstest.Open(t, w.File, access.Options{Bucket: w.bucket, Now: w.clock.Now})
	young := w.keyOf(t, token(t, c, w.Owner))
	if err := c.Close(t.Context()); err != nil { // waits for what is in the background
		t.Fatal(err)
	}
	if _, err := w.bucket.Stat(t.Context(), old); !errors.Is(err, bucket.ErrNotExist) {
		t.Errorf("the old key: %v", err)
	}
	if _, err := w.bucket.Stat(t.Context(), young); err != nil {
		t.Errorf("the new key: %v", err)
	}
}

func TestUnknownKeysCostTheBucketLittle(t *testing.T) {
	w := newWorld(t)
	good := token(t, w.server(t), w.Owner)
	count := w.countBucket()
	parts := strings.Split(good, ".")
	unknown := func(id string) string {
		return encode(t, map[string]any{"alg": "ES256", "kid": id}) + "." + parts[1] + "." + parts[2]
	}
	for range 20 {
		if _, err := w.bearer(w.Control, t, unknown("01ARZ3NDEKTSV4RRFFQ69G5FAV")); !errors.Is(err, access.ErrCredentials) {
			t.Fatal(err)
		}
	}
	if n := count(); n["get"] != 1 {
		t.Errorf("one id: %v", n)
	}
	w.clock.turn(time.Second)
	if _, err := w.bearer(w.Control, t, unknown("01ARZ3NDEKTSV4RRFFQ69G5FAV")); !errors.Is(err, access.ErrCredentials) {
		t.Error(err)
	}
	if n := count(); n["get"] != 1 {
		t.Errorf("one id, a second later: %v", n)
	}
	w.clock.turn(time.Second)
	var last error
	for i := range 200 {
		id := "01ARZ3NDEKTSV4RRFFQ69G" + string([]byte{'0' + byte(i/100), '0' + byte(i/10%10), '0' + byte(i%10), '0'})
		_, last = w.bearer(w.Control, t, unknown(id))
	}
	if n := count(); n["get"] > 50 || !errors.Is(last, access.ErrUnavailable) {
		t.Errorf("200 ids within a second: %v, %v", n, last)
	}
	// The key that is known goes on to be.
	w.clock.turn(time.Second)
	for range 20 {
		if _, err := w.bearer(w.Control, t, good); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(); n["get"] != 1 {
		t.Errorf("a key that is there: %v", n)
	}
}

func TestABucketThatIsAway(t *testing.T) {
	w := newWorld(t)
	good := token(t, w.server(t), w.Owner)
	w.breakBucket()
	if _, err := w.bearer(w.Control, t, good); !errors.Is(err, access.ErrUnavailable) {
		t.Errorf("a token: %v", err)
	}
	if a := get(t, w.Control, w.Owner); a.status != 503 || a.header.Get("Retry-After") == "" || strings.Contains(a.body, "keys/") {
		t.Errorf("a request for one: %d %s", a.status, a.body)
	}
	w.bucket.Set(nil)
	if _, err := w.bearer(w.Control, t, good); err != nil {
		t.Error(err)
	}
}
