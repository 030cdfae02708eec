package layers

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/storetest"
)

func TestExamine(t *testing.T) {
	small := Options{MaxSize: 4 << 20, MaxRatio: 100, RatioFrom: 64 << 10}.withDefaults()
	tar := storetest.Tar(1000, "a", "b/c")
	zeros := storetest.Tar(0, "empty")
	zeros = append(zeros[:len(zeros):len(zeros)], make([]byte, 1<<20)...) // trailing zeros, as blocked tars have
	skippable := append([]byte{0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c'}, storetest.Zstd(tar)...)
	for _, c := range []struct {
		name    string
		blob    []byte
		tar     []byte // what it should be found to contain
		problem string
	}{
		{name: "plain tar", blob: tar, tar: tar},
		{name: "gzip", blob: storetest.Gzip(tar), tar: tar},
		{name: "gzip in two members", blob: append(storetest.Gzip(tar[:700]), storetest.Gzip(tar[700:])...), tar: tar},
		{name: "zstd", blob: storetest.Zstd(tar), tar: tar},
		{name: "zstd in two frames", blob: append(storetest.Zstd(tar[:700]), storetest.Zstd(tar[700:])...), tar: tar},
		{name: "zstd after a skippable frame", blob: skippable, tar: tar},
		{name: "tar without its end", blob: tar[:len(tar)-1024], tar: tar[:len(tar)-1024]},
		{name: "tar with something behind its end", blob: append(bytes.Clone(tar), "behind"...), tar: append(bytes.Clone(tar), "behind"...)},
		{name: "empty tar", blob: storetest.Gzip(make([]byte, 1024)), tar: make([]byte, 1024)},
		{name: "nothing", blob: nil, tar: []byte{}},
		{name: "zeros that compress too well to be above the limit of a ratio", blob: storetest.Gzip(make([]byte, 32<<10)), tar: make([]byte, 32<<10)},

		{name: "text", blob: []byte(strings.Repeat("no tar\n", 200)), problem: "no tar (read as not compressed"},
		{name: "short text", blob: []byte("x"), problem: "no tar (read as not compressed"},
		{name: "JSON in gzip", blob: storetest.Gzip([]byte(strings.Repeat(`{"a":1}`, 100))), problem: "no tar (read as gzip"},
		{name: "cut in a file", blob: tar[:700], problem: "no tar"},
		{name: "cut gzip", blob: storetest.Gzip(tar)[:500], problem: "no tar (read as gzip: unexpected EOF)"},
		{name: "gzip with another checksum", blob: flip(storetest.Gzip(tar), -6), problem: "checksum"},
		{name: "gzip header only", blob: storetest.Gzip(tar)[:5], problem: "no tar (read as gzip"},
		{name: "cut zstd", blob: storetest.Zstd(tar)[:500], problem: "no tar (read as zstd"},
		{name: "gzip bomb", blob: storetest.Gzip(zeros), problem: "more than 100 times its own size"},
		{name: "zstd bomb", blob: storetest.Zstd(zeros), problem: "more than 100 times its own size"},
		{name: "too large", blob: append(bytes.Clone(tar), make([]byte, 4<<20)...), problem: "more than 4194304 bytes"},
		{name: "zstd with a large window", blob: largeWindow(t, tar), problem: "window size exceeded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := small.examine(iotest.OneByteReader(bytes.NewReader(c.blob)), int64(len(c.blob)), digest.SHA256)
			if err != nil {
				t.Fatal(err)
			}
			if c.problem != "" {
				if !strings.Contains(f.problem, c.problem) || f.diffID != "" {
					t.Errorf("found %+v", f)
				}
				return
			}
			if want := digest.FromBytes(c.tar); f.problem != "" || f.diffID != want || f.size != int64(len(c.tar)) {
				t.Errorf("found %+v, want %s, %d bytes", f, want, len(c.tar))
			}
		})
	}
}

func flip(b []byte, at int) []byte {
	b[len(b)+at] ^= 1
	return b
}

// largeWindow is a frame that asks for a window of 128 MiB: what zstd makes
// with --long=27.
func largeWindow(t *testing.T, b []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := zstd.NewWriter(&buf, zstd.WithWindowSize(128<<20), zstd.WithSingleSegment(false))
	if err != nil {
		t.Fatal(err)
	}
	// Written in two steps, so that the frame does not know its size.
	for _, part := range [][]byte{b[:100], b[100:]} {
		if _, err := w.Write(part); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestDigestIsOfTheAlgorithmAskedFor(t *testing.T) {
	tar := storetest.Tar(10, "a")
	f, err := Options{}.withDefaults().examine(bytes.NewReader(tar), int64(len(tar)), digest.SHA512)
	if err != nil || f.diffID != digest.SHA512.FromBytes(tar) {
		t.Errorf("found %+v, %v", f, err)
	}
}

// What is wrong with reading says nothing of the blob.
func TestErrorOfTheReaderIsNoFinding(t *testing.T) {
	broken := errors.New("broken")
	tar := storetest.Tar(1000, "a")
	for _, blob := range [][]byte{tar, storetest.Gzip(tar), storetest.Zstd(tar)} {
		for _, n := range []int{0, 1, 3, 20, 600} {
			r := io.MultiReader(bytes.NewReader(blob[:n]), iotest.ErrReader(broken))
			f, err := Options{}.withDefaults().examine(r, int64(len(blob)), digest.SHA256)
			if !errors.Is(err, broken) {
				t.Errorf("after %d bytes: found %+v, %v", n, f, err)
			}
		}
	}
}

func FuzzExamine(f *testing.F) {
	tar := storetest.Tar(300, "a", "b/c")
	for _, b := range [][]byte{nil, tar, storetest.Gzip(tar), storetest.Zstd(tar), storetest.Gzip(tar)[:300], []byte("x")} {
		f.Add(b)
	}
	o := Options{MaxSize: 1 << 20, MaxWindow: 1 << 20}.withDefaults()
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := o.examine(bytes.NewReader(b), int64(len(b)), digest.SHA256)
		if err != nil {
			t.Fatalf("an error for bytes that can be read: %v", err)
		}
		if (got.diffID == "") == (got.problem == "") {
			t.Fatalf("found %+v", got)
		}
		if got.size > o.MaxSize {
			t.Fatalf("found %d bytes", got.size)
		}
	})
}
