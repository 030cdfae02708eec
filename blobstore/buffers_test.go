package blobstore

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/bucket/memory"
)

// Uploads of every kind of end: in a part, at one's end, in a small piece, broken
// off. None stays among those who fill a buffer, where it would be kept for ever.
func TestNobodyHoldsABufferWhenAllUploadsHaveEnded(t *testing.T) {
	const part = 1 << 20
	s := New(memory.New(memory.Options{MinPart: 64 << 10}), Options{PartSize: part, PartBuffers: 2})
	t.Cleanup(func() { _ = s.Close(t.Context()) })
	for i, size := range []int{10, part - 1, part, part + 10, 2 * part, 3*part + 500_000} {
		b := bytes.Repeat([]byte{byte(i + 1)}, size)
		u, err := s.StartUpload(t.Context(), "a/b", UploadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		switch i % 2 {
		case 0: // as it comes in one request, or in two
			_, err = u.Finish(t.Context(), 0, bytes.NewReader(b), digest.FromBytes(b))
		default:
			if _, err = u.Append(t.Context(), 0, bytes.NewReader(b)); err == nil {
				_, err = u.Commit(t.Context(), digest.FromBytes(b))
			}
		}
		if err != nil {
			t.Fatal(fmt.Errorf("%d bytes: %w", size, err))
		}
		s.buffers.mu.Lock()
		if n := len(s.buffers.holders); n != 0 {
			t.Errorf("after an upload of %d bytes %d hold a buffer", size, n)
		}
		s.buffers.mu.Unlock()
	}
}
