package snapshotter_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"

	"github.com/laminastore/lamina/internal/failpoint"
	"github.com/laminastore/lamina/internal/needs"
)

// A step is one call of a client, and what it changes.
type step struct {
	name string
	call func(ctx context.Context, s api) error
	// then changes the state as the call does, when it succeeds.
	then func(state)
	// done recognises the answer of a call that is repeated, having succeeded.
	done func(error) bool
}

// state is what a client knows: the snapshots, and what is in a file of each.
type state map[string]known

type known struct {
	kind    snapshots.Kind
	parent  string
	label   string
	content string
}

func prepareStep(key, parent, content string) step {
	return step{
		name: "prepare " + key,
		call: func(ctx context.Context, s api) error {
			mounts, err := s.Prepare(ctx, key, parent, snapshots.WithLabels(map[string]string{"label": key}))
			if err != nil {
				return err
			}
			return write(mounts, key, content)
		},
		then: func(st state) { st[key] = known{snapshots.KindActive, parent, key, content} },
		done: errdefs.IsAlreadyExists,
	}
}

func viewStep(key, parent string) step {
	return step{
		name: "view " + key,
		call: func(ctx context.Context, s api) error {
			_, err := s.View(ctx, key, parent)
			return err
		},
		then: func(st state) { st[key] = known{kind: snapshots.KindView, parent: parent} },
		done: errdefs.IsAlreadyExists,
	}
}

func commitStep(name, key string) step {
	return step{
		name: "commit " + name,
		call: func(ctx context.Context, s api) error {
			return s.Commit(ctx, name, key, snapshots.WithLabels(map[string]string{"label": name}))
		},
		then: func(st state) {
			was := st[key]
			delete(st, key)
			st[name] = known{snapshots.KindCommitted, was.parent, name, was.content}
		},
		done: errdefs.IsNotFound,
	}
}

func updateStep(name, label string) step {
	return step{
		name: "update " + name,
		call: func(ctx context.Context, s api) error {
			_, err := s.Update(ctx, snapshots.Info{Name: name, Labels: map[string]string{"label": label}}, "labels.label")
			return err
		},
		then: func(st state) {
			k := st[name]
			k.label = label
			st[name] = k
		},
	}
}

func removeStep(key string) step {
	return step{
		name: "remove " + key,
		call: func(ctx context.Context, s api) error { return s.Remove(ctx, key) },
		then: func(st state) { delete(st, key) },
		done: errdefs.IsNotFound,
	}
}

func cleanupStep() step {
	return step{
		name: "cleanup",
		call: func(ctx context.Context, s api) error { return s.Cleanup(ctx) },
		then: func(state) {},
	}
}

// A day in the life of a node: an image is pulled, containers come and go.
var day = []step{
	prepareStep("extract app", "base", "app"),
	commitStep("app", "extract app"),
	updateStep("app", "changed"),
	prepareStep("web", "app", "web"),
	prepareStep("job", "app", "job"),
	viewStep("look", "app"),
	removeStep("look"),
	removeStep("job"),
	cleanupStep(),
	prepareStep("job", "base", "job again"),
	commitStep("saved", "web"),
	removeStep("job"),
}

// TestACrashAtEveryStep kills the service at each of its failpoints, each time
// that the day below passes it, and starts it again. Nothing that a client was
// told may be lost, nothing be there that it did not ask for, on disk neither;
// and the client repeats its last call and goes on.
func TestACrashAtEveryStep(t *testing.T) {
	needs.Root(t)
	for _, name := range failpoint.Names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for n := 1; crash(t, fmt.Sprintf("%s:%d", name, n)); n++ {
				if t.Failed() {
					return
				}
			}
		})
	}
}

