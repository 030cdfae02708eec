package registry

import (
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/laminastore/lamina/server/limit"
)

// A response is an http.ResponseWriter that gives up on a client which takes
// nothing for the idle time or does not keep the pace, and keeps count for the log. The time between two
// writes is not counted.
type response struct {
	http.ResponseWriter
	rc   *http.ResponseController
	idle time.Duration
	pace limit.Pace
	// armed is when the write deadline was last set.
	armed time.Time
	// strict is for HTTP/2, where a deadline that passes while nobody writes
	// ends the stream: it is taken away after each write.
	strict bool

	status int   // 200 until setStatus or WriteHeader
	begun  bool  // the header is on its way
	sent   int64 // bytes of body
	err    error // the first error of writing
}

func newResponse(rw http.ResponseWriter, r *http.Request, idle time.Duration, minRate int64) *response {
	return &response{ResponseWriter: rw, rc: http.NewResponseController(rw), idle: idle, pace: limit.Pace{Rate: minRate, Over: idle}, strict: r.ProtoMajor >= 2, status: http.StatusOK}
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
		w.ResponseWriter.WriteHeader(w.status)
	}
}

// arm moves the deadline, though not for every little write.
func (w *response) arm(now time.Time) {
	if w.strict || now.Sub(w.armed) > w.idle/8 {
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
		now := time.Now()
		w.arm(now)
		m, err = w.ResponseWriter.Write(p[:min(len(p), writeStep)])
		if !w.pace.Keeps(m, time.Since(now)) && err == nil {
			err = errClientSlow
		}
		n, p = n+m, p[m:]
	}
	if w.strict {
		_ = w.rc.SetWriteDeadline(time.Time{})
	}
	w.sent += int64(n)
	if w.err == nil {
		w.err = err
	}
	return n, err
}

// ReadFrom is what io.Copy does, with larger buffers that are used again.
func (w *response) ReadFrom(src io.Reader) (n int64, err error) {
	buf := buffers.Get().(*[writeStep]byte)
	defer buffers.Put(buf)
	for {
		m, rerr := src.Read(buf[:])
		if m > 0 {
			k, werr := w.Write(buf[:m])
			n += int64(k)
			if werr != nil {
				return n, werr
			}
		}
		if rerr == io.EOF {
			return n, nil
		}
		if rerr != nil {
			return n, rerr
		}
	}
}

var buffers = sync.Pool{New: func() any { return new([writeStep]byte) }}

// finish gives the server the full time for what it still has in its buffers;
// it takes the deadline away after that.
func (w *response) finish() { _ = w.rc.SetWriteDeadline(time.Now().Add(w.idle)) }
