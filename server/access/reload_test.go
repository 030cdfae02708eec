package access_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/laminastore/lamina/server/access"
	"github.com/laminastore/lamina/server/access/accesstest"
)

func TestAReloadTakesRightsFromTokensThatAreOut(t *testing.T) {
	w := newWorld(t)
	tok := map[string]string{}
	for _, c := range []accesstest.Caller{w.Owner, w.Writer, w.CI, w.Robot, w.Node} {
		tok[c.Name] = token(t, w.Control, c, "repository:team/app:pull,push,delete")
	}
	caller := func(name string) *access.Caller {
		t.Helper()
		c, err := w.bearer(w.Control, t, tok[name])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return c
	}
	refused := func(names ...string) {
		t.Helper()
		for _, name := range names {
			if _, err := w.bearer(w.Control, t, tok[name]); !errors.Is(err, access.ErrCredentials) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if !caller("owner").May(access.Delete, app) {
		t.Fatal("the owner may not delete")
	}
	w.edit(t, `actions = ["pull", "push", "delete"]`, `actions = ["pull", "push"]`)
	if c := caller("owner"); c.May(access.Delete, app) || !c.May(access.Push, app) {
		t.Error("the right to delete was taken away, and works")
	}
	w.edit(t, `"group:pipelines"`, `"group:others"`)
	if c := caller("ci"); c.May(access.Pull, app) {
		t.Error("a group's right was taken away, and works")
	}
	w.edit(t, `nodes = "*.nodes.test"`, `nodes = "*.other.test"`)
	if c := caller("node"); c.Is(access.Node) || c.NodeID() != "" || c.May(access.Pull, app) {
		t.Error("it is a node no more, and is one")
	}
	// A user who is deleted.
	accesstest.WriteHtpasswd(t, filepath.Join(filepath.Dir(w.File), "htpasswd"), "owner")
	w.edit(t, "[users]", "\n[users]")
	refused("writer")
	caller("owner")
	// A way to log in that is given up.
	w.edit(t, "[users]\nhtpasswd", "#", "[certificates]\nca", "#", "nodes = ", "#")
	refused("owner", "robot", "node")
	caller("ci")
	text, err := os.ReadFile(w.File)
	if err != nil {
		t.Fatal(err)
	}
	w.edit(t, string(text[:strings.Index(string(text), "[groups]")]), "", `, "group:others"`, "")
	refused("ci")
}

func TestABrokenConfigurationChangesNothing(t *testing.T) {
	w := newWorld(t)
	if err := os.WriteFile(w.File, []byte("[user]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.Control.Reload(t.Context()); !errors.Is(err, access.ErrConfig) || !strings.Contains(err.Error(), w.File+":1:") {
		t.Errorf("got %v", err)
	}
	if c, err := w.Control.Identify(t.Context(), w.Owner.Credentials()); err != nil || !c.May(access.Delete, app) {
		t.Error(err)
	}
}

// told passes on each line of a log.
type told chan string

func (c told) Write(p []byte) (int, error) {
	c <- string(p)
	return len(p), nil
}

func TestChangedFilesAreReadByThemselves(t *testing.T) {
	w := newWorld(t)
	lines := make(told, 100)
	c := accesstest.Open(t, w.File, access.Options{Bucket: w.bucket, Every: time.Millisecond, Logger: slog.New(slog.NewTextHandler(lines, nil))})
	// Whole, by a rename: it looks at any time.
	users := filepath.Join(filepath.Dir(w.File), "htpasswd")
	accesstest.WriteHtpasswd(t, users+".new", "reader", "newcomer")
	if err := os.Rename(users+".new", users); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(<-lines, "access configuration was read again") {
	}
	who := access.Credentials{Authorization: accesstest.Basic("newcomer", accesstest.Password("newcomer"))}
	if _, err := c.Identify(t.Context(), who); err != nil {
		t.Error(err)
	}
	// One that is broken is told of, once, and changes nothing.
	if err := os.WriteFile(w.File+".new", []byte("[user]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(w.File+".new", w.File); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(<-lines, "the old one goes on") {
	}
	if _, err := c.Identify(t.Context(), who); err != nil {
		t.Error(err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if n := len(lines); n > 0 {
		t.Errorf("%d more lines, first %s", n, <-lines)
	}
}

func TestNoSecretsInTheLog(t *testing.T) {
	w := newWorld(t)
	own := token(t, w.Control, w.Owner, "repository:team/app:pull")
	secrets := []string{own, w.CI.Authorization[len("Bearer "):], accesstest.Password("reader"), "hunter2", "$2"}
	for _, c := range append(w.All(), w.Refused()...) {
		_, _ = w.Control.Identify(t.Context(), c.Credentials())
		get(t, w.Control, c, "repository:team/app:pull")
		if c.Authorization != "" {
			secrets = append(secrets, strings.Fields(c.Authorization)[1])
		}
	}
	for _, a := range []string{
		"hunter2", "hunter2 hunter2", "Bearer hunter2", "Basic hunter2", accesstest.Basic("reader", "hunter2"), accesstest.Basic("hunter2", ""),
		accesstest.Basic("_token", own), "Bearer " + own + "x", "Bearer " + own[2:], "Digest username=hunter2",
	} {
		_, err := w.Control.Identify(t.Context(), access.Credentials{Authorization: a})
		if !errors.Is(err, access.ErrCredentials) {
			t.Errorf("%.20q: %v", a, err)
		}
		if err != nil {
			w.log.logger().Info("error", "error", err)
		}
	}
	w.breakBucket()
	_, _ = w.bearer(w.server(t), t, own)
	get(t, w.server(t), w.Owner)
	w.Issuer.Down.Store(true)
	_, _ = w.bearer(w.server(t), t, w.Issuer.Token("ci"))
	// What is between the dots of a token is a secret as well.
	for _, s := range secrets {
		for part := range strings.SplitSeq(s, ".") {
			if len(part) > 8 && strings.Contains(w.log.String(), part) || strings.Contains(w.log.String(), s) {
				t.Errorf("the log has %q", part)
			}
		}
	}
	if w.log.String() == "" {
		t.Error("nothing is logged")
	}
}

func TestEverythingAtOnce(t *testing.T) {
	w := newWorld(t)
	other := w.server(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var reloads, callers sync.WaitGroup
	reloads.Go(func() {
		for ctx.Err() == nil {
			if err := w.Control.Reload(ctx); err != nil {
				t.Error(err)
			}
			_ = w.Control.Warnings()
		}
	})
	for _, c := range append(w.All(), w.Refused()...) {
		callers.Go(func() {
			for range 10 {
				caller, err := w.Control.Identify(ctx, c.Credentials())
				if (err != nil) != (c.Subject == "") || err != nil && !errors.Is(err, access.ErrCredentials) {
					t.Errorf("%s: %v", c.Name, err)
				}
				if err != nil {
					continue
				}
				if caller.Subject() != c.Subject {
					t.Errorf("%s is %s", c.Name, caller.Subject())
				}
				tok := token(t, w.Control, c, "repository:team/app:pull")
				if _, err := w.bearer(other, t, tok); err != nil {
					t.Errorf("%s: %v", c.Name, err)
				}
			}
		})
	}
	callers.Wait()
	stop()
	reloads.Wait()
}
