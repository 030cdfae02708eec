package limit

import (
	"container/list"
	"fmt"
	"sync"
	"time"
)

// A Limiter is safe for concurrent use. A nil one refuses nothing.
type Limiter struct {
	o                Options
	all, each, login allowance

	mu       sync.Mutex
	requests int
	uploads  int
	rate     spent
	callers  map[string]*caller
	silent   *list.List // of *caller: those with nothing under way, the last heard of in front
}

// A caller is what is known of one.
type caller struct {
	name     string
	requests int
	uploads  int
	rate     spent
	logins   spent         // wrong ones
	silent   *list.Element // nil while requests are under way
}

// New returns a Limiter.
func New(o Options) *Limiter {
	o = o.withDefaults()
	return &Limiter{
		o: o, all: allowance{float64(o.Rate), time.Second}, each: allowance{float64(o.RatePerCaller), time.Second},
		login:   allowance{float64(o.Logins), time.Minute},
		callers: map[string]*caller{}, silent: list.New(),
	}
}

// A Request is one that is under way. It is for one goroutine, and nil is one
// that is not counted.
type Request struct {
	l       *Limiter
	address string
	by      *caller
	upload  bool
}

// Enter counts a request that comes from address (see [Address]); login says
// that it brings a password. The caller calls Leave at its end.
// Errors: an *Error; nothing is counted then.
func (l *Limiter) Enter(address string, login bool) (*Request, error) {
	if l == nil {
		return nil, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.o.Now()
	if l.o.Requests > 0 && l.requests >= l.o.Requests {
		return nil, &Error{fmt.Sprintf("%d at once, from all callers", l.o.Requests), soon}
	}
	if w := l.rate.wait(l.all, now); w > 0 {
		return nil, &Error{fmt.Sprintf("%d a second, from all callers", l.o.Rate), w}
	}
	c := l.known(address)
	if login {
		if w := c.logins.wait(l.login, now); w > 0 {
			l.rest(c)
			return nil, &Error{fmt.Sprintf("%d wrong passwords a minute from %s", l.o.Logins, address), w}
		}
	}
	if err := l.begin(c, now); err != nil {
		l.rest(c)
		return nil, err
	}
	l.requests++
	l.rate.add(l.all, now, 1)
	return &Request{l: l, address: address, by: c}, nil
}

// begin counts a request for c, which is to be rested if it fails.
func (l *Limiter) begin(c *caller, now time.Time) error {
	if l.o.RequestsPerCaller > 0 && c.requests >= l.o.RequestsPerCaller {
		return &Error{fmt.Sprintf("%d at once from %s", l.o.RequestsPerCaller, c.name), soon}
	}
	if w := c.rate.wait(l.each, now); w > 0 {
		return &Error{fmt.Sprintf("%d a second from %s", l.o.RatePerCaller, c.name), w}
	}
	c.requests++
	c.rate.add(l.each, now, 1)
	return nil
}

// As says who makes the request: it is counted for the subject from now on, and
// not for its address, which many may share. Errors: an *Error; the request is
// still counted for its address then, until Leave.
func (r *Request) As(subject string) error {
	if r == nil {
		return nil
	}
	l := r.l
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.o.Now()
	c := l.known(subject)
	if err := l.begin(c, now); err != nil {
		l.rest(c)
		return err
	}
	r.by.rate.add(l.each, now, -1)
	r.by.requests--
	l.rest(r.by)
	r.by = c
	return nil
}

// Upload counts the request among the uploads too. Errors: an *Error.
func (r *Request) Upload() error {
	if r == nil || r.upload {
		return nil
	}
	l := r.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.o.Uploads > 0 && l.uploads >= l.o.Uploads {
		return &Error{fmt.Sprintf("%d uploads at once, from all callers", l.o.Uploads), soon}
	}
	if l.o.UploadsPerCaller > 0 && r.by.uploads >= l.o.UploadsPerCaller {
		return &Error{fmt.Sprintf("%d uploads at once from %s", l.o.UploadsPerCaller, r.by.name), soon}
	}
	l.uploads++
	r.by.uploads++
	r.upload = true
	return nil
}

// WrongPassword counts one against the address that the request came from.
func (r *Request) WrongPassword() {
	if r == nil {
		return
	}
	l := r.l
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.known(r.address)
	c.logins.add(l.login, l.o.Now(), 1)
	l.rest(c)
}

// Leave ends the request. Calling it again does nothing.
func (r *Request) Leave() {
	if r == nil || r.by == nil {
		return
	}
	l := r.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.upload {
		l.uploads--
		r.by.uploads--
	}
	l.requests--
	r.by.requests--
	l.rest(r.by)
	r.by = nil
}

// known returns the caller of this name, and keeps it from being forgotten until
// rest. The lock is held.
func (l *Limiter) known(name string) *caller {
	c := l.callers[name]
	if c == nil {
		c = &caller{name: name}
		l.callers[name] = c
	}
	if c.silent != nil {
		l.silent.Remove(c.silent)
		c.silent = nil
	}
	return c
}

// rest lets c be forgotten, if none of its requests is under way, and forgets who
// has been silent longest when there are too many. The lock is held.
func (l *Limiter) rest(c *caller) {
	if c.requests == 0 && c.silent == nil {
		c.silent = l.silent.PushFront(c)
	}
	for len(l.callers) > l.o.Callers && l.silent.Len() > 0 {
		oldest := l.silent.Remove(l.silent.Back()).(*caller)
		delete(l.callers, oldest.name)
	}
}
