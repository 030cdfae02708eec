package registry

import (
	"io"
	"net/http"
	"time"

	"github.com/laminastore/lamina/server/limit"
)

// A body is the body of a request. Reading fails with os.ErrDeadlineExceeded
// when the client sends nothing for the idle time, and with errClientSlow when
// it does not keep the pace; time in which nobody reads is not counted.
type body struct {
	src  io.ReadCloser
	rc   *http.ResponseController
	idle time.Duration
	pace limit.Pace
	// armed is when the read deadline was last set.
	armed time.Time
	// strict is for HTTP/2, where a deadline that passes while nobody reads
	// ends the stream: it is taken away after each read. In HTTP/1 one that has
	// passed is forgotten when a new one is set, or the body has been read.
	strict bool

	received int64
	err      error // of reading, other than io.EOF
	eof      bool
}

func newBody(rw http.ResponseWriter, r *http.Request, idle time.Duration, minRate int64) *body {
	return &body{src: r.Body, rc: http.NewResponseController(rw), idle: idle, pace: limit.Pace{Rate: minRate, Over: idle}, strict: r.ProtoMajor >= 2, eof: r.ContentLength == 0}
}

func (b *body) Read(p []byte) (int, error) {
	now := time.Now()
	if b.strict || now.Sub(b.armed) > b.idle/8 {
		b.armed = now
		_ = b.rc.SetReadDeadline(now.Add(b.idle)) // a recorder in a test has none
	}
	n, err := b.src.Read(p)
	b.received += int64(n)
	if !b.pace.Keeps(n, time.Since(now)) && err == nil {
		err = errClientSlow
	}
	switch {
	case err == io.EOF:
		b.eof = true
	case err != nil && b.err == nil:
		b.err = err
	}
	if b.strict {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

func (b *body) Close() error { return b.src.Close() }

// finish prepares for what the server does with a body that was not read: it
// takes a little of it, and that must not last.
func (b *body) finish() {
	if !b.eof && b.err == nil {
		_ = b.rc.SetReadDeadline(time.Now().Add(b.idle))
	}
}
