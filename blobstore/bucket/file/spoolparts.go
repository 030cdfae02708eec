package file

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/internal/failpoint"
)

var beforeAdopt = failpoint.New("file-before-adopt")

// Parts implements bucket.Spool.
func (s *spool) Parts(ctx context.Context, key string, size int64, last bool) (string, []bucket.Part, error) {
	if err := check(ctx, "put parts", key); err != nil {
		return "", nil, err
	}
	id, parts, err := s.parts(ctx, key, size, last)
	if err != nil {
		return "", nil, s.b.fail("put parts", key, err)
	}
	return id, parts, nil
}

func (s *spool) parts(ctx context.Context, key string, size int64, last bool) (string, []bucket.Part, error) {
	if s.ended {
		return "", nil, errEnded
	}
	begin := s.up == nil
	if begin {
		if err := s.adopt(key, size); err != nil {
			return "", nil, err
		}
	}
	id := s.up.id
	parts, end, err := s.putParts(ctx, last, begin)
	if err != nil {
		if begin {
			s.up.close()
			s.b.removeUpload(id)
			s.up = nil
		}
		return "", nil, err
	}
	if begin { // main is its name now
		_ = unix.Unlinkat(int(s.b.root.Fd()), s.file.Name(), 0)
	}
	s.parted, s.ended = end, last
	return id, parts, nil
}

// adopt makes the file the main file of a new upload. Nothing of that is on
// disk yet.
func (s *spool) adopt(key string, size int64) error {
	id := rand.Text()
	up, err := s.b.newUpload(key, id, size)
	if err == nil {
		err = os.NewSyscallError("link", unix.Linkat(int(s.b.root.Fd()), s.file.Name(), int(up.dir.Fd()), mainName, 0))
		if err != nil {
			up.close()
		}
	}
	if err != nil {
		s.b.removeUpload(id)
		return err
	}
	s.up, s.size, s.parted, s.mine = up, size, 0, 0
	if err := s.claim(s.to.off); err != nil {
		up.close()
		s.b.removeUpload(id)
		s.up = nil
		return err
	}
	return nil
}

// putParts makes parts of what is none yet, and returns where they end. As with
// a part that comes whole, main and the table are synced at once: if only the
// table is on disk, it describes parts that nobody was told of.
func (s *spool) putParts(ctx context.Context, last, begin bool) (parts []bucket.Part, end int64, err error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	end = s.parted
	var slots []slot
	for end < s.to.off {
		n := min(s.size, s.to.off-end)
		if n < s.size && !last {
			break
		}
		part := bucket.Part{Number: int(end/s.size) + 1, Size: n, ETag: bucket.ETag(rand.Text())}
		parts, slots = append(parts, part), append(slots, slot{place: inMain, size: n, offset: end, etag: part.ETag})
		end += n
	}
	if err := s.writeSlots(ctx, parts, slots); err != nil {
		return nil, 0, err
	}
	err = s.syncParts(begin)
	if err == nil {
		err = s.up.present()
	}
	if err != nil && !begin {
		for _, p := range parts {
			_ = s.up.write(p.Number, slot{})
		}
	}
	return parts, end, err
}

// writeSlots writes to the table where parts are that it does not have.
func (s *spool) writeSlots(ctx context.Context, parts []bucket.Part, slots []slot) error {
	stripe := uploadStripe(s.up.id)
	if err := s.b.locks.lock(ctx, stripe); err != nil {
		return err
	}
	defer s.b.locks.release(stripe)
	for _, p := range parts {
		there, err := s.up.slot(p.Number)
		if err == nil && there.place != nowhere {
			err = fmt.Errorf("%w: somebody else has put number %d", bucket.ErrPart, p.Number)
		}
		if err != nil {
			return err
		}
	}
	for i, p := range parts {
		if err := s.up.write(p.Number, slots[i]); err != nil {
			for _, p := range parts[:i+1] {
				_ = s.up.write(p.Number, slot{})
			}
			return err
		}
	}
	return nil
}

func (s *spool) syncParts(begin bool) error {
	beforeAdopt.Hit()
	data, table := func() error { return syncData(s.file) }, func() error { return syncData(s.up.table) }
	if !begin {
		return syncAll(data, table)
	}
	all, err := s.b.openFolder(multipartDir)
	if err != nil {
		return err
	}
	defer all.Close()
	return syncAll(s.file.Sync, s.up.table.Sync, s.up.dir.Sync, all.Sync)
}
