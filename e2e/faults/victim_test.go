package faults

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/laminastore/lamina/internal/failpoint"
)

// A victim is a server that is killed and started again.
type victim struct {
	*process
	points []string      // steps at which to die
	lives  time.Duration // how long it lives at most that dies at random

	mu    sync.Mutex
	kills map[string]int // by step; "" at random moments

	errors tail // that it has logged, in all its lives
}

// newVictim is a server with these settings, of which the addresses are filled in.
func newVictim(t testing.TB, s settings) *victim {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s.HTTP, s.GRPC, s.Metrics = address(t), address(t), address(t)
	raw, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	v := &victim{
		process: &process{argv: []string{self}, env: []string{serverEnv + "=" + string(raw)}, http: s.HTTP, grpc: s.GRPC, metrics: s.Metrics},
		kills:   map[string]int{}, lives: 500 * time.Millisecond,
	}
	if !strings.HasPrefix(s.Bucket, "file:") {
		v.lives = time.Second // all takes longer there
	}
	for _, name := range failpoint.Names() {
		if strings.HasPrefix(s.Bucket, "file:") || !strings.HasPrefix(name, "file-") {
			v.points = append(v.points, name)
		}
	}
	t.Cleanup(func() {
		if v.current() == nil {
			return
		}
		v.kill()
		v.keepErrors(v.current())
		if t.Failed() {
			t.Logf("the server at %s logged these errors in all its lives:\n%s", v.grpc, &v.errors)
			t.Logf("the server at %s said:\n%s", v.grpc, v.current().said)
		}
	})
	return v
}

// revive starts the server so that nothing kills it.
func (v *victim) revive(t testing.TB) {
	t.Helper()
	v.begin(t)
	if err := v.ready(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// die starts the server and has it killed: at a step if it comes there, else a
// little later. It must not end in any other way.
func (v *victim) die(t testing.TB, point string) {
	var env []string
	most := rand.N(v.lives)
	if point != "" {
		// Steps of the bucket come often, and at the start already.
		n := 1 + rand.IntN(3)
		if strings.HasPrefix(point, "file-") {
			n = 1 + rand.IntN(150)
		}
		env = append(env, fmt.Sprintf("%s=%s:%d", failpoint.Env, point, n))
		most = 4 * v.lives
	}
	l := v.begin(t, env...)
	err := v.ready(t.Context())
	if err == nil {
		select {
		case <-l.ended:
		case <-time.After(most):
		}
	}
	alive := true
	select {
	case <-l.ended:
		alive = false
	default:
	}
	v.kill()
	v.keepErrors(l)
	said, at := l.said.String(), l.killedAt()
	if strings.Contains(said, "DATA RACE") || strings.Contains(said, "panic:") || strings.Contains(said, found) || !alive && at == "" || alive && err != nil {
		t.Errorf("the server did what it must not: %v, %v\n%s", l.cmd.ProcessState, err, said)
	}
	v.mu.Lock()
	v.kills[at]++
	v.mu.Unlock()
}

// keepErrors keeps what a life has logged that must not be.
func (v *victim) keepErrors(l *life) {
	for line := range strings.Lines(l.said.String()) {
		if strings.Contains(line, "level=ERROR") {
			_, _ = v.errors.Write([]byte(line))
		}
	}
}

// killed says how often it was killed, and where.
func (v *victim) killed() (total int, at string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var list []string
	for _, point := range slices.Sorted(maps.Keys(v.kills)) {
		total += v.kills[point]
		name := point
		if name == "" {
			name = "at random"
		}
		list = append(list, fmt.Sprintf("%s %d", name, v.kills[point]))
	}
	return total, strings.Join(list, ", ")
}

// rest is after how many kills a victim lives until its clients have got somewhere.
// A part of a blob that no life is long enough for would never arrive else.
const rest = 10

// haunt kills the i-th of several victims its share of n times: at each step in
// turn, each victim at another one, and as often at random.
func (v *victim) haunt(t testing.TB, w *crowd, i, of, n int) {
	for done := 2; 2*i < n && !t.Failed(); i += of {
		v.die(t, v.points[i%len(v.points)])
		v.die(t, "")
		if done += 2; done > rest {
			done = 0
			v.revive(t)
			w.goesOn(t, w.size)
			v.kill()
		}
	}
}
