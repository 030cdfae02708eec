package faults

import (
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket/buckettest/servers"
)

// short are times in which a blob goes from pushed to deleted within seconds.
var short = times{
	Grace: 4 * time.Second, Drain: 2 * time.Second, Skew: 100 * time.Millisecond, PublishWithin: 15 * time.Second,
	LinkLease: 50 * time.Millisecond, RecordCache: 500 * time.Millisecond,
}

// kills is how often servers are killed on each bucket.
func kills(t *testing.T, usual int) int {
	if !soak {
		return usual
	}
	n := 1000
	if s := os.Getenv("LAMINA_KILLS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// Two servers of one bucket are killed again and again, at each step where it
// may matter and at any other moment, while clients push, delete and pull and
// what nothing names is collected.
func TestServersAreKilled(t *testing.T) {
	t.Run("file", func(t *testing.T) {
		s := settings{Bucket: "file://" + t.TempDir(), Times: short, PartSize: 256 << 10}
		killThem(t, s, kills(t, 32), layersOf(1, 700, 90_000, 90_001, 300_000, 1_500_000))
	})
	t.Run("MinIO", func(t *testing.T) {
		s := settings{Bucket: servers.MinIO(t), Times: short, PartSize: 5 << 20}
		killThem(t, s, kills(t, 4), layersOf(1, 700, 90_000, 90_001, 300_000, 11<<20))
	})
}

func killThem(t *testing.T, s settings, n int, of []layer) {
	victims := []*victim{newVictim(t, s), newVictim(t, s)}
	var addrs []string
	for _, v := range victims {
		v.revive(t)
		addrs = append(addrs, v.grpc)
	}
	l := newLedger(4, 4, of)
	w := l.start(t, true, 3, addrs...)
	w.goesOn(t, 10)
	var killers sync.WaitGroup
	for i, v := range victims {
		v.kill()
		killers.Go(func() { v.haunt(t, w, i, len(victims), n) })
	}
	killers.Wait()
	for _, v := range victims {
		total, at := v.killed()
		t.Logf("killed %d times: %s", total, at)
		v.revive(t)
	}
	w.goesOn(t, 10)
	w.end()
	t.Log(l)
	for _, v := range victims {
		l.check(t, dial(t, v.grpc))
	}
	for _, v := range victims {
		if err := v.stop(); err != nil {
			t.Error(err)
		}
	}
	settle(t, s, l)
	v := newVictim(t, s)
	v.revive(t)
	l.check(t, dial(t, v.grpc))
}
