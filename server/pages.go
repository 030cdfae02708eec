package server

import (
	"fmt"
	"net/http"
	"sync/atomic"
)

// pages are what the metrics listener serves.
type pages struct {
	ready    *readiness
	metrics  http.Handler
	stopping atomic.Bool
}

func (p *pages) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", p.readyz)
	mux.Handle("GET /metrics", p.metrics)
	return mux
}

// readyz says whether to send requests here: not while the server stops, and not
// while it does not reach its bucket.
func (p *pages) readyz(w http.ResponseWriter, r *http.Request) {
	if p.stopping.Load() {
		http.Error(w, "the server stops", http.StatusServiceUnavailable)
		return
	}
	if err := p.ready.ask(r.Context()); err != nil {
		http.Error(w, "the bucket does not answer: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}
