package file

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/internal/exact"
)

// abandonedAfter is how long after its last part an upload is taken for one
// that nobody will complete.
const abandonedAfter = 7 * 24 * time.Hour

// CreateMultipart implements bucket.Multiparter.
func (b *Bucket) CreateMultipart(ctx context.Context, key string) (string, error) {
	if err := check(ctx, "create upload", key); err != nil {
		return "", err
	}
	id := rand.Text()
	if err := b.createUpload(key, id); err != nil {
		b.removeUpload(id)
		return "", b.fail("create upload", key, err)
	}
	return id, nil
}

func (b *Bucket) createUpload(key, id string) error {
	if err := b.roomForNew(); err != nil {
		return err
	}
	all, err := b.openFolder(multipartDir)
	if err != nil {
		return err
	}
	defer all.Close()
	up, err := b.newUpload(key, id, 0)
	if err != nil {
		return err
	}
	defer up.close()
	main, err := up.open(mainName, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return err
	}
	defer main.Close()
	return syncAll(main.Sync, up.table.Sync, up.dir.Sync, all.Sync)
}

// newUpload makes the folder and the table of an upload whose parts in main have
// size bytes, 0 if that is not known. The caller makes main, and syncs all.
func (b *Bucket) newUpload(key, id string, size int64) (_ *upload, err error) {
	if err := unix.Mkdirat(int(b.root.Fd()), path.Join(multipartDir, id), 0o700); err != nil {
		return nil, os.NewSyscallError("mkdir", err)
	}
	up := &upload{b: b, id: id}
	if up.dir, err = b.openFolder(path.Join(multipartDir, id)); err != nil {
		return nil, err
	}
	if up.table, err = up.open(tableName, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL); err == nil {
		_, err = up.table.Write(tableHeader(key, size))
	}
	if err != nil {
		up.close()
		return nil, err
	}
	return up, nil
}

// PutPart implements bucket.Multiparter. Parts of one size are written to
// where they will be in the object, so that completing it moves no bytes.
func (b *Bucket) PutPart(ctx context.Context, key, id string, n int, r io.ReadSeeker, size int64) (bucket.Part, error) {
	if err := check(ctx, "put part", key); err != nil {
		return bucket.Part{}, err
	}
	if n < 1 || n > maxParts {
		return bucket.Part{}, b.fail("put part", key, fmt.Errorf("%w: number %d, allowed are 1 to %d", bucket.ErrPart, n, maxParts))
	}
	part, err := b.putPart(ctx, key, id, n, r, size)
	if err != nil {
		return bucket.Part{}, b.fail("put part", key, fmt.Errorf("number %d: %w", n, err))
	}
	return part, nil
}

func (b *Bucket) putPart(ctx context.Context, key, id string, n int, r io.ReadSeeker, size int64) (bucket.Part, error) {
	if err := b.roomForNew(); err != nil {
		return bucket.Part{}, err
	}
	up, err := b.openUpload(key, id)
	if err != nil {
		return bucket.Part{}, err
	}
	defer up.close()
	s, err := up.choose(ctx, n, size)
	if err != nil {
		return bucket.Part{}, err
	}
	old, err := up.slot(n)
	if err != nil {
		return bucket.Part{}, err
	}
	if s.place == inMain {
		err = up.writeToMain(ctx, n, old, s, r)
	} else if err = up.writeOwnFile(ctx, n, s, r); err == nil {
		err = up.record(n, s)
	}
	if err == nil {
		err = up.present()
	}
	if err != nil {
		return bucket.Part{}, err
	}
	if old.place == inOwnFile {
		_ = unix.Unlinkat(int(up.dir.Fd()), ownName(n, old.etag), 0)
	}
	return bucket.Part{Number: n, Size: size, ETag: s.etag}, nil
}

// choose decides where part n will be: in main if all parts so far agree in
// size, nothing that counts lies there, and nobody else writes there.
func (up *upload) choose(ctx context.Context, n int, size int64) (slot, error) {
	s := slot{place: inOwnFile, size: size, etag: bucket.ETag(rand.Text())}
	stripe := uploadStripe(up.id)
	if err := up.b.locks.lock(ctx, stripe); err != nil {
		return slot{}, err
	}
	defer up.b.locks.release(stripe)
	if err := up.present(); err != nil {
		return slot{}, err
	}
	old, err := up.slot(n)
	if err != nil {
		return slot{}, err
	}
	sealed, err := up.sealed()
	if err != nil {
		return slot{}, err
	}
	if sealed || old.place == inMain {
		return s, nil
	}
	unit, err := up.unit(size)
	if err != nil || size > unit {
		return s, err
	}
	free, err := up.lockParts(n)
	if err == nil && free {
		s.place, s.offset = inMain, int64(n-1)*unit
	}
	return s, err
}

