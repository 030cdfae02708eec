package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/buckettest/servers"
	"github.com/laminastore/lamina/blobstore/bucket/file"
	"github.com/laminastore/lamina/blobstore/bucket/open"
	"github.com/laminastore/lamina/internal/imagetest"
	"github.com/laminastore/lamina/server"
	"github.com/laminastore/lamina/server/servertest"
)

// A shiftedClock is the machine's, shifted by as much as a test says.
type shiftedClock struct {
	blobstore.SystemClock
	shift atomic.Int64
}

func (c *shiftedClock) Now() time.Time {
	return c.SystemClock.Now().Add(time.Duration(c.shift.Load()))
}

func (c *shiftedClock) turn(d time.Duration) { c.shift.Add(int64(d)) }

// anUpkeep is the program with two servers over one bucket.
type anUpkeep struct {
	*cli
	bucket  bucket.Bucket
	clock   *shiftedClock
	servers []*servertest.Server
}

func startUpkeep(t *testing.T, b bucket.Bucket) *anUpkeep {
	w := &anUpkeep{cli: newCLI(t), bucket: b, clock: &shiftedClock{}}
	for range 2 {
		w.servers = append(w.servers, servertest.Start(t, servertest.Options{
			Bucket: b, Config: server.Config{Store: blobstore.Options{Clock: w.clock}},
		}))
	}
	w.env["LAMINA_SERVER"] = w.servers[0].GRPC
	return w
}

// stored is how many bytes of data the bucket has.
func (w *anUpkeep) stored() (sum int64) {
	w.t.Helper()
	for info, err := range w.bucket.List(w.t.Context(), "data/", "") {
		if err != nil {
			w.t.Fatal(err)
		}
		sum += info.Size
	}
	return sum
}

// reportOf is what a collection prints for programs.
type reportOf struct {
	DryRun                           bool
	Condemned, Collected, FreedBytes int64
	WaitingBytes                     int64
	Findings                         []struct{ Kind, Subject, Step string }
	Problems                         []struct{ Detail string }
}

func (w *anUpkeep) gc(args ...string) (r reportOf) {
	w.t.Helper()
	out := w.run(append([]string{"gc", "-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		w.t.Fatal(err)
	}
	if len(r.Problems) > 0 {
		w.t.Errorf("problems: %v", r.Problems)
	}
	return r
}

func onFilesAndMinIO(t *testing.T, f func(t *testing.T, w *anUpkeep)) {
	t.Run("file", func(t *testing.T) {
		b, err := file.Open(t.TempDir(), file.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		f(t, startUpkeep(t, b))
	})
	t.Run("minio", func(t *testing.T) {
		b, err := open.Bucket(t.Context(), servers.MinIO(t))
		if err != nil {
			t.Fatal(err)
		}
		f(t, startUpkeep(t, b))
	})
}

// What an image had alone is given back, on files and on S3, step by step, while
// others push and pull through both servers; nothing else is.
func TestCollectionWhileOthersPushAndPull(t *testing.T) {
	onFilesAndMinIO(t, func(t *testing.T, w *anUpkeep) {
		images := imagetest.Blobs{}
		kept := images.Image("amd64", 1, 400_000, 100_000)
		doomed := images.Image("amd64", 1, 400_000, 2_000_000)
		w.run("push", "-q", "oci:"+images.Layout(t, kept), "demo/kept:1")
		w.run("push", "-q", "oci:"+images.Layout(t, doomed), "demo/doomed:1")
		w.run("rm", "-q", "demo/doomed@"+string(doomed.Digest))
		before := w.stored()

		turning, stop := w.others(t, "oci:"+images.Layout(t, kept))
		turn := func(d time.Duration) {
			turning.Lock()
			defer turning.Unlock()
			w.clock.turn(d)
		}
		layer := images.Layers(doomed)[1]
		step := func(r reportOf, want string) {
			t.Helper()
			for _, f := range r.Findings {
				if f.Kind == "blob" && f.Subject == string(layer.Digest) {
					if f.Step != want {
						t.Errorf("the layer is to %s, want %s", f.Step, want)
					}
					return
				}
			}
			if want != "" {
				t.Errorf("no step of the layer, want %s: %+v", want, r)
			}
		}
		step(w.gc("--all"), "")
		turn(73 * time.Hour)
		dry := w.gc("--dry-run", "--all")
		step(dry, "condemn")
		if !dry.DryRun || dry.FreedBytes != 0 || dry.WaitingBytes < layer.Size {
			t.Errorf("dry run: %+v", dry)
		}
		step(w.gc("--all"), "condemn")
		turn(time.Hour)
		step(w.gc("--all", "--full"), "collect")
		if w.stored() < before {
			t.Error("bytes are deleted while they may still be read")
		}
		turn(25 * time.Hour)
		freed := w.gc("--all")
		step(freed, "free")
		if freed.FreedBytes < layer.Size {
			t.Errorf("third cycle: %+v", freed)
		}
		stop()
		// What others have pushed meanwhile goes too: they have removed it.
		turn(200 * time.Hour)
		for range 3 {
			w.gc("--full")
			turn(25 * time.Hour)
		}
		var rest int64
		for _, l := range images.Layers(kept) {
			rest += l.Size
		}
		if after := w.stored(); after != rest {
			t.Errorf("%d bytes before, %d after; what is kept has %d", before, after, rest)
		}
		w.run("pull", "-q", "demo/kept:1", "oci:"+filepath.Join(t.TempDir(), "x"))
		if out := w.run("verify"); !strings.Contains(out, "nothing") {
			t.Error(out)
		}
	})
}

// others push, pull and remove images of their own, and pull one that stays, until
// stop. Whoever holds turning, none of them is under way.
func (w *anUpkeep) others(t *testing.T, kept string) (turning *sync.RWMutex, stop func()) {
	turning = &sync.RWMutex{}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for n, s := range w.servers {
		b := imagetest.Blobs{}
		root := b.Image("amd64", uint64(10+n), 400_000, 5000)
		layout, dir := "oci:"+b.Layout(t, root), t.TempDir()
		c := &cli{t, map[string]string{"XDG_CONFIG_HOME": t.TempDir(), "LAMINA_SERVER": s.GRPC}}
		repo := fmt.Sprintf("others/app-%d", n)
		round := func(i int) {
			turning.RLock()
			defer turning.RUnlock()
			for _, args := range [][]string{
				{"push", "-q", layout, repo + ":1"},
				{"push", "-q", kept, repo + ":kept"},
				{"pull", "-q", repo + ":1", "oci:" + filepath.Join(dir, fmt.Sprint("a", i))},
				{"pull", "-q", "demo/kept:1", "oci:" + filepath.Join(dir, fmt.Sprint("b", i))},
				{"rm", "-q", repo + "@" + string(root.Digest)},
			} {
				if r := c.try(args...); r.code != 0 {
					t.Errorf("lamina %s: %s", strings.Join(args, " "), r.err)
				}
			}
		}
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				round(i)
			}
		})
	}
	return turning, func() {
		cancel()
		wg.Wait()
	}
}

