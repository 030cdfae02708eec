package s3

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A reply is what we want to know of the last answer to a call and the S3
// library does not tell. The transport fills in the one in the context.
type reply struct {
	date       time.Time     // by the bucket's clock
	retryAfter time.Duration // before the next try, when the bucket asked for it
}

type replyKey struct{}

type transport struct{ *http.Transport }

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.Transport.RoundTrip(req)
	r, ok := req.Context().Value(replyKey{}).(*reply)
	if !ok || err != nil {
		return resp, err
	}
	*r = reply{}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		r.date = date.UTC()
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		r.retryAfter = time.Duration(s) * time.Second
	}
	return resp, nil
}

// stalled is how long what we have sent may go without an acknowledgement by
// the other end's kernel before the connection is given up.
const stalled = 30 * time.Second

// bodyStalled is how long the body of an answer may bring nothing while it is being
// read.
const bodyStalled = time.Minute

// newTransport returns a transport that keeps many connections to one host.
func newTransport() http.RoundTripper {
	dialer := &net.Dialer{
		Timeout:   5 * time.Second,
		KeepAlive: 15 * time.Second,
		Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) {
				// If it does not work, we wait longer.
				_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(stalled.Milliseconds()))
			})
		},
	}
	return transport{&http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: time.Minute,
		MaxIdleConns:          256,
		MaxIdleConnsPerHost:   256,
		IdleConnTimeout:       time.Minute,
		DisableCompression:    true, // blobs are what they are
		// So that a record goes out in one piece with its headers: a presigned
		// URL is checked when the headers arrive.
		WriteBufferSize: 128 << 10,
		ReadBufferSize:  32 << 10,
	}}
}

// listen returns a context for one try of a call, and where its reply will be.
func listen(ctx context.Context) (context.Context, *reply) {
	r := &reply{}
	return context.WithValue(ctx, replyKey{}, r), r
}
