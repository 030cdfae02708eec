package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/blobstore/bucket/probe"
)

// ignoring is a bucket that ignores the conditions of writes, as some S3
// servers do.
type ignoring struct{ *memory.Bucket }

func (i ignoring) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, _ bucket.Condition) (bucket.Info, error) {
	return i.Bucket.Put(ctx, key, r, size, bucket.Condition{})
}

type versioned struct{ *memory.Bucket }

func (v versioned) Features() bucket.Features {
	f := v.Bucket.Features()
	f.Versioned = true
	return f
}

func TestBucketsThatCannotBeReliedOnAreRefused(t *testing.T) {
	ahead := func(d time.Duration) bucket.Bucket {
		return memory.New(memory.Options{Now: func() time.Time { return time.Now().Add(d) }})
	}
	for name, c := range map[string]struct {
		bucket  bucket.Bucket
		refused bool
		says    string // in the error, or in the log
	}{
		"fit":                   {memory.New(memory.Options{}), false, "bucket is fit"},
		"ignores conditions":    {ignoring{memory.New(memory.Options{})}, true, "ignores"},
		"clock far ahead":       {ahead(6 * time.Minute), true, "NTP"},
		"clock far behind":      {ahead(-6 * time.Minute), true, "NTP"},
		"clock a bit ahead":     {ahead(time.Minute), false, "clocks"},
		"keeps what is gone":    {versioned{memory.New(memory.Options{})}, false, "versioning"},
		"clock quite all right": {ahead(2 * time.Second), false, "bucket is fit"},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			err := fit(t.Context(), c.bucket, Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if c.refused != errors.Is(err, probe.ErrUnfit) || !c.refused && err != nil {
				t.Fatalf("%v", err)
			}
			said := log.String()
			if err != nil {
				said = err.Error()
			}
			if !strings.Contains(said, c.says) {
				t.Errorf("%q does not say %q", said, c.says)
			}
		})
	}
}
