package registry

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/reference"
)

// documented are the rows of docs/http.md's table of errors, in their order.
func documented() []string {
	var rows []string
	for _, r := range table {
		retry := ""
		if r.retry > 0 {
			retry = fmt.Sprintf("%d s", r.retry)
		}
		rows = append(rows, fmt.Sprintf("| %d | `%s` | %v | %s |", r.status, r.code, r.class, retry))
	}
	return append(rows, fmt.Sprintf("| %d | `%s` | anything else: a fault of the server | |", internalError.status, internalError.code))
}

func TestThePageOnHTTPSaysWhatTheErrorsAre(t *testing.T) {
	raw, err := os.ReadFile("../../docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(raw), "| status | code | when | Retry-After |\n|---|---|---|---|\n")
	if !ok {
		t.Fatal("docs/http.md has no table of errors")
	}
	got, _, _ := strings.Cut(rest, "\n\n")
	if want := strings.Join(documented(), "\n"); strings.TrimSpace(got) != want {
		t.Errorf("the table of errors in docs/http.md is not what errors.go has; it should be\n%s", want)
	}
}

func TestThePageOnHTTPSaysWhatTheLimitsAre(t *testing.T) {
	raw, err := os.ReadFile("../../docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{
		fmt.Sprintf("| repository name | %d characters |", reference.MaxRepositoryLength),
		fmt.Sprintf("| part of it between slashes | %d characters |", reference.MaxPartLength),
		fmt.Sprintf("| tag | %d characters |", reference.MaxTagLength),
		fmt.Sprintf("| manifest | %d MiB |", images.MaxManifestSize>>20),
		fmt.Sprintf("| descriptors in a manifest | %d |", images.MaxDescriptors),
		fmt.Sprintf("| blobs that an index names through its manifests | %d |", images.MaxNamed),
		fmt.Sprintf("| tags pushed with one manifest | %d |", images.MaxTags),
		fmt.Sprintf("| ranges in one request | %d |", maxRanges),
		fmt.Sprintf("| names on a page | %d |", MaxPage),
		fmt.Sprintf("valid for %d minutes", int(redirectLasts.Minutes())),
		fmt.Sprintf("up to %d. With `Retry-After`", maxEntries),
	} {
		if !strings.Contains(string(raw), row) {
			t.Errorf("docs/http.md does not have %q", row)
		}
	}
}
