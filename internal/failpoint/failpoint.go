// Package failpoint kills the process at a chosen step, so that a test can see
// what a crash there leaves behind.
//
// Code declares its steps as variables and passes them as it goes:
//
//	var afterMkdir = failpoint.New("prepare-after-mkdir")
//	…
//	afterMkdir.Hit()
//
// With LAMINA_FAILPOINT=prepare-after-mkdir in the environment the process dies
// there by SIGKILL, as it would by the kernel's hand: nothing deferred runs, no
// buffer is written. LAMINA_FAILPOINT=prepare-after-mkdir:3 lets the step pass
// twice. In a process without the variable, a step costs one comparison.
//
// Names returns all steps that are compiled into the process, so that a test
// that goes through them cannot forget one that was added later.
package failpoint

import (
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Env is the variable that names the step at which to die.
const Env = "LAMINA_FAILPOINT"

// A Point is a step at which the process can be made to die. Declare it in a
// package variable, once for each name.
type Point struct {
	name string
	// armed says that this is the step that Env names; left counts down.
	armed bool
	left  atomic.Int64
}

// The registry is filled while packages are initialised, by one goroutine.
var points = map[string]*Point{}

// New registers a step. It panics when the name is taken: two steps of one
// name could not be told apart.
func New(name string) *Point {
	if _, taken := points[name]; taken {
		panic("failpoint: two steps are named " + name)
	}
	p := &Point{name: name}
	if want, n, err := parse(os.Getenv(Env)); err != nil {
		// A test that means to kill and does not would pass for no reason.
		panic(err)
	} else if want == name {
		p.armed = true
		p.left.Store(n)
	}
	points[name] = p
	return p
}

// Hit passes the step, or ends the process there. Safe for several goroutines.
func (p *Point) Hit() {
	if p.armed && p.left.Add(-1) == 0 {
		fmt.Fprintln(os.Stderr, "failpoint: killed at", p.name)
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
		select {} // the signal is on its way: go no further
	}
}

// Names lists every step of the packages in this process, sorted.
func Names() []string {
	names := make([]string, 0, len(points))
	for name := range points {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// parse reads NAME or NAME:N, where N counts from 1.
func parse(value string) (name string, n int64, err error) {
	name, count, found := strings.Cut(value, ":")
	if !found {
		return name, 1, nil
	}
	n, err = strconv.ParseInt(count, 10, 64)
	if err != nil || n < 1 {
		return "", 0, fmt.Errorf("failpoint: %s=%s: want NAME or NAME:N with N from 1", Env, value)
	}
	return name, n, nil
}
