package clients

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// A stall is a way to a registry on which, after a number of bytes, nothing
// comes through any more: where a client then is, it can be killed.
type stall struct {
	registry
	to      string
	left    atomic.Int64  // bytes that still come through; may be negative
	upload  bool          // which way is counted: to the registry, or from it
	reached chan struct{} // closed when nothing comes through
	once    sync.Once
	mended  chan struct{} // closed by mend

	mu    sync.Mutex
	conns []net.Conn
	open  bool // nothing is counted any more
}

// stallAfter opens a way to r on which n bytes come through.
func stallAfter(t *testing.T, r *registry, n int64, upload bool) *stall {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stall{registry: registry{at: l.Addr().String()}, to: r.at, upload: upload,
		reached: make(chan struct{}), mended: make(chan struct{})}
	s.left.Store(n)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { s.carry(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.mend()
		running.Wait()
	})
	return s
}

// mend cuts the connections that there are. On new ones all comes through.
func (s *stall) mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open {
		s.open = true
		close(s.mended)
	}
	for _, c := range s.conns {
		c.Close()
	}
	s.conns = nil
}

// carry carries bytes both ways until one side ends.
func (s *stall) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", s.to)
	if err != nil {
		return
	}
	defer server.Close()
	s.mu.Lock()
	counted := !s.open
	s.conns = append(s.conns, client, server)
	s.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { s.copy(server, client, counted && s.upload) })
	both.Go(func() { s.copy(client, server, counted && !s.upload) })
	both.Wait()
}

func (s *stall) copy(to, from net.Conn, counted bool) {
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if counted && s.left.Add(int64(-n)) < 0 {
			s.once.Do(func() { close(s.reached) })
			<-s.mended
			return
		}
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
