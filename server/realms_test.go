package server

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/buckettest/servers"
	"github.com/laminastore/lamina/blobstore/bucket/count"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/blobstore/bucket/open"
	"github.com/laminastore/lamina/blobstore/realm"
	"github.com/laminastore/lamina/blobstore/record"
)

func mapOf(t *testing.T, texts ...string) realm.Map {
	t.Helper()
	m, err := realm.Parse(texts...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// agree is a server's start, as far as the realms go, and what it logs.
func agree(t *testing.T, b bucket.Bucket, change bool, realms ...string) (string, error) {
	t.Helper()
	var log bytes.Buffer
	err := agreeOnRealms(t.Context(), b, Config{
		Realms: mapOf(t, realms...), ChangeRealms: change, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	return log.String(), err
}

// onRecord is the map that the bucket's record has.
func onRecord(t *testing.T, b bucket.Bucket) string {
	t.Helper()
	r, _, err := record.Read[realmsRecord](t.Context(), record.New(b), realmsKey)
	if err != nil {
		t.Fatal(err)
	}
	m, err := r.realms()
	if err != nil || r.ChangedAt.IsZero() {
		t.Errorf("%+v: %v", r, err)
	}
	return m.String()
}

func TestTheFirstServerSaysWhichRealmsThereAre(t *testing.T) {
	for _, first := range []string{"", "a=team/a,x b=team/b"} {
		b := count.New(memory.New(memory.Options{}))
		if _, err := agree(t, b, false, first); err != nil {
			t.Fatal(err)
		}
		if got := onRecord(t, b); got != first {
			t.Errorf("on record %q, want %q", got, first)
		}
		// Another that says the same in other words may run, and asks once.
		b.Reset()
		if _, err := agree(t, b, false, strings.Fields("default=y/z "+strings.ReplaceAll(first, "a,x", "a,x,x/y/z"))...); err != nil {
			t.Error(err)
		}
		if n := b.Snapshot(); n.Total() != 1 || n.Get != 1 {
			t.Errorf("%s\n%s", n, b.Log())
		}
	}
}

func TestServerWithOtherRealmsIsRefused(t *testing.T) {
	for _, c := range []struct{ first, second string }{
		{"", "a=x"}, {"a=x", ""}, {"a=x", "a=x,y"}, {"a=x", "b=x"}, {"a=x b=x/y", "a=x"},
	} {
		b := memory.New(memory.Options{})
		if _, err := agree(t, b, false, c.first); err != nil {
			t.Fatal(err)
		}
		_, err := agree(t, b, false, c.second)
		if !errors.Is(err, ErrRealms) {
			t.Fatalf("%q after %q: %v", c.second, c.first, err)
		}
		for _, says := range []string{
			"this one has " + shown(mapOf(t, c.second)) + ",", "bucket " + b.String() + " has " + shown(mapOf(t, c.first)) + ";", "--change-realms",
		} {
			if !strings.Contains(err.Error(), says) {
				t.Errorf("%q does not say %q", err, says)
			}
		}
		if got := onRecord(t, b); got != c.first {
			t.Errorf("on record %q, want %q", got, c.first)
		}
	}
}

func TestRealmsAreShownAsTheyAreGiven(t *testing.T) {
	if got := shown(mapOf(t, "b=y a=x,z")); got != "--realm a=x,z --realm b=y" {
		t.Error(got)
	}
	var many []string
	for i := range 2000 {
		many = append(many, fmt.Sprintf("team-%d", i))
	}
	if got := shown(mapOf(t, "a="+strings.Join(many, ","))); len(got) > maxShownRealms+20 || !strings.HasSuffix(got, "…") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}

func TestRealmsAreChanged(t *testing.T) {
	b := memory.New(memory.Options{})
	if _, err := agree(t, b, false, "a=x"); err != nil {
		t.Fatal(err)
	}
	log, err := agree(t, b, true, "b=y")
	if err != nil || onRecord(t, b) != "b=y" {
		t.Fatalf("on record %q, %v", onRecord(t, b), err)
	}
	for _, says := range []string{"WARN", "start all its other servers again", "--realm a=x", "--realm b=y"} {
		if !strings.Contains(log, says) {
			t.Errorf("%s does not say %q", log, says)
		}
	}
	if _, err := agree(t, b, false, "b=y"); err != nil {
		t.Errorf("another that is started again: %v", err)
	}
	if _, err := agree(t, b, false, "a=x"); !errors.Is(err, ErrRealms) {
		t.Errorf("another with the old ones: %v", err)
	}
	if log, err := agree(t, b, true, "b=y"); err != nil || !strings.Contains(log, "take it out of the settings") {
		t.Errorf("the switch left in the settings: %s, %v", log, err)
	}
}

func TestServersAgreeOnEachKindOfBucket(t *testing.T) {
	for name, url := range map[string]string{
		"file": "file://" + t.TempDir(), "minio": servers.MinIO(t), "versitygw": servers.VersityGW(t),
	} {
		t.Run(name, func(t *testing.T) {
			b, err := open.Bucket(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range []struct {
				realms  string
				change  bool
				refused bool
			}{
				{"", false, false}, {"", false, false}, {"a=x", false, true}, {"a=x", true, false}, {"a=x", false, false}, {"", false, true},
			} {
				if _, err := agree(t, b, c.change, c.realms); errors.Is(err, ErrRealms) != c.refused || !c.refused && err != nil {
					t.Errorf("a server with %q: %v", c.realms, err)
				}
			}
			if got := onRecord(t, b); got != "a=x" {
				t.Errorf("on record %q", got)
			}
		})
	}
}

// What a server that goes on with the old realms says.
func TestServerNoticesThatTheRealmsAreOthers(t *testing.T) {
	b := memory.New(memory.Options{})
	var log bytes.Buffer
	look := func(mine string) string {
		log.Reset()
		lookAtRealms(t.Context(), b, mapOf(t, mine), slog.New(slog.NewTextHandler(&log, nil)))
		return log.String()
	}
	if got := look("a=x"); got != "" {
		t.Errorf("without a record: %s", got)
	}
	for _, realms := range []string{"a=x", "b=y"} {
		if _, err := agree(t, b, true, realms); err != nil {
			t.Fatal(err)
		}
	}
	if got := look("b=y"); got != "" {
		t.Errorf("the same realms: %s", got)
	}
	got := look("a=x")
	for _, says := range []string{"ERROR", "start this one again", "--realm a=x", "--realm b=y"} {
		if !strings.Contains(got, says) {
			t.Errorf("%q does not say %q", got, says)
		}
	}
}

// Of servers that start at once with different realms one set wins, and all that
// run have it.
func TestServersThatStartAtOnceAgree(t *testing.T) {
	for range 20 {
		b := memory.New(memory.Options{})
		var all sync.WaitGroup
		errs := make([]error, 9)
		for i := range errs {
			all.Go(func() {
				_, errs[i] = agree(t, b, false, fmt.Sprintf("r%d=x", i%3))
			})
		}
		all.Wait()
		won := onRecord(t, b)
		for i, err := range errs {
			if mine := fmt.Sprintf("r%d=x", i%3); (mine == won) != (err == nil) || err != nil && !errors.Is(err, ErrRealms) {
				t.Errorf("%s, when %s has won: %v", mine, won, err)
			}
		}
	}
}

func TestRecordOfRealmsThatCannotBeRead(t *testing.T) {
	for raw, mends := range map[string]bool{
		"nonsense":      false,
		`{"rev":"r"`:    false,
		`{"realms":[]}`: false,
		`{"rev":"r","realms":[{"name":"A","prefixes":["x"]}]}`:                               true,
		`{"rev":"r","realms":[{"name":"a","prefixes":["x"]},{"name":"b","prefixes":["x"]}]}`: true,
	} {
		b := memory.New(memory.Options{})
		if _, err := b.Put(t.Context(), realmsKey, strings.NewReader(raw), int64(len(raw)), bucket.Condition{}); err != nil {
			t.Fatal(err)
		}
		_, err := agree(t, b, false, "a=x")
		if !errors.Is(err, record.ErrInvalid) || !strings.Contains(err.Error(), realmsKey) || !strings.Contains(err.Error(), "delete that object") {
			t.Errorf("%s: %v", raw, err)
		}
		if _, err := agree(t, b, true, "a=x"); mends != (err == nil) || err != nil && !errors.Is(err, record.ErrInvalid) {
			t.Errorf("%s: with a change of realms: %v", raw, err)
		}
	}
}

func FuzzRealmsRecord(f *testing.F) {
	f.Add([]byte(`{"rev":"r","realms":[{"name":"a","prefixes":["x"]}],"changedAt":"2026-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"rev":"r","realms":null}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b := memory.New(memory.Options{})
		if _, err := b.Put(t.Context(), realmsKey, bytes.NewReader(raw), int64(len(raw)), bucket.Condition{}); err != nil {
			t.Fatal(err)
		}
		err := agreeOnRealms(t.Context(), b, Config{Realms: mapOf(t, "a=x"), Logger: slog.New(slog.DiscardHandler)})
		if err != nil && !errors.Is(err, ErrRealms) && !errors.Is(err, record.ErrInvalid) {
			t.Fatal(err)
		}
	})
}
