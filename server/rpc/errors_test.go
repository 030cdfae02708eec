package rpc

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/reference"
)

// sentinels reads the texts of the package-level `… = errors.New("text")` out
// of the sources in dir: what a program cannot list of itself.
func sentinels(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no sources in %s: %v", dir, err)
	}
	found := map[string]string{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range f.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok || gen.Tok != token.VAR {
				continue
			}
			for _, spec := range gen.Specs {
				vs := spec.(*ast.ValueSpec)
				for i, v := range vs.Values {
					call, ok := v.(*ast.CallExpr)
					if !ok || len(call.Args) != 1 {
						continue
					}
					sel, ok := call.Fun.(*ast.SelectorExpr)
					if !ok || sel.Sel.Name != "New" {
						continue
					}
					lit, ok := call.Args[0].(*ast.BasicLit)
					if x, isErrors := sel.X.(*ast.Ident); !ok || !isErrors || x.Name != "errors" {
						continue
					}
					text, err := strconv.Unquote(lit.Value)
					if err != nil {
						t.Fatal(err)
					}
					found[vs.Names[i].Name] = text
				}
			}
		}
	}
	return found
}

// A class that somebody adds to the store must be given a code here.
func TestEveryClassHasARow(t *testing.T) {
	rows := map[string]int{}
	for _, r := range table {
		rows[r.class.Error()]++
	}
	for _, dir := range []string{"../../blobstore", "../../blobstore/bucket", "../../reference", "."} {
		classes := sentinels(t, dir)
		if len(classes) < 3 {
			t.Errorf("%s: only %d classes of error found; does the test still read them?", dir, len(classes))
		}
		for name, text := range classes {
			if !ast.IsExported(name) && dir != "." {
				continue
			}
			switch rows[text] {
			case 1:
			case 0:
				t.Errorf("%s: %s (%q) has no row in the table", dir, name, text)
			default:
				t.Errorf("%s: %s (%q) has %d rows, or shares its text with another class", dir, name, text, rows[text])
			}
		}
	}
}

func TestEveryRowReachesTheClient(t *testing.T) {
	for _, r := range table {
		for name, err := range map[string]error{
			"wrapped":  fmt.Errorf("while testing: %w", r.class),
			"as class": &blobstore.Error{Class: r.class, Subject: "thing", Err: io.ErrUnexpectedEOF, Facts: map[string]string{"actual": "x"}},
		} {
			s := toStatus(t.Context(), err, "id")
			if s.Code() != r.code {
				t.Errorf("%v %s: code %v, want %v", r.class, name, s.Code(), r.code)
			}
			info := detail[*errdetails.ErrorInfo](t, s.Details())
			if "REASON_"+info.Reason != r.reason.String() || info.Domain != Domain {
				t.Errorf("%v %s: reason %q of domain %q, want %v", r.class, name, info.Reason, info.Domain, r.reason)
			}
			if r.code != codes.Internal && name == "as class" && (info.Metadata["subject"] != "thing" || info.Metadata["actual"] != "x") {
				t.Errorf("%v: metadata %v", r.class, info.Metadata)
			}
			if retry := detail[*errdetails.RetryInfo](t, s.Details()); (retry != nil) != (r.retry > 0) {
				t.Errorf("%v: retry info %v", r.class, retry)
			}
		}
		if r.code == codes.Unavailable && r.retry == 0 {
			t.Errorf("%v is UNAVAILABLE, but nobody is told when to try again", r.class)
		}
	}
}

// Every reason of the API is one that some row gives, so that none is only
// promised. Two belong to the snapshotter, which serves Containers.
func TestEveryReasonIsUsed(t *testing.T) {
	used := map[pb.Reason]bool{
		pb.Reason_REASON_UNSPECIFIED:       true,
		pb.Reason_REASON_CONTAINER_UNKNOWN: true,
		pb.Reason_REASON_CONTAINER_BUSY:    true,
	}
	for _, r := range table {
		used[r.reason] = true
	}
	for n, name := range pb.Reason_name {
		if !used[pb.Reason(n)] {
			t.Errorf("%s: no row has it", name)
		}
	}
}

