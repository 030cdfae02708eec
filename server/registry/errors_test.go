package registry

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
)

// specified are the codes that an answer with a status below 500 may have
// (distribution specification, "Error Codes").
var specified = strings.Fields(`BLOB_UNKNOWN BLOB_UPLOAD_INVALID BLOB_UPLOAD_UNKNOWN DIGEST_INVALID
	MANIFEST_BLOB_UNKNOWN MANIFEST_INVALID MANIFEST_UNKNOWN NAME_INVALID NAME_UNKNOWN SIZE_INVALID
	UNAUTHORIZED DENIED UNSUPPORTED TOOMANYREQUESTS`)

func TestEveryRowIsWhatTheSpecificationAllows(t *testing.T) {
	for _, r := range table {
		if r.status < 500 && !slices.Contains(specified, r.code) {
			t.Errorf("%v: code %s", r.class, r.code)
		}
		if http.StatusText(r.status) == "" {
			t.Errorf("%v: status %d", r.class, r.status)
		}
		if (r.status == http.StatusServiceUnavailable || r.status == http.StatusTooManyRequests) && r.retry == 0 {
			t.Errorf("%v: %d without Retry-After", r.class, r.status)
		}
		if r.status >= 500 && r.message == "" {
			t.Errorf("%v: the client is told what the bucket says", r.class)
		}
		for _, err := range []error{fmt.Errorf("wrapped: %w", r.class), &blobstore.Error{Class: r.class, Err: io.EOF}} {
			if got := classify(err); got != r {
				t.Errorf("%v: is taken for %v", err, got.class)
			}
		}
	}
}

// unreachable are the classes that no request over HTTP can meet, or that the
// store turns into others: where one comes through the server is at fault.
var unreachable = []error{
	blobstore.ErrSnapshotUnknown, blobstore.ErrSnapshotInvalid, blobstore.ErrNodeInvalid, blobstore.ErrNodeTaken,
	bucket.ErrNotExist, bucket.ErrPrecondition, bucket.ErrRange, bucket.ErrSize, bucket.ErrNoUpload, bucket.ErrPart, bucket.ErrKey,
}

// A class that somebody adds to the store must be given a code here.
func TestEveryClassHasARow(t *testing.T) {
	known := map[string]bool{}
	for _, r := range table {
		known[r.class.Error()] = true
	}
	for _, err := range unreachable {
		known[err.Error()] = true
		if classify(err).status != http.StatusInternalServerError {
			t.Errorf("%v has a row", err)
		}
	}
	known["invalid reference"] = true // of package reference: people type references, paths have none
	for _, dir := range []string{"../../blobstore", "../../blobstore/bucket", "../../reference"} {
		texts := sentinels(t, dir)
		if len(texts) < 3 {
			t.Errorf("%s: only %d classes of error found; does the test still read them?", dir, len(texts))
		}
		for _, text := range texts {
			if !known[text] {
				t.Errorf("%s: %q has no row in the table", dir, text)
			}
		}
	}
}

// sentinels reads the texts of the exported `Err… = errors.New("text")` in dir.
func sentinels(t *testing.T, dir string) (texts []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok || len(v.Values) != 1 || !strings.HasPrefix(v.Names[0].Name, "Err") {
				return true
			}
			if call, ok := v.Values[0].(*ast.CallExpr); ok && len(call.Args) == 1 {
				if lit, ok := call.Args[0].(*ast.BasicLit); ok {
					text, err := strconv.Unquote(lit.Value)
					if err != nil {
						t.Fatal(err)
					}
					texts = append(texts, text)
				}
			}
			return true
		})
	}
	return texts
}

func TestTheClassGoesBeforeItsCause(t *testing.T) {
	err := &blobstore.Error{Class: blobstore.ErrUploadUnknown, Err: fmt.Errorf("get: %w", bucket.ErrUnavailable)}
	if r := classify(fmt.Errorf("x: %w", err)); r.code != codeUploadUnknown {
		t.Errorf("%+v", r)
	}
}

func TestFaultsOfTheServerAreNotTold(t *testing.T) {
	for _, err := range []error{errors.New("secret"), fmt.Errorf("PUT https://secret/: %w", bucket.ErrUnavailable), fmt.Errorf("secret: %w", bucket.ErrFull)} {
		if e := classify(err).entries(err); len(e) != 1 || strings.Contains(e[0].Message, "secret") || e[0].Message == "" {
			t.Errorf("%v: %+v", err, e)
		}
	}
}

func TestEachMissingBlobIsAnError(t *testing.T) {
	var digests []string
	for i := range maxEntries + 5 {
		digests = append(digests, fmt.Sprintf("sha256:%064d", i))
	}
	err := &blobstore.Error{Class: blobstore.ErrManifestBlobUnknown, Facts: map[string]string{"missing": strings.Join(digests, " ")}}
	got := classify(err).entries(err)
	if len(got) != maxEntries || got[1].Code != codeManifestBlobUnknown || got[1].Detail.(map[string]string)["digest"] != digests[1] || !strings.Contains(got[1].Message, digests[1]) {
		t.Errorf("%d entries: %+v", len(got), got[:min(len(got), 2)])
	}
}
