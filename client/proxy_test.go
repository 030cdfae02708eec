package client_test

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A cutter stands between client and server, and breaks off each connection
// after so many bytes have gone in one direction: what a bad network does. It is
// also a link of some bandwidth: on one without limits most of what a connection
// has carried when it is cut would still wait in the receiver's buffers, and be
// lost with it.
type cutter struct {
	listener net.Listener
	server   atomic.Pointer[string]
	up, down atomic.Int64 // bytes that were passed on
	cuts     atomic.Int64
	// cutUp and cutDown are how many bytes a connection passes on; 0: all.
	cutUp, cutDown atomic.Int64
	wg             sync.WaitGroup

	mu   sync.Mutex
	open map[net.Conn]bool
}

func newCutter(t *testing.T, server string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{listener: l, open: map[net.Conn]bool{}}
	c.server.Store(&server)
	c.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.wg.Go(func() { c.pass(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		c.wg.Wait()
	})
	return c
}

func (c *cutter) addr() string { return c.listener.Addr().String() }

// cutNow breaks off the connections that there are; new ones have the limits
// that hold now.
func (c *cutter) cutNow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.open {
		conn.Close()
	}
}

func (c *cutter) pass(client net.Conn) {
	c.mu.Lock()
	c.open[client] = true
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.open, client)
		c.mu.Unlock()
		client.Close()
	}()
	server, err := net.Dial("tcp", *c.server.Load())
	if err != nil {
		return
	}
	defer server.Close()
	both := func() { client.Close(); server.Close() }
	var wg sync.WaitGroup
	wg.Go(func() { c.copy(server, client, c.cutUp.Load(), &c.up); both() })
	wg.Go(func() { c.copy(client, server, c.cutDown.Load(), &c.down); both() })
	wg.Wait()
}

func (c *cutter) copy(to io.Writer, from io.Reader, limit int64, count *atomic.Int64) {
	const bandwidth = 40 << 20 // bytes a second
	buf := make([]byte, 16<<10)
	if limit > 0 {
		tick := time.NewTicker(time.Second * time.Duration(len(buf)) / bandwidth)
		defer tick.Stop()
		from = paced{from, tick.C}
	}
	for left := limit; limit == 0 || left > 0; {
		n, err := from.Read(buf)
		if limit > 0 {
			n = int(min(int64(n), left))
			left -= int64(n)
		}
		m, werr := to.Write(buf[:n])
		count.Add(int64(m))
		if err != nil || werr != nil {
			return
		}
	}
	c.cuts.Add(1)
}

type paced struct {
	r    io.Reader
	tick <-chan time.Time
}

func (p paced) Read(b []byte) (int, error) {
	<-p.tick
	return p.r.Read(b)
}
