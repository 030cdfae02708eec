package s3

import (
	"bytes"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/buckettest/servers"
)

// processor reports the processor time that this process, without the server,
// spends on each GB.
func processor(b *testing.B, bytesEach int64) {
	cpu := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	begin := cpu()
	b.SetBytes(bytesEach)
	b.ResetTimer()
	b.Cleanup(func() {
		b.ReportMetric((cpu()-begin).Seconds()/(float64(bytesEach)*float64(b.N)/1e9), "cpu-s/GB")
	})
}

func BenchmarkParts(b *testing.B) {
	s := openTest(b, servers.MinIO(b), "")
	ctx := b.Context()
	id, err := s.CreateMultipart(ctx, "a")
	if err != nil {
		b.Fatal(err)
	}
	r := bytes.NewReader(make([]byte, 8<<20))
	processor(b, r.Size())
	for i := range b.N {
		if _, err := s.PutPart(ctx, "a", id, i%100+1, r, r.Size()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	s := openTest(b, servers.MinIO(b), "")
	r := bytes.NewReader(make([]byte, 64<<20))
	if _, err := s.Put(b.Context(), "a", r, r.Size(), bucket.Condition{}); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 256<<10)
	processor(b, r.Size())
	for range b.N {
		body, _, err := s.Get(b.Context(), "a", 0, -1)
		if err != nil {
			b.Fatal(err)
		}
		for err == nil {
			_, err = body.Read(buf)
		}
		if err != io.EOF {
			b.Fatal(err)
		}
		_ = body.Close()
	}
}

func BenchmarkRecord(b *testing.B) {
	s := openTest(b, servers.MinIO(b), "")
	b.ReportAllocs()
	r := bytes.NewReader(make([]byte, 1000))
	for b.Loop() {
		if _, err := s.Put(b.Context(), "a", r, 1000, bucket.Condition{NotAfter: time.Now().Add(time.Hour)}); err != nil {
			b.Fatal(err)
		}
		body, _, err := s.Get(b.Context(), "a", 0, -1)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, body)
		_ = body.Close()
	}
}
