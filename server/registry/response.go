package registry

import (
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// A response is an http.ResponseWriter that gives up on a client which takes
// nothing for the idle time, and keeps count for the log.
type response struct {
	http.ResponseWriter
	rc   *http.ResponseController
	idle time.Duration
	// armed is when the write deadline was last set.
	armed time.Time

	status int   // 200 until setStatus or WriteHeader
	begun  bool  // the header is on its way
	sent   int64 // bytes of body
	err    error // the first error of writing
}

func newResponse(rw http.ResponseWriter, idle time.Duration) *response {
	return &response{ResponseWriter: rw, rc: http.NewResponseController(rw), idle: idle, status: http.StatusOK}
}

// setStatus says with which status the answer will begin. Unlike WriteHeader it
// can be taken back, by an error that comes before the first byte.
func (w *response) setStatus(status int) { w.status = status }

func (w *response) WriteHeader(status int) {
	if !w.begun {
		w.status = status
		w.begin()
	}
}

// begin sends the header off if that has not been done.
func (w *response) begin() {
	if !w.begun {
		w.begun = true
		w.arm()
		w.ResponseWriter.WriteHeader(w.status)
	}
}

// arm moves the deadline, though not for every little write.
func (w *response) arm() {
	if now := time.Now(); now.Sub(w.armed) > w.idle/8 {
		w.armed = now
		_ = w.rc.SetWriteDeadline(now.Add(w.idle)) // a recorder in a test has none
	}
}

// writeStep is how much is written under one deadline: a client must take that
// much in the idle time.
const writeStep = 256 << 10

func (w *response) Write(p []byte) (n int, err error) {
	w.begin()
	for len(p) > 0 && err == nil {
		var m int
		w.arm()
		m, err = w.ResponseWriter.Write(p[:min(len(p), writeStep)])
		n, p = n+m, p[m:]
	}
	w.note(int64(n), err)
	return n, err
}

// ReadFrom lets the kernel copy from a file to the connection where both are
// what they seem.
func (w *response) ReadFrom(src io.Reader) (n int64, err error) {
	w.begin()
	left := int64(1<<63 - 1)
	limited, ok := src.(*io.LimitedReader)
	if ok {
		src, left = limited.R, limited.N
	}
	for left > 0 && err == nil {
		var m int64
		step := min(left, writeStep)
		w.arm()
		m, err = io.Copy(w.ResponseWriter, &io.LimitedReader{R: src, N: step})
		n, left = n+m, left-m
		if m < step {
			break
		}
	}
	if ok {
		limited.N = left
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op != "read" && op.Op != "dial" {
		w.note(n, err)
	} else { // of reading from the bucket
		w.note(n, nil)
	}
	return n, err
}

func (w *response) note(n int64, err error) {
	w.sent += n
	if w.err == nil {
		w.err = err
	}
}

// finish gives the server the full time for what it still has in its buffers;
// it takes the deadline away after that.
func (w *response) finish() { _ = w.rc.SetWriteDeadline(time.Now().Add(w.idle)) }
