package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/buckettest"
)

func openTest(t *testing.T, dir string) *Bucket {
	t.Helper()
	b, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func put(t *testing.T, b *Bucket, key, data string) bucket.Info {
	t.Helper()
	info, err := b.Put(t.Context(), key, strings.NewReader(data), int64(len(data)), bucket.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func keys(t *testing.T, b *Bucket) []string {
	t.Helper()
	var list []string
	for info, err := range b.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, info.Key)
	}
	return list
}

func TestContract(t *testing.T) {
	t.Parallel()
	buckettest.Test(t, func(t *testing.T) bucket.Bucket { return openTest(t, t.TempDir()) })
}

func TestAnObjectIsAPlainFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new/bucket")
	b := openTest(t, dir)
	put(t, b, "a", "one")
	put(t, b, "a/b", "two")
	for name, want := range map[string]string{"a@": "one", "a/b@": "two"} {
		have, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(have) != want {
			t.Errorf("%s: %q, %v", name, have, err)
		}
	}
	if s := b.String(); s != "file://"+dir {
		t.Errorf("it is called %s", s)
	}
}

func TestOtherFilesAreNotObjects(t *testing.T) {
	dir := t.TempDir()
	b := openTest(t, dir)
	put(t, b, "a/b", "x")
	for _, name := range []string{"lost+found", "README", ".hidden@", "a b@", "a/.x@", "@", "a/c"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("y"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "folder@"), 0o700); err != nil {
		t.Fatal(err)
	}
	if have := keys(t, b); !slices.Equal(have, []string{"a/b"}) {
		t.Errorf("listed %q", have)
	}
	if _, err := b.Stat(t.Context(), "folder"); !errors.Is(err, bucket.ErrUnavailable) {
		t.Errorf("stat of a folder: %v", err)
	}
}

