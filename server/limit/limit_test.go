package limit

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// A clock is turned by hand.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func limiter(o Options) (*Limiter, *clock) {
	c := &clock{time.Unix(1_700_000_000, 0)}
	o.Now = c.Now
	return New(o), c
}

func enter(t *testing.T, l *Limiter, address string) *Request {
	t.Helper()
	r, err := l.Enter(address, false)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// tooMany fails the test unless err refuses, and returns when to come back.
func tooMany(t *testing.T, err error, says string) time.Duration {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, ErrTooMany) || e.What != says || e.After <= 0 {
		t.Fatalf("%v, want %q", err, says)
	}
	return e.After
}

func TestRequestsAtOnce(t *testing.T) {
	l, _ := limiter(Options{Requests: 3, RequestsPerCaller: 2})
	a1, _ := enter(t, l, "a"), enter(t, l, "a")
	_, err := l.Enter("a", false)
	tooMany(t, err, "2 at once from a")
	b := enter(t, l, "b")
	_, err = l.Enter("c", false)
	tooMany(t, err, "3 at once, from all callers")
	a1.Leave()
	a1.Leave() // counts once
	enter(t, l, "a")
	_, err = l.Enter("b", false)
	tooMany(t, err, "3 at once, from all callers")
	b.Leave()
	enter(t, l, "b")
}

func TestWhoHasLoggedInIsNotCountedForTheAddress(t *testing.T) {
	l, _ := limiter(Options{RequestsPerCaller: 2, UploadsPerCaller: 1})
	var alices []*Request
	for range 2 {
		r := enter(t, l, "office")
		if err := r.As("user:alice"); err != nil {
			t.Fatal(err)
		}
		alices = append(alices, r)
	}
	if err := alices[0].Upload(); err != nil {
		t.Fatal(err)
	}
	tooMany(t, alices[1].Upload(), "1 uploads at once from user:alice")

	third := enter(t, l, "office")
	tooMany(t, third.As("user:alice"), "2 at once from user:alice")
	bob := enter(t, l, "office")
	if err := errors.Join(bob.As("user:bob"), bob.Upload(), bob.Upload()); err != nil {
		t.Fatal(err)
	}
	third.Leave()
	alices[0].Leave()
	if err := alices[1].Upload(); err != nil {
		t.Error(err)
	}
}

func TestUploadsAtOnce(t *testing.T) {
	l, _ := limiter(Options{Uploads: 2})
	a, b, c := enter(t, l, "a"), enter(t, l, "b"), enter(t, l, "c")
	if err := errors.Join(a.Upload(), b.Upload()); err != nil {
		t.Fatal(err)
	}
	tooMany(t, c.Upload(), "2 uploads at once, from all callers")
	b.Leave()
	if err := c.Upload(); err != nil {
		t.Error(err)
	}
}

func TestRates(t *testing.T) {
	l, clock := limiter(Options{RatePerCaller: 4, Rate: 6})
	for range 4 {
		enter(t, l, "a").Leave()
	}
	_, err := l.Enter("a", false)
	if d := tooMany(t, err, "4 a second from a"); d != time.Second/4 {
		t.Errorf("in %s", d)
	}
	enter(t, l, "b").Leave()
	enter(t, l, "b").Leave()
	_, err = l.Enter("b", false)
	tooMany(t, err, "6 a second, from all callers")
	clock.now = clock.now.Add(time.Second / 4)
	enter(t, l, "a").Leave()
	_, err = l.Enter("a", false)
	if !errors.Is(err, ErrTooMany) {
		t.Error("a refusal was counted, or a quarter of a second gave two")
	}
	clock.now = clock.now.Add(time.Hour) // no more is saved up than for a second
	for range 4 {
		enter(t, l, "a").Leave()
	}
	if _, err = l.Enter("a", false); err == nil {
		t.Error("an hour's requests at once")
	}
	clock.now = clock.now.Add(-time.Hour)
	if _, err = l.Enter("a", false); err == nil {
		t.Error("a clock that goes back gives more")
	}
}

