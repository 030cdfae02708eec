package blobstore

import (
	"bytes"
	"io"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/bucket/memory"
)

func TestVoucherKnowsEveryChunkAndItsPlace(t *testing.T) {
	v := newVoucher()
	data := bytes.Repeat([]byte{1, 2, 3, 4, 5}, chunkSize/2)
	tags := v.tags(data, 0)
	if later := v.tags(data[chunkSize:], 1); !bytes.Equal(tags[tagSize:], later) {
		t.Error("the tags of a part are not those of the whole")
	}
	v.keep("a", int64(len(data)), tags[:len(tags)-tagSize])
	if _, ok := v.known.Get("a"); ok {
		t.Error("kept half of the tags")
	}
	v.keep("a", int64(len(data)), tags)
	tags, ok := v.known.Get("a")
	if !ok {
		t.Fatal("not kept")
	}
	chunk := bytes.Clone(data[:chunkSize])
	if !v.vouches(tags, 0, chunk) {
		t.Error("denies the chunk")
	}
	for _, index := range []int64{1, 2, 3, 1 << 40} {
		if v.vouches(tags, index, chunk) {
			t.Errorf("takes it for chunk %d", index)
		}
	}
	for _, i := range []int{0, 1000, chunkSize - 1} {
		chunk[i] ^= 1
		if v.vouches(tags, 0, chunk) {
			t.Errorf("does not see that byte %d changed", i)
		}
		chunk[i] ^= 1
	}
	if v.vouches(tags, 0, chunk[:chunkSize-1]) {
		t.Error("does not see that it is too short")
	}
	if newVoucher().vouches(tags, 0, chunk) {
		t.Error("another process has the same key")
	}
}

func TestWhatCameInIsKnownAtOnce(t *testing.T) {
	for _, n := range []int{MaxInline + 1, chunkSize, 512<<10 + 1, 2<<20 + 7} {
		s := New(memory.New(memory.Options{MinPart: 512 << 10}), Options{PartSize: 512 << 10})
		data := bytes.Repeat([]byte{byte(n), 2, 3}, n/3+1)[:n]
		d := digest.FromBytes(data)
		u, err := s.StartUpload(t.Context(), "a", UploadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.Append(t.Context(), 0, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		if _, err := u.Commit(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		r, err := s.OpenAny(t.Context(), d, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		if r.hash != nil {
			t.Errorf("%d bytes are hashed although they have just come in", n)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes: %v", n, err)
		}
		r.Close()
		s.Close(t.Context())
	}
}
