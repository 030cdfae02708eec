package access_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/server/access"
	"github.com/laminastore/lamina/server/access/accesstest"
)

func TestTheFileInTheDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../docs/access.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```toml\n")
	conf, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("it has no file")
	}
	dir := t.TempDir()
	ca := accesstest.NewCA(t)
	if err := os.Rename(ca.File, filepath.Join(dir, "clients-ca.pem")); err != nil {
		t.Fatal(err)
	}
	accesstest.WriteHtpasswd(t, filepath.Join(dir, "htpasswd"), "alice", "bob")
	file := filepath.Join(dir, "access.toml")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	c := accesstest.Open(t, file, access.Options{Bucket: memory.New(memory.Options{})})
	for who, may := range map[string]bool{"alice": true, "bob": false} {
		caller, err := c.Identify(t.Context(), access.Credentials{Authorization: accesstest.Basic(who, accesstest.Password(who))})
		if err != nil || !caller.May(access.Pull, "team/app") || caller.May(access.Push, "team/app") != may || caller.Is(access.Operator) != may {
			t.Errorf("%s: %v, %v", who, caller, err)
		}
	}
}
