package registry_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/server/registry"
)

// impatient makes a server that waits for a client a moment only. It is for
// tests in a bubble: on the machine's clock, the test itself may be too slow.
func impatient(_ *blobstore.Options, o *registry.Options) { o.IdleTimeout = 400 * time.Millisecond }

// dial sends the beginning of a request, and returns the connection.
func (s *server) dial(method, path string, length int, body []byte, headers ...string) net.Conn {
	s.t.Helper()
	conn, err := s.connect()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	var head strings.Builder
	for _, h := range headers {
		head.WriteString(h + "\r\n")
	}
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n", method, path, length, head.String())
	if _, err := conn.Write(body); err != nil {
		s.t.Fatal(err)
	}
	return conn
}

// answer reads what the server answers on a connection.
func (s *server) answer(conn net.Conn) answer {
	s.t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{s.t, s.logged, "raw", resp.StatusCode, resp.Header, raw}
}

// finish ends an upload that has the first bytes of b, from where it is.
func (s *server) finish(loc string, b []byte, have int) {
	s.t.Helper()
	d := digest.FromBytes(b)
	s.do("GET", loc, nil).is(204, "Upload-Offset: "+strconv.Itoa(have), "Range: 0-"+strconv.Itoa(have-1))
	s.do("PATCH", loc, b[have:], "Content-Range: "+strconv.Itoa(have)+"-"+strconv.Itoa(len(b)-1)).is(202)
	s.do("PUT", query(loc, "digest", string(d)), nil).is(201)
	s.holds("demo/app", d, b)
}

func TestAClientThatStopsSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveInBubble(t, false, nil, impatient)
		for i, have := range []int{1000, 300_000, 9 << 20} {
			b := noise(10<<20, uint64(30+i))
			for _, method := range []string{"PATCH", "PUT"} {
				loc := s.upload("demo/app")
				path := loc
				if method == "PUT" {
					path = query(loc, "digest", string(digest.FromBytes(b)))
				}
				id := method + strconv.Itoa(i)
				conn := s.dial(method, path, len(b), b[:have], "X-Request-Id: "+id)
				s.answer(conn).fails(408, "BLOB_UPLOAD_INVALID", "stopped sending", loc[:strings.Index(loc, "?")], strconv.Itoa(have)+" bytes of "+strconv.Itoa(len(b)), "offset").
					is(408, "Upload-Offset: "+map[bool]string{true: strconv.Itoa(have)}[method == "PATCH"])
				if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("the connection is not closed: %v", err)
				}
				if line := s.logged.line(t, id); line["status"] != 408. || line["received"] != float64(have) {
					t.Errorf("log: %v", line)
				}
				s.finish(loc, b, have)
			}
		}
		// Where nothing can be resumed, nothing is left.
		b := noise(100_000, 40)
		conn := s.dial("POST", "/v2/demo/app/blobs/uploads/?digest="+string(digest.FromBytes(b)), len(b), b[:99_999])
		s.answer(conn).fails(408, "BLOB_UPLOAD_INVALID", "99999 bytes of 100000")
		s.do("GET", "/v2/demo/app/blobs/"+string(digest.FromBytes(b)), nil).fails(404, "BLOB_UNKNOWN")
		conn = s.dial("PUT", "/v2/demo/app/manifests/1", 100, []byte("{"))
		s.answer(conn).is(408)
		s.do("GET", "/v2/demo/app/manifests/1", nil).is(404)
	})
}

func TestAClientThatGoesAway(t *testing.T) {
	s := serve(t, nil)
	for i, have := range []int{1, 70_000, 9 << 20} {
		b := noise(10<<20, uint64(50+i))
		for _, how := range []string{"cut", "half-closed"} {
			loc := s.upload("demo/app")
			id := how + strconv.Itoa(i)
			conn := s.dial("PATCH", loc, len(b), b[:have], "X-Request-Id: "+id)
			if how == "cut" {
				conn.Close()
			} else {
				if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
				s.answer(conn).fails(400, "SIZE_INVALID", strconv.Itoa(have)+" bytes of "+strconv.Itoa(len(b))).
					is(400, "Upload-Offset: "+strconv.Itoa(have), "Location: "+reached(loc, have))
			}
			if line := s.logged.line(t, id); line["status"] != 499. || line["level"] != "INFO" {
				t.Errorf("%s: log: %v", how, line)
			}
			s.finish(loc, b, have)
		}
	}
}

// A slow client is served as long as it goes on.
func TestAClientThatIsSlow(t *testing.T) {
	inBubble(t, func(t *testing.T, http2 bool) {
		s := serveInBubble(t, http2, nil, func(_ *blobstore.Options, o *registry.Options) { o.IdleTimeout = time.Second })
		b := noise(50_000, 60)
		loc := s.upload("demo/app")
		r, w := io.Pipe()
		go func() {
			for i := 0; i < len(b); i += 1000 { // more than the idle time in all
				time.Sleep(800 * time.Millisecond)
				if _, err := w.Write(b[i : i+1000]); err != nil {
					return
				}
			}
			w.Close()
		}()
		s.do("PATCH", loc, r).is(202, "Upload-Offset: 50000")
		s.do("PUT", query(loc, "digest", string(digest.FromBytes(b))), nil).is(201)
	})
}

func TestAClientThatTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveInBubble(t, false, nil, impatient)
		b := noise(4<<20, 61)
		d := s.push("demo/app", b)
		for id, headers := range map[string][]string{
			"whole": nil,
			"part":  {"Range: bytes=1-"},
			"parts": {"Range: bytes=0-2000000,2000002-"},
		} {
			s.dial("GET", "/v2/demo/app/blobs/"+string(d), 0, nil, append(headers, "X-Request-Id: "+id)...)
			line := s.logged.line(t, id)
			if line["status"] != 499. || line["level"] != "INFO" || line["sent"].(float64) >= float64(len(b)) || !strings.Contains(line["error"].(string), "timeout") {
				t.Errorf("log: %v", line)
			}
		}
	})
}

// The connection goes on to be used after an upload and after a pull.
func TestDeadlinesEndWithTheRequest(t *testing.T) {
	const idle = time.Second
	synctest.Test(t, func(t *testing.T) {
		s := serveInBubble(t, false, nil, func(_ *blobstore.Options, o *registry.Options) { o.IdleTimeout = idle })
		conn, err := s.connect()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		in := bufio.NewReader(conn)
		d := digest.FromString("hello")
		for i, req := range []string{
			"POST /v2/a/blobs/uploads/?digest=" + string(d) + " HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
			"GET /v2/a/blobs/" + string(d) + " HTTP/1.1\r\nHost: x\r\n\r\n",
			"GET /v2/a/blobs/" + string(d) + " HTTP/1.1\r\nHost: x\r\n\r\n",
		} {
			if i > 0 {
				time.Sleep(3 * idle) // that it passes is what this is about
			}
			if _, err := io.WriteString(conn, req); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatalf("request %d: %v", i, err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			if resp.StatusCode/100 != 2 {
				t.Fatalf("request %d: %d", i, resp.StatusCode)
			}
		}
	})
}
