package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/buckettest"
	"github.com/laminastore/lamina/internal/forgetfs"
	"github.com/laminastore/lamina/internal/needs"
)

// withDisk runs f with a bucket on the disk while it is mounted.
func withDisk(t *testing.T, disk *forgetfs.FS, f func(b *Bucket)) {
	t.Helper()
	dir := t.TempDir()
	unmount, err := disk.Mount(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unmount(); err != nil {
			t.Error(err)
		}
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	}()
	b, err := Open(dir, Options{AllowNetwork: true})
	if err != nil {
		return // no power
	}
	f(b)
	_ = b.Close() // the power may be off
}

const absent = "(absent)"

// A history is what a caller knows of a bucket.
type history struct {
	// states that a key may be in: one, unless a write is under way or failed
	states map[string][]string
	// uploads that go on when the power is back, by their keys
	uploads map[string]*resumed
}

// A resumed upload has the parts that were acknowledged.
type resumed struct {
	id    string
	parts []bucket.Part
	data  string
}

func newHistory() *history {
	return &history{states: map[string][]string{}, uploads: map[string]*resumed{}}
}

// write does what makes state of key, and notes what is known then.
func (h *history) write(key, state string, do func() error) error {
	if h.states[key] == nil {
		h.states[key] = []string{absent}
	}
	h.states[key] = append(h.states[key], state)
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	h.states[key] = []string{state}
	return nil
}

// workload makes every kind of change, until one fails for lack of power.
func (h *history) workload(ctx context.Context, b *Bucket) error {
	put := func(key, data string, cond bucket.Condition) (info bucket.Info, err error) {
		err = h.write(key, data, func() error {
			info, err = b.Put(ctx, key, strings.NewReader(data), int64(len(data)), cond)
			return err
		})
		return info, err
	}
	large := string(bytes.Repeat([]byte("large"), small/4))
	return first(
		func() error {
			info, err := put("a", "one", bucket.Condition{IfAbsent: true})
			if err == nil {
				info, err = put("a", "two", bucket.Condition{IfMatch: info.ETag})
			}
			if err == nil {
				_, err = put("a", "three", bucket.Condition{IfMatch: info.ETag})
			}
			return err
		},
		func() error { _, err := put("new/folder/x", "x", bucket.Condition{IfAbsent: true}); return err },
		func() error { _, err := put("new/folder", "y", bucket.Condition{}); return err },
		func() error { _, err := put("new/large", large, bucket.Condition{}); return err },
		func() error { _, err := put("new/large", "not any more", bucket.Condition{}); return err },
		func() error {
			return h.write("new/folder/x", absent, func() error { return b.Delete(ctx, "new/folder/x") })
		},
		func() error { return h.begin(ctx, b, []string{"1111", "2222", "3", "44444"}) },
		func() error { return h.spool(ctx, b, "new/spooled", "spooled") },
		func() error { return h.spool(ctx, b, "new/too/spooled", large) },
		func() error { return h.spoolParts(ctx, b, "up/spooled", []string{"1111222", "23333", "44445555"}) },
		func() error { return h.upload(ctx, b, "up/whole", []string{"1111", "2222", "3"}) },
		func() error { return h.upload(ctx, b, "up/joined", []string{"1", "22", "333"}) },
		func() error { return h.upload(ctx, b, "a", []string{"22", "22"}) },
		func() error {
			info, err := put("a", "four", bucket.Condition{})
			if err != nil {
				return err
			}
			return h.write("a", absent, func() error { return b.DeleteIf(ctx, "a", info.ETag) })
		},
		func() error { _, err := put("a", "five", bucket.Condition{IfAbsent: true}); return err },
	)
}