func TestWrongPasswordsCountAgainstTheAddress(t *testing.T) {
	l, clock := limiter(Options{Logins: 3})
	for range 3 {
		r, err := l.Enter("a", true)
		if err != nil {
			t.Fatal(err)
		}
		r.WrongPassword()
		r.Leave()
	}
	_, err := l.Enter("a", true)
	if d := tooMany(t, err, "3 wrong passwords a minute from a"); d != 20*time.Second {
		t.Errorf("in %s", d)
	}
	// Those without a password, and others, are none the worse for it.
	enter(t, l, "a").Leave()
	if r, err := l.Enter("b", true); err != nil {
		t.Error(err)
	} else {
		r.Leave()
	}
	clock.now = clock.now.Add(20 * time.Second)
	if _, err := l.Enter("a", true); err != nil {
		t.Error(err)
	}
}

// Whoever comes from a new address each time makes the table no larger, and a
// caller with a request under way stays known.
func TestTheTableIsBounded(t *testing.T) {
	l, _ := limiter(Options{Callers: 10, RequestsPerCaller: 1})
	enter(t, l, "a")
	for i := range 1000 {
		enter(t, l, fmt.Sprint(i)).Leave()
		if len(l.callers) > 10 || l.silent.Len() > 10 {
			t.Fatalf("%d callers, %d of them silent", len(l.callers), l.silent.Len())
		}
	}
	_, err := l.Enter("a", false)
	tooMany(t, err, "1 at once from a")
	// A refusal alone makes nobody known for ever.
	for i := range 1000 {
		r := enter(t, l, "b")
		_ = r.As(fmt.Sprint("user:", i))
		r.WrongPassword()
		r.Leave()
	}
	if len(l.callers) > 10 {
		t.Errorf("%d callers", len(l.callers))
	}
}

func TestNoLimits(t *testing.T) {
	var none *Limiter
	open, _ := limiter(Options{})
	for range 1000 {
		for _, l := range []*Limiter{none, open} {
			r, err := l.Enter("a", true)
			if err = errors.Join(err, r.As("b"), r.Upload()); err != nil {
				t.Fatal(err)
			}
			r.WrongPassword()
		}
	}
}

// After whatever comes, at once, nothing is left counted.
func TestEverythingIsGivenBack(t *testing.T) {
	l := New(Options{Requests: 20, RequestsPerCaller: 5, Uploads: 4, UploadsPerCaller: 2, Callers: 3})
	var all sync.WaitGroup
	for g := range 30 {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 1))
			for range 300 {
				r, err := l.Enter(fmt.Sprint("address", rnd.IntN(8)), false)
				if err != nil {
					continue
				}
				if rnd.IntN(2) == 0 {
					_ = r.As(fmt.Sprint("user", rnd.IntN(4)))
				}
				if rnd.IntN(2) == 0 {
					_ = r.Upload()
				}
				r.Leave()
			}
		})
	}
	all.Wait()
	if l.requests != 0 || l.uploads != 0 || len(l.callers) > 3 || l.silent.Len() != len(l.callers) {
		t.Errorf("%d requests, %d uploads, %d callers, %d silent", l.requests, l.uploads, len(l.callers), l.silent.Len())
	}
	for _, c := range l.callers {
		if c.requests != 0 || c.uploads != 0 {
			t.Errorf("%+v", c)
		}
	}
}

func TestAddress(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:4711":                         "192.0.2.7",
		"[::ffff:192.0.2.7]:1":                   "192.0.2.7",
		"[2001:db8:1:2:aaaa:bbbb:cccc:dddd]:443": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:80":                      "fe80::/64",
		"pipe":                                   "pipe",
		"":                                       "",
	} {
		if got := Address(remote); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
}

func FuzzAddress(f *testing.F) {
	f.Add("192.0.2.7:4711")
	f.Add("[fe80::1%eth0]:80")
	f.Fuzz(func(t *testing.T, remote string) {
		if got := Address(remote); len(got) > max(len(remote), 50) {
			t.Errorf("%q: %q", remote, got)
		}
	})
}

func TestPace(t *testing.T) {
	p := Pace{Rate: 100, Over: 10 * time.Second}
	if !p.Keeps(0, 9*time.Second) || !p.Keeps(1000, time.Second) {
		t.Error("the bytes of ten seconds came at the end of them, and were too few")
	}
	for range 9 {
		if !p.Keeps(1, time.Second) {
			t.Fatal("slow before the time is over")
		}
	}
	if p.Keeps(1, time.Second) {
		t.Error("10 bytes in 10 s are enough")
	}
	if p = (Pace{Over: time.Second}); !p.Keeps(0, time.Hour) {
		t.Error("no rate is asked for, and not kept")
	}
}
