// Package buckettest proves that an implementation or a decorator of
// bucket.Bucket keeps the contract, sentence by sentence.
package buckettest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// Test runs the suite, and Spool for a bucket.Spooler. open returns an empty
// bucket that nothing else uses; it is called for every test, and what it needs
// to close it gives to t.Cleanup. Tests run in parallel.
func Test(t *testing.T, open func(t *testing.T) bucket.Bucket) {
	for _, group := range []group{
		{"Key", keyTests},
		{"Get", getTests},
		{"Put", putTests},
		{"Condition", conditionTests},
		{"List", listTests},
		{"Delete", deleteTests},
		{"Multipart", multipartTests},
		{"MultipartCondition", multipartConditionTests},
		{"Concurrent", concurrentTests},
		{"Context", contextTests},
		{"Bucket", bucketTests},
	} {
		group.run(t, open)
	}
	if _, spools := open(t).(bucket.Spooler); spools {
		Spool(t, open)
	}
}

// Spool runs what Test runs for a bucket.Spooler alone.
func Spool(t *testing.T, open func(t *testing.T) bucket.Bucket) {
	group{"Spool", spoolTests}.run(t, open)
}

type group struct {
	name  string
	tests []test
}

func (g group) run(t *testing.T, open func(t *testing.T) bucket.Bucket) {
	t.Run(g.name, func(t *testing.T) {
		for _, tt := range g.tests {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				tt.run(t, open(t))
			})
		}
	})
}

type test struct {
	name string
	run  func(t *testing.T, b bucket.Bucket)
}

// content returns n bytes that look random and are the same for the same seed.
func content(n int64, seed uint64) []byte {
	data := make([]byte, n)
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	_, _ = rand.NewChaCha8(key).Read(data) // never fails
	return data
}

// put stores data and fails the test when that fails or Info is wrong.
func put(t *testing.T, b bucket.Bucket, key string, data []byte, cond bucket.Condition) bucket.Info {
	t.Helper()
	info, err := b.Put(t.Context(), key, bytes.NewReader(data), int64(len(data)), cond)
	if err != nil {
		t.Fatalf("put: %v", err)
	}
	if info.Key != key || info.Size != int64(len(data)) || info.ETag == "" || info.Modified.IsZero() {
		t.Fatalf("put %d bytes at %s: %+v", len(data), key, info)
	}
	return info
}

// putAll stores a small object at each key.
func putAll(t *testing.T, b bucket.Bucket, keys ...string) {
	t.Helper()
	var g errgroup.Group
	g.SetLimit(16)
	for _, key := range keys {
		g.Go(func() error {
			_, err := b.Put(t.Context(), key, bytes.NewReader([]byte(key)), int64(len(key)), bucket.Condition{})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// get reads a range; it closes the reader.
func get(ctx context.Context, b bucket.Bucket, key string, off, n int64) ([]byte, bucket.Info, error) {
	r, info, err := b.Get(ctx, key, off, n)
	if err != nil {
		return nil, info, err
	}
	data, err := io.ReadAll(r)
	return data, info, errors.Join(err, r.Close())
}

// wantObject fails the test unless the object at key has these bytes, all the
// ways of asking agree on its Info, and the Info agrees with want, if given.
func wantObject(t *testing.T, b bucket.Bucket, key string, data []byte, want ...bucket.Info) {
	t.Helper()
	have, info, err := get(t.Context(), b, key, 0, -1)
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	if !bytes.Equal(have, data) {
		t.Fatalf("%s has %s, want %s", key, brief(have), brief(data))
	}
	stat, err := b.Stat(t.Context(), key)
	if err != nil {
		t.Fatalf("stat: %v", err)
	}
	infos := append(want, info, stat)
	for listed, err := range b.List(t.Context(), key, "") {
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		infos = append(infos, listed)
		break
	}
	for _, i := range infos {
		if i.Key != key || i.Size != int64(len(data)) || i.ETag != stat.ETag {
			t.Fatalf("%s: %+v, but stat says %+v", key, i, stat)
		}
	}
}

func wantAbsent(t *testing.T, b bucket.Bucket, key string) {
	t.Helper()
	_, err := b.Stat(t.Context(), key)
	wantError(t, "stat "+key, err, bucket.ErrNotExist)
	_, _, err = get(t.Context(), b, key, 0, -1)
	wantError(t, "get "+key, err, bucket.ErrNotExist)
}

func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: error is %v, want: %v", what, err, want)
	}
}

func brief(data []byte) string {
	if len(data) <= 40 {
		return fmt.Sprintf("%q", data)
	}
	return fmt.Sprintf("%d bytes, %x…", len(data), data[:16])
}