func TestLinksAreNotFollowed(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	b := openTest(t, dir)
	if err := os.WriteFile(filepath.Join(outside, "x@"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for to, name := range map[string]string{outside: "folder", filepath.Join(outside, "x@"): "file@"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"folder/x", "file"} {
		if _, _, err := b.Get(t.Context(), key, 0, -1); !errors.Is(err, bucket.ErrUnavailable) {
			t.Errorf("get %s: %v", key, err)
		}
	}
	if _, err := b.Put(t.Context(), "folder/y", strings.NewReader("y"), 1, bucket.Condition{}); !errors.Is(err, bucket.ErrUnavailable) {
		t.Errorf("put: %v", err)
	}
	if err := b.Delete(t.Context(), "folder/x"); !errors.Is(err, bucket.ErrUnavailable) {
		t.Errorf("delete: %v", err)
	}
	put(t, b, "file", "ours") // replaces the link, not what it names
	if have := keys(t, b); !slices.Equal(have, []string{"file"}) {
		t.Errorf("listed %q", have)
	}
	if have, err := os.ReadFile(filepath.Join(outside, "x@")); err != nil || string(have) != "secret" {
		t.Errorf("outside: %q, %v", have, err)
	}
}

func TestAFolderThatIsGoneIsNotAnEmptyBucket(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bucket")
	b := openTest(t, dir)
	put(t, b, "a/b", "x")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Stat(t.Context(), "a/b"); !errors.Is(err, bucket.ErrUnavailable) {
		t.Errorf("stat: %v", err)
	}
	if _, err := b.Put(t.Context(), "a/b", strings.NewReader("y"), 1, bucket.Condition{}); !errors.Is(err, bucket.ErrUnavailable) {
		t.Errorf("put: %v", err)
	}
	for _, err := range b.List(t.Context(), "a/", "") {
		if !errors.Is(err, bucket.ErrUnavailable) {
			t.Errorf("list: %v", err)
		}
	}
}

func TestAFolderThatSomeoneTidiedAwayIsMadeAgain(t *testing.T) {
	dir := t.TempDir()
	b := openTest(t, dir)
	put(t, b, "a/b/c", "x")
	if err := os.RemoveAll(filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	put(t, b, "a/b/c", "y")
	if have := keys(t, b); !slices.Equal(have, []string{"a/b/c"}) {
		t.Errorf("listed %q", have)
	}
}

func TestVersionsOfALargeObjectAreToldApart(t *testing.T) {
	b := openTest(t, t.TempDir())
	seen := map[bucket.ETag]bool{}
	data := strings.Repeat("x", small+1)
	for range 20 {
		etag := put(t, b, "a", data).ETag
		if seen[etag] {
			t.Fatalf("ETag %s came twice", etag)
		}
		seen[etag] = true
	}
}

func TestALargeFolderIsListedInRounds(t *testing.T) {
	b := openTest(t, t.TempDir())
	var want []string
	for i := range 50 {
		for _, key := range []string{"f/%02d", "f/%02d/x", "f/%02d-"} {
			want = append(want, fmt.Sprintf(key, i))
		}
	}
	slices.Sort(want)
	for _, key := range want {
		put(t, b, key, "x")
	}
	for _, atOnce := range []int{1, 2, 7, 49, 1000} {
		for _, after := range []string{"", "f/", "f/10", "f/10/", "f/10/x", "f/48-", "f/49/x"} {
			var have []string
			w := walk{b: b, ctx: t.Context(), prefix: "f/", after: after, atOnce: atOnce, yield: func(i bucket.Info, _ error) bool {
				have = append(have, i.Key)
				return true
			}}
			if err := w.folder("f/"); err != nil {
				t.Fatal(err)
			}
			from, found := slices.BinarySearch(want, after)
			if found {
				from++
			}
			if !slices.Equal(have, want[from:]) {
				t.Errorf("%d at once, after %q: %q", atOnce, after, have)
			}
		}
	}
}

func TestOldTemporaryFilesAreCleared(t *testing.T) {
	dir := t.TempDir()
	b := openTest(t, dir)
	temps := func() int {
		list, err := os.ReadDir(filepath.Join(dir, tempDir))
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	held, err := b.newTemp()
	if err != nil {
		t.Fatal(err)
	}
	left, err := b.newTemp()
	if err != nil {
		t.Fatal(err)
	}
	if err := left.Close(); err != nil { // as a crash would
		t.Fatal(err)
	}
	b.clearTemp(time.Now())
	if temps() != 2 {
		t.Errorf("%d temporary files, want both", temps())
	}
	b.clearTemp(time.Now().Add(staleAfter + time.Minute))
	if temps() != 1 {
		t.Errorf("%d temporary files, want the one that is in use", temps())
	}
	b.dropTemp(held)
}

func TestALockIsWaitedForNoLongerThanTheContextLasts(t *testing.T) {
	dir := t.TempDir()
	ours, theirs := openTest(t, dir), openTest(t, dir) // as two processes
	stripe := keyStripe("a")
	if err := theirs.locks.lock(t.Context(), stripe); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := ours.Put(ctx, "a", bytes.NewReader(nil), 0, bucket.Condition{})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("put: %v", err)
	}
	theirs.locks.release(stripe)
	put(t, ours, "a", "x")
}

func TestAReaderWaitsUntilWhatItFoundIsOnDisk(t *testing.T) {
	dir := t.TempDir()
	ours, theirs := openTest(t, dir), openTest(t, dir) // as two processes
	put(t, ours, "a", "x")
	stripe := keyStripe("a")
	if err := theirs.locks.lock(t.Context(), stripe); err != nil {
		t.Fatal(err)
	}
	if err := theirs.locks.unsettle(stripe); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := ours.Stat(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stat of what is not on disk: %v", err)
	}
	theirs.locks.release(stripe) // it dies: the mark stays
	if _, err := ours.Stat(t.Context(), "a"); err != nil {
		t.Errorf("stat: %v", err)
	}
	if marked, err := ours.locks.unsettled(stripe); marked || err != nil {
		t.Errorf("the mark is still there: %v, %v", marked, err)
	}
}
