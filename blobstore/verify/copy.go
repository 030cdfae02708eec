package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
)

var buffers = sync.Pool{New: func() any { return new([readSize]byte) }}

// A verdict is what is known of one copy of a blob after it was looked at.
type verdict struct {
	kind    Kind // empty: it is sound, or nobody's copy any more
	problem string
	flips   int64 // reads that were bad and not when they were repeated
}

// copy looks at the copy id of blob d, which should have size bytes: reads it if
// read is set, else asks only whether it is there. What is bad is looked at twice,
// and quarantined.
func (r *run) copy(ctx context.Context, d digest.Digest, size int64, id string, read bool) (verdict, error) {
	first, err := r.lookAt(ctx, d, size, id, read)
	if err != nil || first.kind == "" {
		return first, err
	}
	info, err := r.v.store.Describe(ctx, d)
	if errors.Is(err, blobstore.ErrBlobUnknown) || err == nil && (info.State == gone || !slices.Contains(info.Copies, id)) {
		return verdict{}, nil // its blob was collected, or somebody else has quarantined it
	}
	if err != nil && !invalid(err) {
		return verdict{}, err
	}
	again, err := r.lookAt(ctx, d, size, id, read)
	if err != nil {
		return verdict{}, err
	}
	if again.kind == "" {
		r.v.log.Warn("bytes were flipped on the way from the bucket; when they were read again they were right",
			"digest", d, "data", id, "first", first.problem)
		again.flips = 1
		return again, nil
	}
	ours, err := r.v.store.Quarantine(ctx, d, id)
	if errors.Is(err, blobstore.ErrBlobUnknown) || err == nil && !ours {
		return verdict{}, nil
	}
	return again, err
}

// lookAt is copy that takes what it reads for granted.
func (r *run) lookAt(ctx context.Context, d digest.Digest, size int64, id string, read bool) (verdict, error) {
	if _, err := blobstore.IDTime(id); err != nil {
		return verdict{kind: Lost, problem: fmt.Sprintf("its record names the data %.40q, which is no name of any", id)}, nil
	}
	if !read {
		info, err := r.v.store.Bucket().Stat(ctx, blobstore.DataPrefix+id)
		return measured(info, size, id, err)
	}
	src, info, err := r.v.store.Bucket().Get(ctx, blobstore.DataPrefix+id, 0, -1)
	if err != nil {
		return measured(info, size, id, err)
	}
	defer src.Close()
	if v, err := measured(info, size, id, nil); v.kind != "" || err != nil {
		return v, err
	}
	got, err := r.hash(ctx, d.Algorithm(), src, size)
	if err != nil {
		return verdict{}, fmt.Errorf("read data %s of %s: %w", id, d, err)
	}
	if got != d {
		return verdict{kind: Damaged, problem: fmt.Sprintf("the bytes of data %s have the digest %s", id, got)}, nil
	}
	return verdict{}, nil
}

// measured compares what the bucket says of a data object with its blob's size.
func measured(info bucket.Info, size int64, id string, err error) (verdict, error) {
	switch {
	case errors.Is(err, bucket.ErrNotExist):
		return verdict{kind: Lost, problem: fmt.Sprintf("data %s is not in the bucket", id)}, nil
	case err != nil:
		return verdict{}, err
	case info.Size != size:
		return verdict{kind: Damaged, problem: fmt.Sprintf("data %s has %d bytes, not %d", id, info.Size, size)}, nil
	}
	return verdict{}, nil
}

// hash reads the size bytes of src, at the pace of the run. What src says when it
// was cut off is an error, and no digest.
func (r *run) hash(ctx context.Context, alg digest.Algorithm, src io.Reader, size int64) (digest.Digest, error) {
	h := alg.Hash()
	buf := buffers.Get().(*[readSize]byte)
	defer buffers.Put(buf)
	most := int64(r.pace.most())
	for size > 0 {
		b := buf[:min(size, most)]
		if err := r.pace.wait(ctx, len(b)); err != nil {
			return "", err
		}
		n, err := io.ReadFull(src, b)
		r.bytes.Add(int64(n))
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return "", err
		}
		h.Write(b)
		size -= int64(n)
	}
	return digest.NewDigest(alg, h), nil
}
