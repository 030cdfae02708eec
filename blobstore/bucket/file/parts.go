package file

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// An upload in the folder .lamina/multipart/<id> has these files:
//
//	table     which parts there are, and where
//	main      the parts that lie where they will lie in the object
//	<n>-<etag>  a part that does not
//
// The table has a header and a slot for each part. It is locked byte by byte:
// byte n while someone writes part n to main.
const (
	tableName = "table"
	mainName  = "main"

	tableMagic  = "lamina parts 1\n\x00"
	unitAt      = 16 // int64, size of the parts in main but the last; 0: not known
	sealedAt    = 24 // byte, 1: main may have become an object
	keyLengthAt = 28 // uint32
	keyAt       = 32
	headerSize  = 1024

	slotSize = 64 // CRC32C, place, size, offset, ETag
	etagSize = 26 // of rand.Text
	maxParts = 10_000
)

// A place says where a part is.
type place uint32

const (
	nowhere place = iota
	inMain
	inOwnFile
)

// A slot describes a part that is on disk.
type slot struct {
	place  place
	size   int64
	offset int64 // in main
	etag   bucket.ETag
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (s slot) encode() []byte {
	buf := make([]byte, slotSize)
	binary.LittleEndian.PutUint32(buf[4:], uint32(s.place))
	binary.LittleEndian.PutUint64(buf[8:], uint64(s.size))
	binary.LittleEndian.PutUint64(buf[16:], uint64(s.offset))
	copy(buf[24:24+etagSize], s.etag)
	binary.LittleEndian.PutUint32(buf, crc32.Checksum(buf[4:], castagnoli))
	return buf
}

// decodeSlot returns the slot in buf. One that was never written, or was being
// written when the power went, describes no part.
func decodeSlot(buf []byte) slot {
	if binary.LittleEndian.Uint32(buf) != crc32.Checksum(buf[4:], castagnoli) {
		return slot{}
	}
	return slot{
		place:  place(binary.LittleEndian.Uint32(buf[4:])),
		size:   int64(binary.LittleEndian.Uint64(buf[8:])),
		offset: int64(binary.LittleEndian.Uint64(buf[16:])),
		etag:   bucket.ETag(buf[24 : 24+etagSize]),
	}
}

func ownName(n int, etag bucket.ETag) string { return fmt.Sprintf("%d-%s", n, etag) }

// tableHeader is the header of the table of an upload to key.
func tableHeader(key string, unit int64) []byte {
	head := make([]byte, headerSize)
	copy(head, tableMagic)
	binary.LittleEndian.PutUint64(head[unitAt:], uint64(unit))
	binary.LittleEndian.PutUint32(head[keyLengthAt:], uint32(len(key)))
	copy(head[keyAt:], key)
	return head
}

// An upload is an open multipart upload.
type upload struct {
	b     *Bucket
	id    string
	dir   *os.File
	table *os.File
}

// openUpload opens the upload id to key.
func (b *Bucket) openUpload(key, id string) (*upload, error) {
	// An id is a name that CreateMultipart has made, and nothing else.
	if len(id) != etagSize || bucket.CheckKey(id) != nil {
		return nil, fmt.Errorf("%w: %q", bucket.ErrNoUpload, id)
	}
	up := &upload{b: b, id: id}
	var err error
	if up.dir, err = b.openFolder(path.Join(multipartDir, id)); err != nil {
		return nil, up.missing(err)
	}
	if up.table, err = up.open(tableName, unix.O_RDWR); err != nil {
		up.close()
		return nil, up.missing(err)
	}
	head := make([]byte, headerSize)
	_, err = up.table.ReadAt(head, 0)
	length := min(binary.LittleEndian.Uint32(head[keyLengthAt:]), headerSize-keyAt)
	switch {
	case err != nil && err != io.EOF:
	case string(head[:unitAt]) != tableMagic || string(head[keyAt:keyAt+length]) != key:
		err = fmt.Errorf("%w: %s for this key", bucket.ErrNoUpload, id)
	default:
		return up, nil
	}
	up.close()
	return nil, err
}

func (up *upload) open(name string, flags int) (*os.File, error) {
	return up.b.openAt(path.Join(multipartDir, up.id, name), flags)
}

func (up *upload) close() {
	_ = up.dir.Close()
	if up.table != nil {
		_ = up.table.Close()
	}
}

func (up *upload) missing(err error) error {
	if err = up.b.missing(err); errors.Is(err, bucket.ErrNotExist) {
		err = fmt.Errorf("%w: %s", bucket.ErrNoUpload, up.id)
	}
	return err
}

// present returns ErrNoUpload when the upload has been completed or aborted
// since it was opened.
func (up *upload) present() error {
	st, err := statFile(up.table)
	if err == nil && st.Nlink == 0 {
		err = fmt.Errorf("%w: %s", bucket.ErrNoUpload, up.id)
	}
	return err
}

// started is when the upload was created: when its table was made, or, on a
// filesystem that does not say, last written.
func (up *upload) started() (time.Time, error) {
	var st unix.Statx_t
	err := unix.Statx(int(up.table.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BTIME|unix.STATX_MTIME, &st)
	at := st.Mtime
	if st.Mask&unix.STATX_BTIME != 0 {
		at = st.Btime
	}
	return time.Unix(at.Sec, int64(at.Nsec)).UTC(), os.NewSyscallError("statx", err)
}

func slotAt(n int) int64 { return headerSize + int64(n-1)*slotSize }

// slot returns what the table says of part n.
func (up *upload) slot(n int) (slot, error) {
	buf := make([]byte, slotSize)
	if _, err := up.table.ReadAt(buf, slotAt(n)); err != nil && err != io.EOF {
		return slot{}, err
	}
	return decodeSlot(buf), nil
}

// write writes to the table where part n is.
func (up *upload) write(n int, s slot) error {
	_, err := up.table.WriteAt(s.encode(), slotAt(n))
	return err
}

// record is write that puts it on disk.
func (up *upload) record(n int, s slot) error {
	if err := up.write(n, s); err != nil {
		return err
	}
	return syncData(up.table)
}

// lockParts locks the part n for writing to main, or all of them when n is 0.
// It returns false when another has a lock. Closing the table unlocks.
func (up *upload) lockParts(n int) (bool, error) {
	lk := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: int64(n), Len: 1}
	if n == 0 {
		lk.Len = maxParts + 1
	}
	err := unix.FcntlFlock(up.table.Fd(), unix.F_OFD_SETLK, &lk)
	if err == unix.EAGAIN || err == unix.EACCES {
		return false, nil
	}
	return err == nil, os.NewSyscallError("lock part", err)
}

// unit returns the size of the parts in main, which is that of the first part
// that comes. The upload's stripe is held.
func (up *upload) unit(first int64) (int64, error) {
	var buf [8]byte
	if _, err := up.table.ReadAt(buf[:], unitAt); err != nil {
		return 0, err
	}
	if unit := int64(binary.LittleEndian.Uint64(buf[:])); unit > 0 {
		return unit, nil
	}
	binary.LittleEndian.PutUint64(buf[:], uint64(first))
	_, err := up.table.WriteAt(buf[:], unitAt)
	return first, err
}

func (up *upload) sealed() (bool, error) {
	var flag [1]byte
	_, err := up.table.ReadAt(flag[:], sealedAt)
	return flag[0] != 0, err
}

// seal says that nothing may be written to main any more. It must be on disk,
// by syncData of the table, before main gets its name.
func (up *upload) seal() error {
	_, err := up.table.WriteAt([]byte{1}, sealedAt)
	return err
}

func (up *upload) unseal() error {
	_, err := up.table.WriteAt([]byte{0}, sealedAt)
	return err
}

// syncAll calls all of syncs at once, so that the filesystem can do with one
// write of its journal for all of them, and returns their errors.
func syncAll(syncs ...func() error) error {
	errs := make([]error, len(syncs))
	var others sync.WaitGroup
	for i, f := range syncs[1:] {
		others.Go(func() { errs[i+1] = f() })
	}
	errs[0] = syncs[0]()
	others.Wait()
	return errors.Join(errs...)
}

// syncData puts a file's bytes on disk, and of its metadata what reading it needs.
func syncData(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
