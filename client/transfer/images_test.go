package transfer

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// tarDir packs a folder as `tar -C dir -cf name .` would.
func tarDir(t testing.TB, dir string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "archive.tar")
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func mustParse(t testing.TB, s string) Location {
	t.Helper()
	l, err := ParseLocation(s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// copyImage copies between places written as on the command line.
func copyImage(t testing.TB, src, dst string, o Options) (Result, error) {
	t.Helper()
	ctx := t.Context()
	s, err := Open(ctx, mustParse(t, src), OpenOptions{Copy: o})
	if err != nil {
		return Result{}, err
	}
	defer s.Close()
	d, err := Create(ctx, mustParse(t, dst), OpenOptions{})
	if err != nil {
		return Result{}, err
	}
	defer d.Close()
	return Copy(ctx, d, s, o)
}

func mustCopy(t testing.TB, src, dst string, o Options) Result {
	t.Helper()
	r, err := copyImage(t, src, dst, o)
	if err != nil {
		t.Fatalf("%s → %s: %v", src, dst, err)
	}
	return r
}
