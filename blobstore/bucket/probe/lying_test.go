package probe

import (
	"context"
	"io"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
)

// A liar is a bucket that does not do one of the things it says it does.
type liar struct {
	*memory.Bucket
	put      func(*bucket.Condition)
	complete func(*bucket.Condition)
	deleteIf func(b *memory.Bucket, key string, etag bucket.ETag) error
	list     func([]bucket.Info)
}

func (l *liar) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, cond bucket.Condition) (bucket.Info, error) {
	if l.put != nil {
		l.put(&cond)
	}
	return l.Bucket.Put(ctx, key, r, size, cond)
}

func (l *liar) CompleteMultipart(ctx context.Context, key, id string, parts []bucket.Part, cond bucket.Condition) (bucket.Info, error) {
	if l.complete != nil {
		l.complete(&cond)
	}
	return l.Bucket.CompleteMultipart(ctx, key, id, parts, cond)
}

func (l *liar) DeleteIf(ctx context.Context, key string, etag bucket.ETag) error {
	if l.deleteIf != nil {
		return l.deleteIf(l.Bucket, key, etag)
	}
	return l.Bucket.DeleteIf(ctx, key, etag)
}

func (l *liar) List(ctx context.Context, prefix, startAfter string) iter.Seq2[bucket.Info, error] {
	return func(yield func(bucket.Info, error) bool) {
		var all []bucket.Info
		for info := range l.Bucket.List(ctx, prefix, startAfter) {
			all = append(all, info)
		}
		if l.list != nil {
			l.list(all)
		}
		for _, info := range all {
			if !yield(info, nil) {
				return
			}
		}
	}
}

func TestABucketThatLiesIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		liar liar
		says []string
	}{
		"creates twice": {
			liar{put: func(c *bucket.Condition) { c.IfAbsent = false }},
			[]string{"ignores If-None-Match on PUT", "use a server"},
		},
		"replaces any version": {
			liar{put: func(c *bucket.Condition) { c.IfMatch = "" }},
			[]string{"ignores If-Match on PUT", "use a server"},
		},
		"completes over an object": {
			liar{complete: func(c *bucket.Condition) { c.IfAbsent = false }},
			[]string{"ignores If-None-Match on the completion of a multipart upload", "use a server"},
		},
		"completes over any version": {
			liar{complete: func(c *bucket.Condition) { c.IfMatch = "" }},
			[]string{"ignores If-Match on the completion of a multipart upload", "use a server"},
		},
		"writes late": {
			liar{put: func(c *bucket.Condition) { c.NotAfter = time.Time{} }},
			[]string{"ignores the time after which a write must not take effect", "use a server"},
		},
		"deletes any version": {
			liar{deleteIf: func(b *memory.Bucket, key string, _ bucket.ETag) error {
				return b.Delete(context.Background(), key)
			}},
			[]string{"ignores If-Match on DELETE", "use a server"},
		},
		"deletes what it refuses to delete": {
			liar{deleteIf: func(b *memory.Bucket, key string, etag bucket.ETag) error {
				defer func() { _ = b.Delete(context.Background(), key) }()
				return b.DeleteIf(context.Background(), key, etag)
			}},
			[]string{"refused to delete an object, and deleted it"},
		},
		"lists in no order": {
			liar{list: func(all []bucket.Info) { slices.Reverse(all) }},
			[]string{"listing", "order of their bytes"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tt.liar.Bucket = memory.New(memory.Options{})
			_, err := Run(t.Context(), &tt.liar, time.Now)
			wantUnfit(t, err, tt.says...)
			wantEmpty(t, tt.liar.Bucket)
		})
	}
}

// A lateLiar has a server that accepts URLs that have expired.
type lateLiar struct{ *memory.Bucket }

func (l lateLiar) PrepareLate(_ context.Context, key string, data []byte, _ time.Time) (func(context.Context) error, error) {
	return func(context.Context) error { return nil }, nil
}

func TestAServerThatAcceptsExpiredURLsIsRefused(t *testing.T) {
	b := lateLiar{memory.New(memory.Options{})}
	_, err := Run(t.Context(), b, time.Now)
	wantUnfit(t, err, "expiry of a presigned URL", "use a server")
}

func TestNobodyWaitsForAClockThatIsFarBehind(t *testing.T) {
	b := lateLiar{memory.New(memory.Options{Now: func() time.Time { return time.Now().Add(-time.Minute) }})}
	have, err := Run(t.Context(), b, time.Now)
	if err != nil || have.RefusesLateWrites {
		t.Errorf("%+v, %v", have, err)
	}
}
