package file

import (
	"os"

	"golang.org/x/sys/unix"
)

const (
	// pourStep is how many bytes go to the kernel at a time. Fewer cost calls; a
	// single call with many megabytes takes up to six times as long (ext4, Linux
	// 6.18), since the pages it fills have left the processor's cache before the
	// call is done with them.
	pourStep = 512 << 10
	// startEvery is after how many bytes the kernel is asked to begin to write
	// them to the disk.
	startEvery = 1 << 20
)

// A pourer writes the bytes of an object to a file. It has the kernel begin to
// put them on disk while the next ones come, so that the sync at the end, which
// everyone waits for, finds little left to do. It makes nothing durable.
type pourer struct {
	f       *os.File
	off     int64 // where the next bytes go
	started int64 // up to where the kernel was asked to begin
}

// pour writes to f from byte off.
func pour(f *os.File, off int64) *pourer { return &pourer{f: f, off: off, started: off} }

func (p *pourer) Write(b []byte) (done int, err error) {
	for done < len(b) {
		n, err := p.f.WriteAt(b[done:min(len(b), done+pourStep)], p.off)
		done += n
		p.off += int64(n)
		if err != nil {
			return done, err
		}
		if p.off-p.started >= startEvery {
			// A filesystem that cannot do this does all of it in the sync.
			_ = unix.SyncFileRange(int(p.f.Fd()), p.started, p.off-p.started, unix.SYNC_FILE_RANGE_WRITE)
			p.started = p.off
		}
	}
	return done, nil
}
