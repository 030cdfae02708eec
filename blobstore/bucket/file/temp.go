package file

import (
	"crypto/rand"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// staleAfter is the age from which a temporary file that nobody has locked is
// taken for what a crash left.
const staleAfter = 24 * time.Hour

// newTemp makes a file to write an object to. It is locked until it is closed,
// so that no other process takes it for an old one.
func (b *Bucket) newTemp() (*os.File, error) {
	f, err := b.openAt(path.Join(tempDir, rand.Text()), unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		b.dropTemp(f)
		return nil, &os.PathError{Op: "lock", Path: f.Name(), Err: err}
	}
	return f, nil
}

// dropTemp closes a temporary file and removes its name, if it still has one.
func (b *Bucket) dropTemp(f *os.File) {
	_ = unix.Unlinkat(int(b.root.Fd()), f.Name(), 0)
	_ = f.Close()
}

// clearTemp removes the temporary files that crashes left.
func (b *Bucket) clearTemp(now time.Time) {
	dir, err := b.openFolder(tempDir)
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		f, err := b.openAt(path.Join(tempDir, name), unix.O_RDWR|unix.O_NONBLOCK)
		if err != nil {
			continue
		}
		st, err := statFile(f)
		old := err == nil && now.Sub(time.Unix(st.Mtim.Unix())) > staleAfter
		if old && unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			b.dropTemp(f)
		} else {
			_ = f.Close()
		}
	}
}
