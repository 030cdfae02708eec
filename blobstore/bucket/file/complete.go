package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/internal/failpoint"
)

var beforeRemoveUpload = failpoint.New("file-before-remove-upload")

// CompleteMultipart implements bucket.Multiparter.
func (b *Bucket) CompleteMultipart(ctx context.Context, key, id string, parts []bucket.Part, cond bucket.Condition) (bucket.Info, error) {
	if err := check(ctx, "complete upload", key); err != nil {
		return bucket.Info{}, err
	}
	up, err := b.openUpload(key, id)
	if err != nil {
		return bucket.Info{}, b.fail("complete upload", key, err)
	}
	defer up.close()
	stripe := uploadStripe(id)
	if err := b.locks.lock(ctx, stripe); err != nil {
		return bucket.Info{}, b.fail("complete upload", key, err)
	}
	defer b.locks.release(stripe)
	cond.NotAfter = bucket.Condition{}.NotAfter // see bucket.Multiparter
	info, err := up.complete(ctx, key, parts, cond)
	if err != nil {
		return bucket.Info{}, b.fail("complete upload", key, err)
	}
	beforeRemoveUpload.Hit()
	b.removeUpload(id)
	return info, nil
}

// complete makes an object of parts. The upload's stripe is held.
func (up *upload) complete(ctx context.Context, key string, parts []bucket.Part, cond bucket.Condition) (bucket.Info, error) {
	if err := up.present(); err != nil {
		return bucket.Info{}, err
	}
	slots, err := up.slots(parts)
	if err != nil {
		return bucket.Info{}, err
	}
	if err := up.b.holds(key, cond); err != nil {
		return bucket.Info{}, err
	}
	main, err := up.whole(slots)
	if err != nil {
		return bucket.Info{}, err
	}
	if main == nil {
		return up.join(ctx, key, parts, slots, cond)
	}
	defer main.Close()
	if err := up.seal(); err != nil {
		return bucket.Info{}, err
	}
	sealed := func() error { return syncData(up.table) }
	info, err := up.b.name(ctx, key, main, path.Join(multipartDir, up.id, mainName), cond, sealed)
	if err != nil && !errors.Is(err, bucket.ErrUnavailable) {
		err = errors.Join(err, up.unseal())
	}
	return info, err
}

// slots checks the list of parts and returns where they are.
func (up *upload) slots(parts []bucket.Part) ([]slot, error) {
	if len(parts) == 0 {
		return nil, fmt.Errorf("%w: none is named", bucket.ErrPart)
	}
	slots := make([]slot, len(parts))
	for i, p := range parts {
		if p.Number < 1 || p.Number > maxParts || i > 0 && p.Number <= parts[i-1].Number {
			return nil, fmt.Errorf("%w: number %d is out of order", bucket.ErrPart, p.Number)
		}
		s, err := up.slot(p.Number)
		switch {
		case err != nil:
			return nil, err
		case s.place == nowhere:
			return nil, fmt.Errorf("%w: number %d was not put", bucket.ErrPart, p.Number)
		case s.etag != p.ETag:
			return nil, fmt.Errorf("%w: number %d is at %s, not %s", bucket.ErrPart, p.Number, s.etag, p.ETag)
		case s.size == 0 && i < len(parts)-1:
			return nil, fmt.Errorf("%w: number %d is empty", bucket.ErrPart, p.Number)
		}
		slots[i] = s
	}
	return slots, nil
}

// whole opens main if it is, byte for byte, the parts in their slots, and
// nobody is writing to it. Otherwise it returns nil.
func (up *upload) whole(slots []slot) (*os.File, error) {
	var end int64
	for _, s := range slots {
		if s.place != inMain || s.offset != end {
			return nil, nil
		}
		end += s.size
	}
	if free, err := up.lockParts(0); err != nil || !free {
		return nil, err
	}
	main, err := up.open(mainName, unix.O_RDWR)
	if err != nil {
		return nil, up.missing(err)
	}
	st, err := statFile(main)
	if err != nil || st.Size != end {
		_ = main.Close()
		return nil, err
	}
	return main, nil
}

// join copies the parts together to a new file, and names it. Where the
// filesystem can, the copies share their blocks with the parts.
func (up *upload) join(ctx context.Context, key string, parts []bucket.Part, slots []slot, cond bucket.Condition) (bucket.Info, error) {
	f, err := up.b.newTemp()
	if err != nil {
		return bucket.Info{}, err
	}
	defer up.b.dropTemp(f)
	for i, s := range slots {
		name := mainName
		if s.place == inOwnFile {
			name = ownName(parts[i].Number, s.etag)
		}
		part, err := up.open(name, unix.O_RDONLY)
		if errors.Is(err, unix.ENOENT) {
			return bucket.Info{}, fmt.Errorf("%w: number %d has just been replaced", bucket.ErrPart, parts[i].Number)
		}
		if err != nil {
			return bucket.Info{}, err
		}
		// On Linux this is copy_file_range(2).
		_, err = part.Seek(s.offset, io.SeekStart)
		if err == nil {
			_, err = io.CopyN(f, part, s.size)
		}
		_ = part.Close()
		if err == io.EOF {
			err = fmt.Errorf("%w: number %d: %w", bucket.ErrPart, parts[i].Number, io.ErrUnexpectedEOF)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return bucket.Info{}, err
		}
	}
	return up.b.name(ctx, key, f, f.Name(), cond)
}

// name finishes the file f, which has the name from, does what else must be on
// disk before, and publishes the file.
func (b *Bucket) name(ctx context.Context, key string, f *os.File, from string, cond bucket.Condition, before ...func() error) (bucket.Info, error) {
	var st unix.Stat_t
	err := syncAll(append(before, func() (err error) {
		st, err = finish(f)
		return err
	})...)
	if err != nil {
		return bucket.Info{}, err
	}
	info, _, err := describe(key, f, st)
	if err != nil {
		return bucket.Info{}, err
	}
	return info, b.publish(ctx, key, from, cond, b.parentAhead(key))
}
