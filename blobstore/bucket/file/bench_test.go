package file

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/laminastore/lamina/blobstore/bucket"
)

func openBench(b *testing.B) *Bucket {
	b.Helper()
	f, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = f.Close() })
	return f
}

func BenchmarkGetRecord(b *testing.B) {
	f := openBench(b)
	data := bytes.NewReader(make([]byte, 1000))
	if _, err := f.Put(b.Context(), "a/b/c", data, 1000, bucket.Condition{}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		r, _, err := f.Get(b.Context(), "a/b/c", 0, -1)
		if err != nil {
			b.Fatal(err)
		}
		_ = r.Close()
	}
}

func BenchmarkPutRecord(b *testing.B) {
	f := openBench(b)
	data := make([]byte, 1000)
	for b.Loop() {
		if _, err := f.Put(b.Context(), "a/b/c", bytes.NewReader(data), 1000, bucket.Condition{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPutRecordsAtOnce(b *testing.B) {
	f := openBench(b)
	data := make([]byte, 1000)
	var n atomic.Int64
	b.SetParallelism(16)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			key := fmt.Sprintf("a/%d", n.Add(1))
			if _, err := f.Put(b.Context(), key, bytes.NewReader(data), 1000, bucket.Condition{IfAbsent: true}); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkPutParts(b *testing.B) {
	f := openBench(b)
	id, err := f.CreateMultipart(b.Context(), "a")
	if err != nil {
		b.Fatal(err)
	}
	data := bytes.NewReader(make([]byte, 8<<20))
	b.SetBytes(data.Size())
	n := 0
	for b.Loop() {
		n++
		if _, err := f.PutPart(b.Context(), "a", id, n, data, data.Size()); err != nil {
			b.Fatal(err)
		}
	}
}
