package client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/client"
	"github.com/laminastore/lamina/client/transfer"
	"github.com/laminastore/lamina/internal/imagetest"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/server/servertest"
)

func TestAPushSurvivesLostConnections(t *testing.T) {
	s := servertest.Start(t, servertest.Options{})
	through := newCutter(t, s.GRPC)
	through.cutUp.Store(2_500_000)
	b := imagetest.Blobs{}
	root := b.Image("amd64", 1, 20<<20)
	push(t, dial(t, through.addr()), b, root, "1")
	var size int64
	for _, data := range b {
		size += int64(len(data))
	}
	cuts, up := through.cuts.Load(), through.up.Load()
	t.Logf("%d cuts; %d bytes for an image of %d", cuts, up, size)
	if cuts < 7 {
		t.Errorf("only %d cuts", cuts)
	}
	// A message, and what goes around it.
	if twice := up - size; twice > cuts*(256<<10+40<<10) {
		t.Errorf("%d bytes were sent twice, %d a cut", twice, twice/cuts)
	}
	dir := pull(t, dial(t, s.GRPC), tagged("1"))
	for d, want := range b {
		if got := read(t, filepath.Join(dir, "blobs/sha256", d.Encoded())); !bytes.Equal(got, want) {
			t.Errorf("%s is not what it was", d)
		}
	}
}

func TestAPullSurvivesLostConnections(t *testing.T) {
	s := servertest.Start(t, servertest.Options{})
	b := imagetest.Blobs{}
	root := b.Image("amd64", 1, 20<<20, 5<<20)
	push(t, dial(t, s.GRPC), b, root, "1")
	through := newCutter(t, s.GRPC)
	through.cutDown.Store(2_500_000)
	dir := pull(t, dial(t, through.addr()), tagged("1"))
	var size int64
	for d, want := range b {
		size += int64(len(want))
		if got := read(t, filepath.Join(dir, "blobs/sha256", d.Encoded())); !bytes.Equal(got, want) {
			t.Errorf("%s is not what it was", d)
		}
	}
	cuts, down := through.cuts.Load(), through.down.Load()
	t.Logf("%d cuts; %d bytes for an image of %d", cuts, down, size)
	if cuts < 10 {
		t.Errorf("only %d cuts", cuts)
	}
	// Of each stream a message may be lost that had not come in whole: 256 KiB,
	// or 1 MiB of a blob that is read from its beginning.
	if twice := down - size; twice > cuts*2*(1<<20+10<<10) {
		t.Errorf("%d bytes were sent twice, %d a cut", twice, twice/cuts)
	}
}

