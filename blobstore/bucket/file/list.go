package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// atOnce is how many names of a folder are held in memory. A folder with more
// is read again for every so many.
const atOnce = 16 << 10

// List implements bucket.Lister. It reads a folder at a time.
func (b *Bucket) List(ctx context.Context, prefix, startAfter string) iter.Seq2[bucket.Info, error] {
	return func(yield func(bucket.Info, error) bool) {
		for _, s := range []string{prefix, startAfter} {
			if err := bucket.CheckPrefix(s); err != nil {
				yield(bucket.Info{}, fmt.Errorf("list: %w", err))
				return
			}
		}
		if startAfter >= prefix && !strings.HasPrefix(startAfter, prefix) {
			return // behind all that begins with prefix
		}
		w := walk{b: b, ctx: ctx, prefix: prefix, after: startAfter, atOnce: atOnce, yield: yield}
		dir, _ := path.Split(prefix)
		if dir != "" && bucket.CheckKey(dir+"x") != nil {
			return // no key begins like this
		}
		if err := w.folder(dir); err != nil && err != errStopped {
			yield(bucket.Info{}, b.fail("list", prefix, err))
		}
	}
}

// A walk goes through the folders in the order of the keys.
type walk struct {
	b             *Bucket
	ctx           context.Context
	prefix, after string
	atOnce        int
	yield         func(bucket.Info, error) bool
}

var errStopped = errors.New("the caller has had enough")

// folder yields the objects in the folder dir, which is empty or ends in a
// slash, and in the folders below it.
//
// What sorts as the keys do is not the names but the beginnings of keys that
// they stand for: "dir/a" for the file a@, "dir/a/" for the folder a.
func (w *walk) folder(dir string) error {
	for cursor, first := w.after, true; ; first = false {
		begins, all, err := w.names(dir, cursor, first)
		if err != nil {
			return err
		}
		for _, key := range begins {
			if strings.HasSuffix(key, "/") {
				err = w.folder(key)
			} else {
				err = w.object(key)
			}
			if err != nil {
				return err
			}
		}
		if all {
			return nil
		}
		cursor = begins[len(begins)-1]
	}
}

// names returns, sorted, the first beginnings of keys in the folder dir that
// come after the cursor, and says whether these are all. The first cursor is
// the key to start after, and may lie in a folder: that one counts too.
func (w *walk) names(dir, cursor string, first bool) (begins []string, all bool, err error) {
	if err := w.ctx.Err(); err != nil {
		return nil, false, err
	}
	f, err := w.b.openFolder(path.Join(".", dir))
	if err != nil {
		return nil, true, ignoreMissing(w.b.missing(err))
	}
	defer f.Close()
	all = true
	for {
		entries, err := f.ReadDir(1024)
		for _, e := range entries {
			key, ok := beginning(dir, e)
			later := key > cursor || first && strings.HasSuffix(key, "/") && strings.HasPrefix(cursor, key)
			if ok && later && strings.HasPrefix(key, w.prefix) {
				begins = append(begins, key)
			}
		}
		if len(begins) > 2*w.atOnce {
			slices.Sort(begins)
			begins, all = begins[:w.atOnce], false
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, false, err
		}
	}
	slices.Sort(begins)
	if !all {
		begins = begins[:w.atOnce] // what has been dropped may come before the rest
	}
	return begins, all, nil
}

// beginning returns how the keys begin to which an entry of a folder leads, and
// false when it leads to none.
func beginning(dir string, e os.DirEntry) (string, bool) {
	name, isObject := strings.CutSuffix(e.Name(), objectSuffix)
	key := dir + name
	if bucket.CheckKey(key) != nil {
		return "", false
	}
	if isObject {
		return key, e.Type().IsRegular()
	}
	return key + "/", e.IsDir()
}

// object yields the object at key unless it is gone by now.
func (w *walk) object(key string) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	info, err := w.b.stat(key)
	if errors.Is(err, bucket.ErrNotExist) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	if err == nil {
		err = w.b.locks.wait(w.ctx, keyStripe(key))
	}
	if err != nil {
		return err
	}
	if !w.yield(info, nil) {
		return errStopped
	}
	return nil
}
