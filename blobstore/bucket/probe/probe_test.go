package probe

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/buckettest/servers"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/blobstore/bucket/open"
)

func wantEmpty(t *testing.T, b bucket.Bucket) {
	t.Helper()
	for info, err := range b.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		t.Errorf("left behind: %s", info.Key)
	}
}

func TestRealBucketsAreFit(t *testing.T) {
	for name, tt := range map[string]struct {
		url  func(testing.TB) string
		want Report
	}{
		"memory":    {func(testing.TB) string { return "memory:" }, Report{RefusesLateWrites: true, ConditionalDelete: true}},
		"file":      {func(t testing.TB) string { return "file://" + t.TempDir() }, Report{RefusesLateWrites: true, ConditionalDelete: true}},
		"MinIO":     {servers.MinIO, Report{RefusesLateWrites: true}},
		"versitygw": {servers.VersityGW, Report{RefusesLateWrites: true, ConditionalDelete: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := open.Bucket(t.Context(), tt.url(t))
			if err != nil {
				t.Fatal(err)
			}
			have, err := Run(t.Context(), b, time.Now)
			if err != nil {
				t.Fatal(err)
			}
			if have.Skew.Abs() > 2*time.Second {
				t.Errorf("one clock, and a skew of %s", have.Skew)
			}
			if have.Skew = 0; have != tt.want {
				t.Errorf("%+v, want %+v", have, tt.want)
			}
			wantEmpty(t, b)
		})
	}
}

func TestAClockThatIsOffIsRefused(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tt := range []struct {
		skew time.Duration
		fit  bool
	}{
		{0, true}, {4 * time.Minute, true}, {-4 * time.Minute, true},
		{6 * time.Minute, false}, {-6 * time.Minute, false}, {365 * 24 * time.Hour, false},
	} {
		b := memory.New(memory.Options{Now: func() time.Time { return now.Add(tt.skew) }})
		_, err := Run(t.Context(), b, func() time.Time { return now })
		if tt.fit && err != nil {
			t.Errorf("%s apart: %v", tt.skew, err)
		}
		if !tt.fit {
			wantUnfit(t, err, "clock", "2030-01-02T03:04:05Z", "5m0s", "NTP")
		}
		wantEmpty(t, b)
	}
}

func wantUnfit(t *testing.T, err error, says ...string) {
	t.Helper()
	if !errors.Is(err, ErrUnfit) {
		t.Errorf("want ErrUnfit, have %v", err)
		return
	}
	for _, s := range append(says, "memory:") {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("the error does not say %q: %v", s, err)
		}
	}
}
