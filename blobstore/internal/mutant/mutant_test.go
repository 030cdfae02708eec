package mutant_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/laminastore/lamina/blobstore/internal/mutant"
)

func TestNoneIsActive(t *testing.T) {
	if mutant.OneStep.On() || !mutant.None.On() {
		t.Error("one is active in a process that has set none")
	}
	restore := mutant.Set(mutant.OneStep)
	if !mutant.OneStep.On() {
		t.Error("set, and not active")
	}
	if restore(); mutant.OneStep.On() {
		t.Error("taken back, and active")
	}
}

// Only tests may make one active: no other file calls Set.
func TestOnlyTestsSetOne(t *testing.T) {
	root := filepath.Join("..", "..", "..")
	seen := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range f.Imports {
			if p, _ := strconv.Unquote(i.Path.Value); !strings.HasSuffix(p, "blobstore/internal/mutant") {
				continue
			}
			seen++
			if b, err := os.ReadFile(path); err != nil || strings.Contains(string(b), "mutant.Set") {
				t.Errorf("%s makes a mutant active (%v)", path, err)
			}
		}
		return nil
	})
	if err != nil || seen == 0 {
		t.Errorf("%d files import it: %v", seen, err)
	}
}
