package verify_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket/file"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/blobstore/verify"
	"github.com/laminastore/lamina/internal/needs"
)

// BenchmarkAgainstSHA256Sum reads a store of LAMINA_BENCH_MB (256) in blobs of 8 MB,
// in a folder below TMPDIR, and then the same files by sha256sum, in one process
// and in two: what each does in MB (10^6 bytes) a second, and in a second of
// processor time, which others on the machine do not change.
func BenchmarkAgainstSHA256Sum(b *testing.B) {
	needs.Commands(b, "sha256sum", "xargs")
	const size = 8 << 20
	mb, err := strconv.Atoi(os.Getenv("LAMINA_BENCH_MB"))
	if err != nil {
		mb = 256
	}
	dir := b.TempDir()
	bk, err := file.Open(dir, file.Options{})
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	s := blobstore.New(bk, blobstore.Options{Logger: storetest.Quiet()})
	defer s.Close(ctx)
	blob := storetest.Bytes(size, "bench")
	count := max(1, mb*1_000_000/size)
	for n := range count {
		copy(blob, strconv.Itoa(n))
		if _, err := s.Put(ctx, repo, digest.FromBytes(blob), size, bytes.NewReader(blob)); err != nil {
			b.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "data", "*"))
	if err != nil || len(files) < count {
		b.Fatalf("%d files, %v", len(files), err)
	}
	list := []byte{}
	for _, f := range files {
		list = append(append(list, f...), 0)
	}
	total := float64(count) * size / 1e6
	v := verify.New(s, images.New(s, nil, images.Options{}), verify.Options{Logger: storetest.Quiet()})
	var ours, one, two time.Duration
	sums := func(processes string) time.Duration {
		cmd := exec.Command("xargs", "-0", "-n", "8", "-P", processes, "sha256sum")
		cmd.Stdin = bytes.NewReader(list)
		began := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		return time.Since(began)
	}
	sums("2") // into the page cache, for all alike
	var oursCPU, sumsCPU time.Duration
	for b.Loop() {
		began, cpu := time.Now(), used(b, syscall.RUSAGE_SELF)
		r, err := v.Run(ctx, verify.RunOptions{Restart: true})
		if err != nil || r.Bad != 0 || r.Bytes != int64(count)*size {
			b.Fatalf("%+v %v", r, err)
		}
		ours += time.Since(began)
		oursCPU += used(b, syscall.RUSAGE_SELF) - cpu
		cpu = used(b, syscall.RUSAGE_CHILDREN)
		one += sums("1")
		sumsCPU += used(b, syscall.RUSAGE_CHILDREN) - cpu
		two += sums("2")
	}
	for unit, took := range map[string]time.Duration{"verify-MB/s": ours, "sha256sum-MB/s": one, "2-sha256sum-MB/s": two,
		"verify-MB/cpu-s": oursCPU, "sha256sum-MB/cpu-s": sumsCPU} {
		b.ReportMetric(total*float64(b.N)/took.Seconds(), unit)
	}
	b.ReportMetric(0, "ns/op")
}

// used is the processor time of this process, or of those that it has waited for.
func used(b *testing.B, who int) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
