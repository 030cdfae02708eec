package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// settingsOf returns the value that a flag of a command has.
func settingsOf(t *testing.T, c *cli, flag string, args ...string) (string, error) {
	t.Helper()
	a := &app{out: io.Discard, err: io.Discard, getenv: func(k string) (string, bool) { v, ok := c.env[k]; return v, ok }}
	root := a.root()
	value := ""
	for _, cmd := range root.Commands() {
		cmd.RunE = func(cmd *cobra.Command, _ []string) error {
			value = cmd.Flag(flag).Value.String()
			return nil
		}
	}
	root.SetArgs(args)
	return value, root.Execute()
}

func writeConfig(t *testing.T, c *cli, text string) string {
	t.Helper()
	dir := filepath.Join(c.env["XDG_CONFIG_HOME"], "lamina")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "lamina.toml")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestWhichSettingCounts(t *testing.T) {
	c := newCLI(t)
	check := func(flag, want string, args ...string) {
		t.Helper()
		if got, err := settingsOf(t, c, flag, args...); err != nil || got != want {
			t.Errorf("%v: --%s is %q, want %q (%v)", args, flag, got, want, err)
		}
	}
	check("http", "127.0.0.1:5000", "serve")
	writeConfig(t, c, `
http = "file:1"
server = "file:2"
plain-http = ["a:1", "b:2"]
parallel = 7
no-wait = true
[snapshotter]
server = "file:3"
socket = "/file/socket"
[images]
output = "json"
`)
	check("http", "file:1", "serve")
	check("server", "file:2", "usage")
	check("server", "file:3", "snapshotter")
	check("plain-http", "[a:1,b:2]", "push", "a", "b")
	check("parallel", "7", "pull", "a", "b")
	check("no-wait", "true", "push", "a", "b")
	check("output", "json", "images")
	check("output", "text", "usage")
	check("socket", "/file/socket", "snapshotter")
	// Who moves the socket does not have to tell it twice.
	check("socket", "/file/socket", "commit", "a", "b")

	c.env["LAMINA_HTTP"] = "env:1"
	c.env["LAMINA_PLAIN_HTTP"] = "c:3,d:4"
	c.env["LAMINA_SERVER"] = "env:3"
	check("http", "env:1", "serve")
	check("plain-http", "[c:3,d:4]", "push", "a", "b")
	check("server", "env:3", "snapshotter")
	check("http", "flag:1", "serve", "--http", "flag:1")
	check("plain-http", "[e:5]", "push", "a", "b", "--plain-http", "e:5")

	// A file that is named is the only one that is read.
	other := filepath.Join(t.TempDir(), "other.toml")
	if err := os.WriteFile(other, []byte(`metrics = "other:1"`), 0o644); err != nil {
		t.Fatal(err)
	}
	check("metrics", "other:1", "serve", "--config", other)
	check("parallel", "4", "pull", "a", "b", "--config", other)
	c.env["LAMINA_CONFIG"] = other
	check("metrics", "other:1", "serve")
}

func TestBadSettings(t *testing.T) {
	for text, says := range map[string]string{
		`buckt = "x"`:                   `lamina.toml: unknown key "buckt"`,
		"[snapshotter]\nserfer = \"x\"": `lamina.toml: unknown key "serfer" in [snapshotter]`,
		"[snapshoter]\nserver = \"x\"":  `lamina.toml: unknown table [snapshoter]`,
		"[serve]\nhelp = true":          `unknown key "help" in [serve]`,
		`config = "x"`:                  `unknown key "config"`,
		"\nhttp = \n":                   `lamina.toml:2: `,
		`parallel = "many"`:             `lamina.toml: parallel: "many": `,
		`server = ["a", "b"]`:           `lamina.toml: server: it is a list`,
		`output = "yaml"`:               `--output "yaml" is neither text nor json`,
		"[version]\noutput = \"html\"":  `--output "html" is neither`,
		strings.Repeat("#\n", 600_000):  `allowed are 1048576`,
	} {
		c := newCLI(t)
		writeConfig(t, c, text)
		args := []string{"push", "oci:x", "y"}
		if strings.Contains(text, "version") {
			args = []string{"version"}
		}
		if got := c.fails(2, args...); !strings.Contains(got, says) {
			t.Errorf("%.40q: %s does not say %q", text, got, says)
		}
	}
	c := newCLI(t)
	if got := c.fails(2, "version", "--config", "/nowhere.toml"); !strings.Contains(got, "/nowhere.toml") {
		t.Error(got)
	}
	c.env["LAMINA_PARALLEL"] = "x"
	if got := c.fails(2, "push", "oci:x", "y"); !strings.Contains(got, "LAMINA_PARALLEL") {
		t.Error(got)
	}
}

// The example that is shipped is read, as it is and with every line in it
// that shows a default.
func TestTheShippedFileIsRead(t *testing.T) {
	raw, err := os.ReadFile("../../deploy/lamina.toml")
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile(`(?m)^#([a-z][a-z0-9-]* = )`).ReplaceAll(raw, []byte("$1"))
	if bytes.Count(all, []byte("=")) < 7 || bytes.Equal(all, raw) {
		t.Errorf("no lines were found that show defaults:\n%s", all)
	}
	for _, text := range [][]byte{raw, all} {
		c := newCLI(t)
		writeConfig(t, c, string(text))
		for _, cmd := range []string{"serve", "snapshotter"} {
			for flag, want := range defaults(t, cmd) {
				got, err := settingsOf(t, c, flag, cmd)
				if err != nil || got != want {
					t.Errorf("%s --%s: the file says %q, the default is %q (%v)", cmd, flag, got, want, err)
				}
			}
		}
	}
}

func defaults(t *testing.T, name string) map[string]string {
	t.Helper()
	a := &app{out: io.Discard, err: io.Discard, getenv: os.LookupEnv}
	values := map[string]string{}
	for _, cmd := range a.root().Commands() {
		if cmd.Name() == name {
			cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
				if f.Name != "help" {
					values[f.Name] = f.DefValue
				}
			})
		}
	}
	return values
}

func TestEveryFlagCanBeSetEverywhere(t *testing.T) {
	a := &app{out: io.Discard, err: io.Discard, getenv: os.LookupEnv}
	for _, cmd := range a.root().Commands() {
		if cmd.Name() == "help" || cmd.Name() == "completion" {
			continue
		}
		cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name == "help" {
				return
			}
			if !strings.Contains(f.Usage, "[$"+envName(f.Name)+"]") {
				t.Errorf("%s --%s: its help does not tell its variable", cmd.Name(), f.Name)
			}
			if !hasFlag(cmd, f.Name) {
				t.Errorf("%s --%s is no key of a file", cmd.Name(), f.Name)
			}
		})
	}
}