// What one server has of an upload another goes on with: they share the bucket,
// and nothing else.
func TestAnUploadGoesOnOnAnotherServer(t *testing.T) {
	b := memory.New(memory.Options{})
	first := servertest.Start(t, servertest.Options{Bucket: b})
	second := servertest.Start(t, servertest.Options{Bucket: b})
	through := newCutter(t, first.GRPC)
	c := dial(t, through.addr())
	data := imagetest.TarOf(1, 12<<20)
	d := ocispec.Descriptor{Digest: digest.FromBytes(data), Size: int64(len(data))}
	moved := sync.OnceFunc(func() {
		through.server.Store(&second.GRPC)
		through.cutNow()
		first.Stop(t)
	})
	err := c.Upload(t.Context(), repo, d, watched{transfer.Bytes(bytes.NewReader(data), d.Size), func(at int64) {
		if at > 7<<20 {
			moved()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	missing, err := dial(t, second.GRPC).FindMissing(t.Context(), repo, []digest.Digest{d.Digest})
	if err != nil || len(missing) > 0 {
		t.Errorf("missing %v: %v", missing, err)
	}
	if up := through.up.Load(); up > d.Size+6<<20 {
		t.Errorf("%d bytes were sent of %d", up, d.Size)
	}
}

// watched tells how far a content has been read.
type watched struct {
	transfer.Content
	at func(int64)
}

func (w watched) Open(ctx context.Context, offset int64) (io.ReadCloser, error) {
	r, err := w.Content.Open(ctx, offset)
	return &watchedReader{r, w.at, offset}, err
}

type watchedReader struct {
	io.ReadCloser
	at  func(int64)
	pos int64
}

func (w *watchedReader) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	w.pos += int64(n)
	w.at(w.pos)
	return n, err
}

func TestCallsSurviveARestartOfTheServer(t *testing.T) {
	s := servertest.Start(t, servertest.Options{})
	through := newCutter(t, s.GRPC)
	c := dial(t, through.addr())
	b := imagetest.Blobs{}
	root := b.Image("amd64", 1, 1000)
	push(t, c, b, root, "1")
	through.cutDown.Store(1) // every answer is lost
	through.cutNow()
	done := make(chan error, 1)
	go func() {
		_, err := c.Resolve(t.Context(), repo, tagged("1"), "")
		done <- err
	}()
	for through.cuts.Load() < 3 {
		select {
		case err := <-done:
			t.Fatalf("answered while there was no answer: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	through.cutDown.Store(0)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestReadAPart(t *testing.T) {
	s := servertest.Start(t, servertest.Options{})
	through := newCutter(t, s.GRPC)
	c := dial(t, through.addr())
	data := imagetest.TarOf(1, 3<<20)
	d := ocispec.Descriptor{Digest: digest.FromBytes(data), Size: int64(len(data))}
	if err := c.Upload(t.Context(), repo, d, transfer.Bytes(bytes.NewReader(data), d.Size)); err != nil {
		t.Fatal(err)
	}
	through.cutDown.Store(700_000)
	through.cutNow()
	for _, part := range [][2]int64{{0, 0}, {1, 0}, {5, 10}, {1 << 20, 1 << 20}, {d.Size - 1, 0}, {0, d.Size}} {
		r, err := c.Read(t.Context(), repo, d.Digest, part[0], part[1])
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil {
			t.Errorf("%v: %v", part, err)
		}
		r.Close()
		want := data[part[0]:]
		if part[1] > 0 {
			want = want[:part[1]]
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%v: %d bytes that are not those asked for", part, len(got))
		}
	}
	if through.cuts.Load() < 5 {
		t.Errorf("%d cuts", through.cuts.Load())
	}
	if _, err := c.Read(t.Context(), repo, d.Digest, d.Size+1, 0); client.ReasonOf(err) != pb.Reason_REASON_RANGE_INVALID {
		t.Errorf("behind the end: %v", err)
	}
}

func TestAPushThatIsCancelledLeavesNoUpload(t *testing.T) {
	s := servertest.Start(t, servertest.Options{})
	c := dial(t, s.GRPC)
	ctx, cancel := context.WithCancel(t.Context())
	d := ocispec.Descriptor{Digest: digest.FromString("never whole"), Size: 10 << 20}
	err := c.Upload(ctx, repo, d, endless{cancel})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	bucket := s.Store.Bucket()
	for info, err := range bucket.List(t.Context(), "uploads/", "") {
		if err != nil {
			t.Fatal(err)
		}
		r, _, err := bucket.Get(t.Context(), info.Key, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		record, err := io.ReadAll(r)
		r.Close()
		if err != nil || !bytes.Contains(record, []byte(`"aborted":true`)) {
			t.Errorf("%s is left: %s %v", info.Key, record, err)
		}
	}
}

// endless ends the push after 2 MiB, and never itself.
type endless struct{ stop func() }

func (e endless) Open(ctx context.Context, _ int64) (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(bytes.NewReader(make([]byte, 2<<20)), stopped{ctx, e.stop})), nil
}

type stopped struct {
	ctx  context.Context
	stop func()
}

func (s stopped) Read([]byte) (int, error) {
	s.stop()
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}
