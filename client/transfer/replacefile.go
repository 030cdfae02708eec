package transfer

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// tempPrefix begins the names of files that are not whole yet.
const tempPrefix = ".lamina-"

// replaceFile writes a file so that others see all of it or nothing, also after
// a power cut: fill writes to a temporary one beside it, which then takes its
// name.
func replaceFile(name string, fill func(*os.File) error) error {
	// Not os.CreateTemp: that lets nobody else read, where umask may.
	f, err := os.OpenFile(filepath.Join(filepath.Dir(name), tempPrefix+rand.Text()), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it has been renamed
	defer f.Close()
	if err := fill(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

func writeFile(name string, b []byte) error {
	return replaceFile(name, func(f *os.File) error {
		_, err := f.Write(b)
		return err
	})
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// copyContext is io.Copy that ends with ctx.
func copyContext(ctx context.Context, w io.Writer, r io.Reader) (int64, error) {
	buf := make([]byte, 256<<10)
	return io.CopyBuffer(onlyWriter{w}, &contextReader{ctx, r}, buf)
}

// onlyWriter hides ReadFrom, which would not use the buffer.
type onlyWriter struct{ io.Writer }

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
