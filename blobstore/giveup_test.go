package blobstore_test

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/blobstore/storetest"
)

// A slow is a client that stops for good after its first bytes, or until the test
// says go on.
type slow struct {
	data []byte
	stop int           // where it stops
	goOn chan struct{} // closed when it goes on
	at   int
}

func (s *slow) Read(p []byte) (int, error) {
	if s.at == s.stop {
		<-s.goOn
	}
	end := len(s.data)
	if s.at < s.stop {
		end = s.stop
	}
	n := copy(p, s.data[s.at:end])
	if s.at += n; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// As many clients as there are buffers stop in the middle of a part. Others get
// through all the same, and when the slow ones go on nothing of theirs is lost.
func TestSlowUploadsDoNotKeepTheOthersWaiting(t *testing.T) {
	for _, stop := range []int{300 << 10, partSize - 1, 2*partSize + 300_000} {
		synctest.Test(t, func(t *testing.T) {
			const buffers = 2
			s := blobstore.New(memory.New(memory.Options{MinPart: 64 << 10}),
				blobstore.Options{Logger: storetest.Quiet(), PartSize: partSize, PartBuffers: buffers})
			goOn := make(chan struct{})
			var uploads sync.WaitGroup
			push := func(seed string, stop int) {
				b := storetest.Bytes(4*partSize+17, seed)
				u := start(t, s)
				uploads.Go(func() {
					d := digest.FromBytes(b)
					if blob, err := u.Finish(t.Context(), 0, &slow{data: b, stop: stop, goOn: goOn}, d); err != nil || blob.Size != int64(len(b)) {
						t.Errorf("%s: %v, %v", seed, blob, err)
						return
					}
					r, err := s.Open(t.Context(), repo, d, 0, -1)
					if err != nil {
						t.Error(err)
						return
					}
					defer r.Close()
					if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, b) {
						t.Errorf("%s: other bytes: %v", seed, err)
					}
				})
			}
			for i := range 3 * buffers {
				push(string(rune('a'+i)), stop)
			}
			synctest.Wait() // the buffers are taken, or the clients that have none wait
			b := storetest.Bytes(4*partSize+17, "quick")
			if _, err := s.Put(t.Context(), repo, digest.FromBytes(b), -1, bytes.NewReader(b)); err != nil {
				t.Error(err)
			}
			close(goOn)
			uploads.Wait()
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// Another server goes on with an upload that has given its buffer up: the one that
// was slow is told where it is.
func TestAnUploadThatGaveUpIsAsIfAppendedTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bucket := memory.New(memory.Options{MinPart: 64 << 10})
		o := blobstore.Options{Logger: storetest.Quiet(), PartSize: partSize, PartBuffers: 1}
		s, other := blobstore.New(bucket, o), blobstore.New(bucket, o)
		b := storetest.Bytes(2*partSize, "slow")
		u := start(t, s)
		goOn := make(chan struct{})
		done := make(chan error, 1)
		go func() {
			_, err := u.Append(t.Context(), 0, &slow{data: b, stop: 300 << 10, goOn: goOn})
			done <- err
		}()
		synctest.Wait()
		quick := storetest.Bytes(2*partSize, "quick")
		if _, err := s.Put(t.Context(), repo, digest.FromBytes(quick), -1, bytes.NewReader(quick)); err != nil {
			t.Fatal(err)
		}
		theirs := resume(t, other, u.ID())
		if at, err := theirs.Refresh(t.Context()); err != nil || at != 300<<10 {
			t.Fatalf("another server finds %d bytes, %v", at, err)
		}
		if _, err := theirs.Append(t.Context(), 300<<10, bytes.NewReader(b[300<<10:])); err != nil {
			t.Fatal(err)
		}
		close(goOn)
		if err := <-done; offsetOf(t, err) != int64(len(b)) {
			t.Errorf("%v", err)
		}
		if _, err := theirs.Commit(t.Context(), digest.FromBytes(b)); err != nil {
			t.Error(err)
		}
		for _, s := range []*blobstore.Store{s, other} {
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

// offsetOf is where an error tells its caller to go on.
func offsetOf(t *testing.T, err error) int64 {
	t.Helper()
	e, ok := errors.AsType[*blobstore.Error](err)
	if !ok || !errors.Is(err, blobstore.ErrUploadOffset) {
		return -1
	}
	n, _ := strconv.ParseInt(e.Facts["offset"], 10, 64)
	return n
}
