package server

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// readyWithin is how long the bucket may take to answer a server that is ready.
const readyWithin = 3 * time.Second

// pages are what the metrics listener serves.
type pages struct {
	bucket   bucket.Bucket
	stopping atomic.Bool
}

func (p *pages) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", p.ready)
	return mux
}

// ready says whether to send requests here: not while the server stops, and not
// while it does not reach its bucket. That costs one small call to the bucket.
func (p *pages) ready(w http.ResponseWriter, r *http.Request) {
	if p.stopping.Load() {
		http.Error(w, "the server stops", http.StatusServiceUnavailable)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), readyWithin)
	defer cancel()
	if _, err := p.bucket.Clock(ctx); err != nil {
		http.Error(w, "the bucket does not answer: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}
