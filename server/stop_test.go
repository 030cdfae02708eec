package server_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/bucket/memory"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/server"
	"github.com/laminastore/lamina/server/servertest"
)

// A transfer that can be held in its middle: begin returns when bytes have
// passed, and finish lets the rest pass and returns what came of it.
type transfer struct {
	begin  func(t *testing.T, s *servertest.Server, data []byte) (finish func() error)
	stores bool // data is in the bucket after it, and not before
}

var transfers = map[string]transfer{
	"pull over HTTP":  {pullHTTP, false},
	"push over HTTP":  {pushHTTP, true},
	"read over gRPC":  {readGRPC, false},
	"write over gRPC": {writeGRPC, true},
}

// A server that is asked to stop takes no new connections, and ends when what is
// under way has come to its end.
func TestTransfersUnderWayEndBeforeTheServerDoes(t *testing.T) {
	for name, c := range transfers {
		t.Run(name, func(t *testing.T) {
			b := memory.New(memory.Options{})
			s := servertest.Start(t, servertest.Options{Bucket: b, Config: server.Config{StopWithin: time.Hour}})
			data := make([]byte, 24<<20) // more than all buffers on the way
			_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
			d := digest.FromBytes(data)
			if !c.stores {
				if _, err := s.Store.Put(t.Context(), "demo/app", d, int64(len(data)), bytes.NewReader(data)); err != nil {
					t.Fatal(err)
				}
			}
			finish := c.begin(t, s, data)
			stopped := make(chan struct{})
			go func() {
				defer close(stopped)
				s.Stop(t)
			}()
			refuses(t, s.HTTP)
			refuses(t, s.GRPC)
			select {
			case <-stopped:
				t.Fatal("it has ended, and the transfer has not")
			default:
			}
			if err := finish(); err != nil {
				t.Errorf("the transfer was broken off: %v", err)
			}
			<-stopped
			next := servertest.Start(t, servertest.Options{Bucket: b})
			if code, body := get(t, "http://"+next.HTTP+"/v2/demo/app/blobs/"+string(d)); code != 200 || body != string(data) {
				t.Errorf("afterwards: %d, %d bytes", code, len(body))
			}
		})
	}
}

// refuses waits until nobody listens at an address any more.
func refuses(t *testing.T, address string) {
	t.Helper()
	for {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		conn.Close()
	}
}

func same(got, want []byte) error {
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%d bytes of %d", len(got), len(want))
	}
	return nil
}

func pullHTTP(t *testing.T, s *servertest.Server, data []byte) func() error {
	resp, err := http.Get("http://" + s.HTTP + "/v2/demo/app/blobs/" + string(digest.FromBytes(data)))
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 1000)
	if _, err := io.ReadFull(resp.Body, first); err != nil {
		t.Fatal(err)
	}
	return func() error {
		defer resp.Body.Close()
		rest, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		return same(append(first, rest...), data)
	}
}

func pushHTTP(t *testing.T, s *servertest.Server, data []byte) func() error {
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		resp, err := http.Post("http://"+s.HTTP+"/v2/demo/app/blobs/uploads/?digest="+string(digest.FromBytes(data)), "application/octet-stream", r)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode != http.StatusCreated {
				err = fmt.Errorf("status %s", resp.Status)
			}
		}
		_ = r.CloseWithError(io.ErrClosedPipe)
		done <- err
	}()
	half := len(data) / 2
	if _, err := w.Write(data[:half]); err != nil { // more than fits on the way: the server reads it
		t.Fatal(err)
	}
	return func() error {
		_, _ = w.Write(data[half:])
		w.Close()
		return <-done
	}
}

func readGRPC(t *testing.T, s *servertest.Server, data []byte) func() error {
	stream, err := pb.NewBlobsClient(s.Conn).Read(t.Context(), &pb.BlobsReadRequest{Repository: "demo/app", Digest: string(digest.FromBytes(data))})
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	got := bytes.Clone(m.Data)
	return func() error {
		for {
			m, err := stream.Recv()
			if err == io.EOF {
				return same(got, data)
			}
			if err != nil {
				return err
			}
			got = append(got, m.Data...)
		}
	}
}

func writeGRPC(t *testing.T, s *servertest.Server, data []byte) func() error {
	stream, err := pb.NewBlobsClient(s.Conn).Write(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const piece = 1 << 20
	send := func(at int) error {
		m := &pb.BlobsWriteRequest{Data: data[at : at+piece], Offset: int64(at), Finish: at+piece == len(data)}
		if at == 0 {
			m.Repository, m.Digest = "demo/app", string(digest.FromBytes(data))
		}
		return stream.Send(m)
	}
	if err := send(0); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil { // it has begun
		t.Fatal(err)
	}
	return func() error {
		for at := piece; at < len(data); at += piece {
			if err := send(at); err != nil {
				return err
			}
		}
		for {
			m, err := stream.Recv()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			_ = m
		}
	}
}

// Where a bucket cannot send clients to itself, whoever asked for that is told.
func TestRedirectingNeedsABucketThatCan(t *testing.T) {
	var log bytes.Buffer
	s := servertest.Start(t, servertest.Options{Config: server.Config{
		Redirect: true, GRPC: server.Off, Metrics: server.Off, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	}})
	s.Stop(t)
	if !strings.Contains(log.String(), "--redirect does nothing") {
		t.Errorf("%s", &log)
	}
}