var changing = regexp.MustCompile(`(until|at) \d{4}-\d\d-\d\d[T ][\d:]+Z?( UTC)?|in \d+ (second|minute|hour|day)s?|\d{4}-\d\d-\d\dT[^"\s]+Z| on \S+$`)

func TestWhatGCAndVerifySay(t *testing.T) {
	b, err := file.Open(t.TempDir(), file.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	w := startUpkeep(t, b)
	images := imagetest.Blobs{}
	root := app1(images)
	w.run("push", "-q", "oci:"+images.Layout(t, root), "demo/app:1")
	w.run("rm", "-q", "demo/app@"+string(root.Digest))
	var text strings.Builder
	host, _ := os.Hostname()
	say := func(args ...string) {
		r := w.try(args...)
		fmt.Fprintf(&text, "$ lamina %s\n%s", strings.Join(args, " "), r.out)
		for line := range strings.Lines(r.err) { // the order of progress is the server's
			if strings.HasPrefix(line, "lamina: ") || strings.HasPrefix(line, "nothing was") {
				text.WriteString(line)
			}
		}
		if r.code != 0 {
			fmt.Fprintf(&text, "exit code %d\n", r.code)
		}
	}
	say("gc", "--last")
	say("verify", "--last")
	say("gc", "--dry-run")
	w.clock.turn(73 * time.Hour)
	say("gc", "--dry-run")
	say("gc")
	w.clock.turn(time.Hour)
	say("gc")
	w.clock.turn(25 * time.Hour)
	say("gc")
	say("gc", "--last")
	say("gc", "-q")
	say("verify")
	got := strings.ReplaceAll(text.String(), " on "+host, " on HOST")
	golden(t, "gc-verify", changing.ReplaceAllString(got, "TIME"))
}

// What is bad is told by image, with an exit code, and put back from elsewhere.
func TestVerifyMends(t *testing.T) {
	dir := t.TempDir()
	b, err := file.Open(dir, file.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	w := startUpkeep(t, b)
	images := imagetest.Blobs{}
	root := images.Image("amd64", 1, 300_000, 200_000)
	layout := "oci:" + images.Layout(t, root)
	w.run("push", "-q", layout, "demo/app:1")
	files, err := filepath.Glob(filepath.Join(dir, "data", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v %v", files, err)
	}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		raw[len(raw)/2] ^= 1
		if err := errors.Join(os.Chmod(name, 0o600), os.WriteFile(name, raw, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	r := w.try("verify")
	if r.code != 1 || !strings.Contains(r.out, "demo/app:1") || !strings.Contains(r.out, "damaged") || !strings.Contains(r.err, "bad things are left") {
		t.Errorf("%+v", r)
	}
	r = w.try("verify", "--restart", "--from", layout)
	if r.code != 0 || !strings.Contains(r.out, "repaired") {
		t.Errorf("%+v", r)
	}
	if r := w.try("verify", "--restart"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	w.run("pull", "-q", "demo/app:1", "oci:"+filepath.Join(t.TempDir(), "x"))
}
