package file

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// small is the size up to which an object's ETag is a hash of its bytes.
// Records are smaller. A larger object is told from another one by its size,
// the time of its writing and its inode, which the next object may get again
// but not with the same nanosecond.
const small = 128 << 10

// Get implements bucket.Reader.
func (b *Bucket) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, bucket.Info, error) {
	if err := check(ctx, "get", key); err != nil {
		return nil, bucket.Info{}, err
	}
	r, info, err := b.get(ctx, key, off, n)
	if err != nil {
		return nil, bucket.Info{}, b.fail("get", key, err)
	}
	return r, info, nil
}

func (b *Bucket) get(ctx context.Context, key string, off, n int64) (io.ReadCloser, bucket.Info, error) {
	f, st, err := b.openObject(key)
	// Found or not: the answer must hold after a loss of power.
	if err := b.locks.wait(ctx, keyStripe(key)); err != nil {
		if f != nil {
			_ = f.Close()
		}
		return nil, bucket.Info{}, err
	}
	if err != nil {
		return nil, bucket.Info{}, err
	}
	info, data, err := describe(key, f, st)
	if err == nil && (off < 0 || off > info.Size) {
		err = fmt.Errorf("%w: offset %d, size %d", bucket.ErrRange, off, info.Size)
	}
	if err != nil {
		_ = f.Close()
		return nil, bucket.Info{}, err
	}
	if n < 0 || n > info.Size-off {
		n = info.Size - off
	}
	if info.Size <= small {
		return io.NopCloser(bytes.NewReader(data[off : off+n])), info, f.Close()
	}
	return &reader{f: f, off: off, end: off + n}, info, nil
}

// Stat implements bucket.Reader.
func (b *Bucket) Stat(ctx context.Context, key string) (bucket.Info, error) {
	if err := check(ctx, "stat", key); err != nil {
		return bucket.Info{}, err
	}
	info, err := b.stat(key)
	if err := b.locks.wait(ctx, keyStripe(key)); err != nil {
		return bucket.Info{}, b.fail("stat", key, err)
	}
	if err != nil {
		return bucket.Info{}, b.fail("stat", key, err)
	}
	return info, nil
}

// stat describes the object that is at key now, on disk or not.
func (b *Bucket) stat(key string) (bucket.Info, error) {
	f, st, err := b.openObject(key)
	if err != nil {
		return bucket.Info{}, err
	}
	defer f.Close()
	info, _, err := describe(key, f, st)
	return info, err
}

// describe returns the Info of an open object, and its bytes if it is small.
func describe(key string, f *os.File, st unix.Stat_t) (bucket.Info, []byte, error) {
	info := bucket.Info{Key: key, Size: st.Size, Modified: time.Unix(st.Mtim.Unix()).UTC()}
	if st.Size > small {
		info.ETag = largeETag(st)
		return info, nil, nil
	}
	data := make([]byte, st.Size)
	if _, err := f.ReadAt(data, 0); err != nil {
		return bucket.Info{}, nil, cutShort(f, err)
	}
	info.ETag = smallETag(data)
	return info, data, nil
}

func smallETag(data []byte) bucket.ETag {
	hash := sha256.Sum256(data)
	return bucket.ETag(hex.EncodeToString(hash[:16]))
}

func largeETag(st unix.Stat_t) bucket.ETag {
	return bucket.ETag(fmt.Sprintf("%x-%x-%x", st.Size, st.Mtim.Nano(), st.Ino))
}

// A reader reads a range of a large object.
type reader struct {
	f        *os.File
	off, end int64
}

func (r *reader) Read(p []byte) (int, error) {
	if r.off == r.end {
		return 0, io.EOF
	}
	n, err := r.f.ReadAt(p[:min(int64(len(p)), r.end-r.off)], r.off)
	r.off += int64(n)
	if n > 0 || err == nil {
		return n, nil
	}
	return 0, cutShort(r.f, err)
}

func (r *reader) Close() error { return r.f.Close() }

// cutShort makes an error of the end of a file that should be longer: only
// someone who goes past the bucket can make one shorter.
func cutShort(f *os.File, err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: read %s: %w", bucket.ErrUnavailable, f.Name(), err)
}
