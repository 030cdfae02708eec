package server

import (
	"net/http"
	"sync"
)

// A gate knows when the last handler behind it has returned, which http.Server
// does not tell once requests have to be broken off.
type gate struct {
	mu     sync.RWMutex // held for reading by every handler
	closed bool
}

func (g *gate) before(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.RLock()
		defer g.mu.RUnlock()
		if g.closed {
			http.Error(w, "the server stops", http.StatusServiceUnavailable)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// close waits for the handlers that run, and lets no other begin.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}