func (h *history) upload(ctx context.Context, b *Bucket, key string, parts []string) error {
	id, err := b.CreateMultipart(ctx, key)
	if err != nil {
		return err
	}
	var list []bucket.Part
	for i, data := range parts {
		part, err := b.PutPart(ctx, key, id, i+1, strings.NewReader(data), int64(len(data)))
		if err != nil {
			return err
		}
		list = append(list, part)
	}
	return h.write(key, strings.Join(parts, ""), func() error {
		_, err := b.CompleteMultipart(ctx, key, id, list, bucket.Condition{})
		return err
	})
}

// begin puts parts of an upload that is completed by check.
func (h *history) begin(ctx context.Context, b *Bucket, parts []string) error {
	id, err := b.CreateMultipart(ctx, "up/resumed")
	if err != nil {
		return err
	}
	up := &resumed{id: id}
	h.uploads["up/resumed"] = up
	for i, data := range parts {
		part, err := b.PutPart(ctx, "up/resumed", id, i+1, strings.NewReader(data), int64(len(data)))
		if err != nil {
			return err
		}
		up.parts, up.data = append(up.parts, part), up.data+data
	}
	return nil
}

func (h *history) spool(ctx context.Context, b *Bucket, key, data string) error {
	s, err := b.Spool(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := io.WriteString(s, data); err != nil {
		return err
	}
	return h.write(key, data, func() error {
		_, err := s.Put(ctx, key, bucket.Condition{})
		return err
	})
}

// spoolParts makes parts of four bytes of each of data, which check completes.
func (h *history) spoolParts(ctx context.Context, b *Bucket, key string, data []string) error {
	s, err := b.Spool(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	whole := strings.Join(data, "")
	for _, d := range data {
		if _, err := io.WriteString(s, d); err != nil {
			return err
		}
		id, parts, err := s.Parts(ctx, key, 4, false)
		if err != nil {
			return err
		}
		if h.uploads[key] == nil {
			h.uploads[key] = &resumed{id: id}
		}
		up := h.uploads[key]
		up.parts = append(up.parts, parts...)
		up.data = whole[:4*len(up.parts)]
	}
	return nil
}

func first(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// check returns what the bucket has that it must not have.
func (h *history) check(ctx context.Context, b *Bucket) error {
	var errs []error
	for key, allowed := range h.states {
		have, err := contents(ctx, b, key)
		if err == nil && !slices.Contains(allowed, have) {
			err = fmt.Errorf("%s is %.20q, allowed are %.20q", key, have, allowed)
		}
		errs = append(errs, err)
	}
	for info, err := range b.List(ctx, "", "") {
		if err == nil && h.states[info.Key] == nil {
			err = fmt.Errorf("%s is there, and was never written", info.Key)
		}
		errs = append(errs, err)
	}
	for key, up := range h.uploads {
		if up.parts == nil {
			continue
		}
		_, err := b.CompleteMultipart(ctx, key, up.id, up.parts, bucket.Condition{})
		have, err2 := contents(ctx, b, key)
		if err == nil && have != up.data {
			err = fmt.Errorf("%s is %.20q, want %.20q", key, have, up.data)
		}
		errs = append(errs, err, err2)
	}
	return errors.Join(errs...)
}

func contents(ctx context.Context, b *Bucket, key string) (string, error) {
	r, _, err := b.Get(ctx, key, 0, -1)
	if errors.Is(err, bucket.ErrNotExist) {
		return absent, nil
	}
	if err != nil {
		return "", err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	return string(data), err
}

// loseThePower runs the workload, cuts the power after so many changes, and
// says what is wrong when it is back. It returns how many changes there were.
func loseThePower(t *testing.T, disk *forgetfs.FS, after int, survives func() bool) (int, error) {
	t.Helper()
	h := newHistory()
	disk.CutPowerAfter(after)
	withDisk(t, disk, func(b *Bucket) { _ = h.workload(t.Context(), b) })
	changes := disk.Changes()
	disk.Restart(survives)
	err := errors.New("the bucket does not open")
	withDisk(t, disk, func(b *Bucket) { err = h.check(t.Context(), b) })
	return changes, err
}

func TestLossOfPowerAfterAnyChange(t *testing.T) {
	t.Parallel()
	needs.Root(t)
	const all = 1 << 20
	total, err := loseThePower(t, forgetfs.New(), all, nil)
	t.Logf("%d changes", total)
	if err != nil || total < 100 {
		t.Fatalf("%d changes: %v", total, err)
	}
	seeds, stride := uint64(2), uint64(3)
	if os.Getenv("LAMINA_SOAK") == "1" {
		seeds, stride = 50, 1
	}
	var g errgroup.Group
	g.SetLimit(4)
	for k := range total {
		for seed := range seeds {
			if seed > 0 && (uint64(k)+seed)%stride != 0 {
				continue
			}
			g.Go(func() error {
				var survives func() bool // at first nothing does
				if seed > 0 {
					rng := rand.New(rand.NewPCG(seed, uint64(k)))
					survives = func() bool { return rng.IntN(2) == 0 }
				}
				if _, err := loseThePower(t, forgetfs.New(), k, survives); err != nil {
					return fmt.Errorf("power cut after %d of %d changes, seed %d: %w", k, total, seed, err)
				}
				return nil
			})
		}
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

// The test above would notice if folders were not synced.
func TestADiskThatDoesNotSyncFoldersLosesWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	needs.Root(t)
	disk := forgetfs.New()
	disk.FoldersNotSynced = true
	if _, err := loseThePower(t, disk, 1<<20, nil); err == nil {
		t.Error("nothing was lost")
	}
}

// A folder may have been made a moment ago by another process, which has not
// synced it yet, and may never.
func TestAFolderThatSomeoneElseMadeSurvivesALossOfPower(t *testing.T) {
	t.Parallel()
	needs.Root(t)
	disk := forgetfs.New()
	h := newHistory()
	withDisk(t, disk, func(b *Bucket) {
		if err := os.MkdirAll(b.dir+"/new/folder", 0o700); err != nil {
			t.Fatal(err)
		}
		if err := h.write("new/folder/x", "x", func() error { put(t, b, "new/folder/x", "x"); return nil }); err != nil {
			t.Fatal(err)
		}
	})
	disk.Restart(nil)
	withDisk(t, disk, func(b *Bucket) {
		if err := h.check(t.Context(), b); err != nil {
			t.Error(err)
		}
	})
}

// What one process has read is there after a loss of power, although another
// wrote it and had no answer yet.
func TestWhatWasReadSurvivesALossOfPower(t *testing.T) {
	t.Parallel()
	needs.Root(t)
	for k := range 30 { // three increments and more
		disk := forgetfs.New()
		disk.FolderSyncTakes = 2 * time.Millisecond
		withDisk(t, disk, func(b *Bucket) { put(t, b, "counter", "0") })
		disk.CutPowerAfter(20 + k)
		var read atomic.Int64
		withDisk(t, disk, func(writer *Bucket) {
			reader, err := Open(writer.dir, Options{AllowNetwork: true}) // as another process
			if err != nil {
				return
			}
			defer reader.Close()
			var g errgroup.Group
			g.Go(func() error {
				for buckettest.Increment(t.Context(), writer, "counter") == nil {
				}
				return nil
			})
			g.Go(func() error {
				for {
					data, err := contents(t.Context(), reader, "counter")
					if err != nil {
						return nil
					}
					n, err := strconv.ParseInt(data, 10, 64)
					if err != nil {
						return err
					}
					read.Store(n)
				}
			})
			if err := g.Wait(); err != nil {
				t.Error(err)
			}
		})
		disk.Restart(nil)
		withDisk(t, disk, func(b *Bucket) {
			data, err := contents(t.Context(), b, "counter")
			if err != nil {
				t.Fatal(err)
			}
			if n, err := strconv.ParseInt(data, 10, 64); err != nil || n < read.Load() {
				t.Errorf("power cut after %d changes: %d had been read, and is %s now", 20+k, read.Load(), data)
			}
		})
	}
}
