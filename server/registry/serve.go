package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/laminastore/lamina/server/telemetry"
)

// ServeHTTP answers one request and writes its line into the log.
func (h *handler) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	began := time.Now()
	w := newResponse(rw, r, h.opts.IdleTimeout, h.opts.MinRate)
	b := newBody(rw, r, h.opts.IdleTimeout, h.opts.MinRate)
	r.Body = b
	c := &call{Request: r, w: w, body: b, route: unrouted, open: h.opts.Access.Open()}
	id := telemetry.RequestID(r.Header.Get("X-Request-Id"))
	w.Header().Set("X-Request-Id", id)
	w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")

	var err error
	measured := func(telemetry.Answer) {}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
		status, cut := h.end(c, err)
		h.logLine(c, id, began, status, err)
		measured(telemetry.Answer{Status: status, Code: codeOf(status, err), Received: b.received, Sent: w.sent, Err: err})
		c.leave(status, err)
		if cut {
			// The client must not take what it has for the whole.
			panic(http.ErrAbortHandler)
		}
	}()
	err = c.resolve()
	c.Request, measured = h.opts.Telemetry.Request(c.Request, c.route.name, string(c.repo))
	if over := c.enter(h.opts.Limiter); over != nil {
		err = over
	}
	if err == nil {
		h.tellGRPC(c)
		err = h.admit(c)
	}
	if err == nil {
		err = c.admitted()
	}
	if err == nil {
		err = c.route.serve(h, c)
	}
}

// end answers with err if there is one, and returns the status for the log and
// whether the connection must be cut.
func (h *handler) end(c *call, err error) (status int, cut bool) {
	defer c.body.finish()
	defer c.w.finish()
	if err == nil {
		c.w.begin()
		return c.w.status, false
	}
	// The server ends the context whenever reading from the connection fails,
	// also by a deadline.
	gone := c.w.err != nil || errors.Is(err, errClientGone) || c.Context().Err() != nil && !errors.Is(err, errClientIdle) && !errors.Is(err, errClientSlow)
	if !c.w.begun {
		to := classify(err)
		if gone && !errors.Is(err, errClientGone) {
			to = classify(errClientGone)
		}
		writeError(c.w, c.Request, to, err)
		if gone {
			return statusClientGone, false
		}
		return c.w.status, false
	}
	if gone {
		return statusClientGone, true
	}
	return c.w.status, true
}

func (h *handler) logLine(c *call, id string, began time.Time, status int, err error) {
	level := slog.LevelInfo
	attrs := []slog.Attr{
		slog.String("method", c.Method),
		slog.String("route", c.route.name),
		slog.String("repository", string(c.repo)),
		slog.Int("status", status),
		slog.Int64("sent", c.w.sent),
		slog.Int64("received", c.body.received),
		slog.Duration("duration", time.Since(began)),
		slog.String("request_id", id),
		slog.String("remote", c.RemoteAddr),
		slog.String("caller", c.callerName()),
	}
	if c.arg != "" {
		attrs = append(attrs, slog.String("subject", clip(c.arg, 160)))
	}
	attrs = append(attrs, telemetry.LogAttrs(c.Context())...)
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
		if status >= 500 || c.w.begun && status < 400 {
			level = slog.LevelError
		}
	}
	h.log.LogAttrs(context.WithoutCancel(c.Context()), level, "request", attrs...)
}

// readError turns what reading the body failed with into what the client, if
// there is one, is told. Other errors are returned as they are.
func (c *call) readError(err error) error {
	if err == nil || c.body.err == nil {
		return err
	}
	got := itoa(c.body.received) + " bytes"
	if c.ContentLength >= 0 {
		got += " of " + itoa(c.ContentLength)
	}
	e := failure(errClientGone, c.Method+" "+clipQuote(c.URL.Path), "the body ended after "+got, "send it again")
	switch {
	case errors.Is(c.body.err, os.ErrDeadlineExceeded):
		c.w.Header().Set("Connection", "close")
		e.Class, e.Detail = errClientIdle, "nothing came for "+c.body.idle.String()+" after "+got
	case errors.Is(c.body.err, errClientSlow):
		c.w.Header().Set("Connection", "close")
		e.Class, e.Detail = errClientSlow, got+" came, in the end fewer than "+itoa(c.body.pace.Rate)+" a second"
	}
	if c.route.resource == resUpload {
		e.Remedy = "go on at the offset that the upload's status says"
	}
	return e
}

// writeJSON answers with v.
func (c *call) writeJSON(mediaType string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Length", itoa(int64(len(raw))))
	if c.Method == http.MethodHead {
		return nil
	}
	_, err = c.w.Write(raw)
	return err
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// clip shortens what a client sent to n bytes.
func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}

func clipQuote(s string) string { return strconv.Quote(clip(s, 300)) }