// writeToMain writes part n to main and to the table, and syncs both at once if
// the table had nothing of it. If only what the table says survives a loss of
// power, it describes a part whose ETag was never told to anybody: one that
// cannot be completed with, and whose place is not used again.
func (up *upload) writeToMain(ctx context.Context, n int, old, s slot, r io.ReadSeeker) error {
	main, err := up.open(mainName, unix.O_RDWR)
	if err != nil {
		return up.missing(err)
	}
	defer main.Close()
	err = exact.Copy(ctx, pour(main, s.offset), r, s.size)
	if err == nil && old.place != nowhere {
		err = syncData(main)
	}
	if err == nil {
		err = up.write(n, s)
	}
	if err == nil {
		err = syncAll(func() error { return syncData(main) }, func() error { return syncData(up.table) })
	}
	if err != nil {
		_ = up.write(n, old)
		// Give the room back: there may be too little of it.
		_ = unix.Fallocate(int(main.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, s.offset, s.size)
	}
	return err
}

func (up *upload) writeOwnFile(ctx context.Context, n int, s slot, r io.ReadSeeker) error {
	name := ownName(n, s.etag)
	f, err := up.open(name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return up.missing(err)
	}
	defer f.Close()
	err = exact.Copy(ctx, pour(f, 0), r, s.size)
	if err == nil {
		err = syncAll(f.Sync, up.dir.Sync)
	}
	if err != nil {
		_ = unix.Unlinkat(int(up.dir.Fd()), name, 0)
	}
	return err
}

// AbortMultipart implements bucket.Multiparter.
func (b *Bucket) AbortMultipart(ctx context.Context, key, id string) error {
	if err := check(ctx, "abort upload", key); err != nil {
		return err
	}
	up, err := b.openUpload(key, id)
	if errors.Is(err, bucket.ErrNoUpload) {
		return nil
	}
	if err != nil {
		return b.fail("abort upload", key, err)
	}
	defer up.close()
	stripe := uploadStripe(id)
	if err := b.locks.lock(ctx, stripe); err != nil {
		return b.fail("abort upload", key, err)
	}
	defer b.locks.release(stripe)
	b.removeUpload(id)
	return nil
}

// ListMultiparts implements bucket.Multiparter. It looks at every upload that
// there is.
func (b *Bucket) ListMultiparts(ctx context.Context, key string) iter.Seq2[bucket.MultipartInfo, error] {
	return func(yield func(bucket.MultipartInfo, error) bool) {
		if err := check(ctx, "list uploads", key); err != nil {
			yield(bucket.MultipartInfo{}, err)
			return
		}
		if err := b.listUploads(ctx, key, yield); err != nil && err != errStopped {
			yield(bucket.MultipartInfo{}, b.fail("list uploads", key, err))
		}
	}
}

func (b *Bucket) listUploads(ctx context.Context, key string, yield func(bucket.MultipartInfo, error) bool) error {
	all, err := b.openFolder(multipartDir)
	if err != nil {
		return err
	}
	defer all.Close()
	for {
		ids, rerr := all.Readdirnames(1024)
		for _, id := range ids {
			if err := ctx.Err(); err != nil {
				return err
			}
			up, err := b.openUpload(key, id)
			if errors.Is(err, bucket.ErrNoUpload) { // of another key, or gone by now
				continue
			}
			if err != nil {
				return err
			}
			started, err := up.started()
			up.close()
			if err != nil {
				return err
			}
			if !yield(bucket.MultipartInfo{ID: id, Started: started}, nil) {
				return errStopped
			}
		}
		if rerr == io.EOF {
			return nil
		}
		if rerr != nil {
			return rerr
		}
	}
}

// removeUpload removes what there is of an upload, its table first: without it
// there is no such upload. If it comes back after a loss of power it is an
// upload that nobody completes.
func (b *Bucket) removeUpload(id string) {
	dir, err := b.openFolder(path.Join(multipartDir, id))
	if err != nil {
		return
	}
	defer dir.Close()
	_ = unix.Unlinkat(int(dir.Fd()), tableName, 0)
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		_ = unix.Unlinkat(int(dir.Fd()), name, 0)
	}
	_ = unix.Unlinkat(int(b.root.Fd()), path.Join(multipartDir, id), unix.AT_REMOVEDIR)
}

// clearUploads removes the uploads that have been given up without a word.
func (b *Bucket) clearUploads(now time.Time) {
	all, err := b.openFolder(multipartDir)
	if err != nil {
		return
	}
	defer all.Close()
	ids, _ := all.Readdirnames(-1)
	for _, id := range ids {
		used := time.Time{}
		for _, name := range []string{"", tableName} { // the folder and its table
			var st unix.Stat_t
			err := unix.Fstatat(int(all.Fd()), path.Join(id, name), &st, unix.AT_SYMLINK_NOFOLLOW)
			if at := time.Unix(st.Mtim.Unix()); err == nil && at.After(used) {
				used = at
			}
		}
		if now.Sub(used) > abandonedAfter {
			b.removeUpload(id)
		}
	}
}
