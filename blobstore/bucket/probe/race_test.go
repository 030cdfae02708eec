package probe

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
)

// A hasty bucket looks whether a condition holds and then writes, with nothing
// in between to keep others from doing the same. Everything that comes alone
// goes right.
type hasty struct {
	*memory.Bucket
	deaf bucket.Condition // which of the two conditions it is hasty about

	mu     sync.Mutex
	looked int
	all    chan struct{} // closed when raceWriters have looked
}

func (h *hasty) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, cond bucket.Condition) (bucket.Info, error) {
	hastily := strings.Contains(key, "/race-") && (h.deaf.IfAbsent && cond.IfAbsent || h.deaf.IfMatch != "" && cond.IfMatch != "")
	if hastily {
		if info, err := h.Stat(ctx, key); cond.IfAbsent && err == nil || cond.IfMatch != "" && info.ETag != cond.IfMatch {
			return bucket.Info{}, bucket.ErrPrecondition
		}
		h.mu.Lock()
		if h.looked++; h.looked == raceWriters {
			close(h.all)
		}
		h.mu.Unlock()
		<-h.all
		cond = bucket.Condition{}
	}
	return h.Bucket.Put(ctx, key, r, size, cond)
}

func TestABucketThatLooksAndThenWritesIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		deaf bucket.Condition
		says string
	}{
		"creates":  {bucket.Condition{IfAbsent: true}, "If-None-Match on PUTs that come at once"},
		"replaces": {bucket.Condition{IfMatch: "any"}, "If-Match on PUTs that come at once"},
	} {
		t.Run(name, func(t *testing.T) {
			b := &hasty{Bucket: memory.New(memory.Options{}), deaf: tt.deaf, all: make(chan struct{})}
			_, err := Run(t.Context(), b, time.Now)
			wantUnfit(t, err, tt.says, "6 of 6 succeeded", "use a server")
			wantEmpty(t, b.Bucket)
		})
	}
}