func detail[T proto.Message](t *testing.T, details []any) T {
	t.Helper()
	var none T
	for _, d := range details {
		if m, ok := d.(T); ok {
			return m
		}
	}
	return none
}

func TestTheClassGoesBeforeItsCause(t *testing.T) {
	err := &blobstore.Error{Class: blobstore.ErrUploadUnknown, Err: fmt.Errorf("get: %w", bucket.ErrNotExist)}
	if s := toStatus(t.Context(), fmt.Errorf("x: %w", err), ""); s.Code() != codes.NotFound {
		t.Errorf("code %v", s.Code())
	}
	_, perr := reference.Parse("a/b@md5:d41d8cd98f00b204e9800998ecf8427e")
	if s := toStatus(t.Context(), perr, ""); detail[*errdetails.ErrorInfo](t, s.Details()).Reason != "DIGEST_UNSUPPORTED" {
		t.Errorf("%v", s)
	}
}

func TestFaultsOfTheServerAreNotTold(t *testing.T) {
	s := toStatus(t.Context(), errors.New("secret"), "req-7")
	if s.Code() != codes.Internal || strings.Contains(s.Message(), "secret") || !strings.Contains(s.Message(), "req-7") {
		t.Errorf("%v", s)
	}
	if id := detail[*errdetails.ErrorInfo](t, s.Details()).Metadata["request_id"]; id != "req-7" {
		t.Errorf("request_id %q", id)
	}
}

// A bucket call that the caller's own deadline cut off is no fault of the bucket.
func TestTheCallersContextIsTheReason(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	err := fmt.Errorf("%w: %w", bucket.ErrUnavailable, context.Canceled)
	if s := toStatus(ctx, err, ""); s.Code() != codes.Unavailable {
		t.Errorf("caller waits: %v", s)
	}
	cancel()
	if s := toStatus(ctx, err, ""); s.Code() != codes.Canceled {
		t.Errorf("caller gone: %v", s)
	}
}

func TestMissingBlobsAreListed(t *testing.T) {
	var digests []string
	for i := range maxViolations + 5 {
		digests = append(digests, fmt.Sprintf("sha256:%064d", i))
	}
	s := toStatus(t.Context(), &blobstore.Error{
		Class: blobstore.ErrManifestBlobUnknown, Subject: "sha256:m", Facts: map[string]string{"missing": strings.Join(digests, " ")},
	}, "")
	f := detail[*errdetails.PreconditionFailure](t, s.Details())
	if f == nil || len(f.Violations) != maxViolations || f.Violations[1].Subject != digests[1] || f.Violations[0].Type != "MANIFEST_BLOB_UNKNOWN" {
		t.Fatalf("%v", f)
	}
	if n := detail[*errdetails.ErrorInfo](t, s.Details()).Metadata["missing"]; n != strconv.Itoa(len(digests)) {
		t.Errorf("missing %q", n)
	}
}

// Trailers beyond 8 KiB are dropped by many clients, and the error with them.
func TestErrorsFitIntoTrailers(t *testing.T) {
	long := strings.Repeat("\xffx", 5000)
	var missing []string
	for range 1000 {
		missing = append(missing, "sha512:"+strings.Repeat("f", 128))
	}
	s := toStatus(t.Context(), &blobstore.Error{
		Class: blobstore.ErrManifestBlobUnknown, Subject: long, Detail: long, Remedy: long,
		Facts: map[string]string{"missing": strings.Join(missing, " "), "actual": long},
	}, "")
	if len(s.Details()) != 2 {
		t.Fatalf("%d details: some could not be encoded", len(s.Details()))
	}
	// The message goes by itself and with the details, which are in base64.
	if n := len(s.Message()) + proto.Size(s.Proto())*4/3; n > 8<<10-512 {
		t.Errorf("%d bytes", n)
	}
}