// crash lives one day with a failpoint, and tells whether it was passed.
func crash(t *testing.T, point string) (crashed bool) {
	dir := tempDir(t)
	root, socket := filepath.Join(dir, "root"), filepath.Join(dir, "s", "sock")
	st := state{}

	p := start(t, root, socket, "")
	for _, s := range []step{prepareStep("extract base", "", "base"), commitStep("base", "extract base")} {
		if err := s.call(p.ctx, p); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		s.then(st)
	}
	p.kill() // and so the socket stays, and is stale
	// What a crash at an earlier time may have left.
	for _, orphan := range []string{"sn/98/fs/a/b", "trash/97-x/fs/a/b"} {
		if err := os.MkdirAll(filepath.Join(root, orphan), 0o700); err != nil {
			t.Fatal(err)
		}
	}

	p = start(t, root, socket, point)
	for i := 0; i < len(day); i++ {
		s := day[i]
		err := s.call(p.ctx, p)
		if err == nil {
			s.then(st)
			continue
		}
		if crashed || !killed(p, err) {
			t.Fatalf("%s: %s: %v\n%s", point, s.name, err, p.output)
		}
		p.alive(t)
		crashed = true
		p = start(t, root, socket, "")
		check(t, p, root, st, s)
		// Again, and if it had been done: so much the better.
		if err := s.call(p.ctx, p); err != nil && (s.done == nil || !s.done(err)) {
			t.Fatalf("%s: %s, again: %v\n%s", point, s.name, err, p.output)
		} else if err != nil && strings.HasPrefix(s.name, "prepare ") {
			rewrite(t, p, s)
		}
		s.then(st)
	}
	if !crashed {
		// What goes on in the background has to come past the failpoint, or to an end.
		err := cleanupStep().call(p.ctx, p)
		if err != nil && !killed(p, err) {
			t.Fatal(err)
		}
		crashed = err != nil
	}
	p.kill()

	p = start(t, root, socket, "")
	check(t, p, root, st, step{then: func(state) {}})
	p.stop(t)
	if n := strings.TrimPrefix(point[strings.LastIndex(point, ":"):], ":"); n == "1" && !crashed {
		t.Errorf("%s was never passed: the day misses a step", point)
	}
	return crashed
}

// killed tells whether a call failed because the service died.
func killed(p *process, err error) bool {
	if errdefs.IsUnavailable(err) || errdefs.IsCanceled(err) || errors.Is(err, context.Canceled) {
		<-p.ctx.Done()
		return true
	}
	return false
}

// check compares what is there with what the client knows, where the last step
// may have been taken or not.
func check(t *testing.T, p *process, root string, st state, last step) {
	t.Helper()
	found := state{}
	err := p.Walk(p.ctx, func(_ context.Context, info snapshots.Info) error {
		k := known{kind: info.Kind, parent: info.Parent, label: info.Labels["label"]}
		if info.Kind != snapshots.KindView {
			k.content = read(t, p, info)
		}
		found[info.Name] = k
		return nil
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, p.output)
	}
	taken := maps.Clone(st)
	last.then(taken)
	for name, k := range taken {
		// A snapshot that was prepared without an answer has not been written to.
		if _, acknowledged := st[name]; !acknowledged && k.kind == snapshots.KindActive && found[name].content == "" {
			k.content = ""
			taken[name] = k
		}
	}
	if !maps.Equal(found, st) && !maps.Equal(found, taken) {
		t.Errorf("after the crash in %q:\nfound %+v\nwant  %+v\nor    %+v", last.name, found, st, taken)
	}
	if folders := list(t, filepath.Join(root, "sn")); len(folders) != len(found) {
		t.Errorf("folders %q for %d snapshots", folders, len(found))
	}
	if err := p.Cleanup(p.ctx); err != nil {
		t.Error(err)
	}
	if trash := list(t, filepath.Join(root, "trash")); len(trash) != 0 {
		t.Errorf("trash %q", trash)
	}
	for _, name := range list(t, root) {
		if !slices.Contains([]string{"lock", "metadata.db", "sn", "trash"}, name) {
			t.Errorf("left in the root: %s", name)
		}
	}
}

// write mounts a snapshot and writes a file to it, named for its key.
func write(mounts []mount.Mount, key, content string) error {
	return mount.WithTempMount(context.Background(), mounts, func(dir string) error {
		return os.WriteFile(filepath.Join(dir, "content"), []byte(content), 0o644)
	})
}

// rewrite repeats what follows a Prepare that has been answered too late.
func rewrite(t *testing.T, p *process, s step) {
	t.Helper()
	key := strings.TrimPrefix(s.name, "prepare ")
	st := state{}
	s.then(st)
	mounts, err := p.Mounts(p.ctx, key)
	if err == nil {
		err = write(mounts, key, st[key].content)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// read returns what write wrote to a snapshot, and not to its parents.
func read(t *testing.T, p *process, info snapshots.Info) string {
	t.Helper()
	var mounts []mount.Mount
	var err error
	if info.Kind == snapshots.KindActive {
		mounts, err = p.Mounts(p.ctx, info.Name)
	} else {
		view := "view of " + info.Name
		mounts, err = p.View(p.ctx, view, info.Name)
		defer func() {
			if err := p.Remove(p.ctx, view); err != nil {
				t.Error(err)
			}
		}()
	}
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(top(mounts[0]), "content"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(content)
}

// top is the topmost folder that a mount is made of.
func top(m mount.Mount) string {
	for _, option := range m.Options {
		if upper, ok := strings.CutPrefix(option, "upperdir="); ok {
			return upper
		}
		if lowers, ok := strings.CutPrefix(option, "lowerdir="); ok {
			first, _, _ := strings.Cut(lowers, ":")
			return first
		}
	}
	return m.Source
}

func list(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}
