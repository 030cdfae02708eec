package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/server/servertest"
)

func TestExampleRuns(t *testing.T) {
	s := servertest.Start(t, servertest.Options{})
	for _, size := range []int{0, 5, 3<<20 + 1, 4 << 20} {
		data := bytes.Repeat([]byte("x"), size)
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := run(t.Context(), &out, s.GRPC, "demo/app", path); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("stored %s %d\nread %d\nas expected: BLOB_UNKNOWN map[subject:sha256:%064d]\n", digest.FromBytes(data), size, size, 0)
		if out.String() != want {
			t.Errorf("printed %s, want %s", &out, want)
		}
	}
}
