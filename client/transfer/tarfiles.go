package transfer

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"github.com/klauspost/compress/gzip"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Limits of an archive.
const (
	maxEntries   = 200_000
	maxLinkDepth = 8
)

// tarFiles are the files in a tar, found once by their headers and then read
// where they lie.
type tarFiles struct {
	f       *os.File
	entries map[string]tarEntry
}

// A tarEntry is where a file's bytes lie, or what it is a link to.
type tarEntry struct {
	offset, size int64
	link         string
}

// openTar indexes the archive at name. One that is compressed as a whole cannot
// be read where it lies and is unpacked first, to a file without a name in the
// folder for temporary files.
// Errors: ErrNotFound, ErrDamaged.
func openTar(name string) (*tarFiles, error) {
	f, err := os.Open(name)
	if notExist(err) {
		return nil, fail(ErrNotFound, "there is no file %s", name)
	}
	if err != nil {
		return nil, err
	}
	if f, err = uncompressed(f); err != nil {
		return nil, err
	}
	entries, err := indexTar(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &tarFiles{f: f, entries: entries}, nil
}

// uncompressed returns f itself, or a temporary file with what is in it; f is
// closed then and when there is an error.
func uncompressed(f *os.File) (*os.File, error) {
	fi, err := f.Stat()
	if err == nil && fi.IsDir() {
		err = fail(ErrNotFound, "it is a folder (a layout in a folder is oci:%s)", f.Name())
	}
	var format string
	if err == nil {
		format, err = sniff(f)
	}
	if err == nil && format == "" {
		return f, nil
	}
	defer f.Close()
	if err != nil {
		return nil, err
	}
	r, err := decompress(bufio.NewReaderSize(f, 1<<20), format)
	if err != nil {
		return nil, fail(ErrDamaged, "it cannot be unpacked: %w", err)
	}
	defer r.Close()
	tmp, err := tempFile()
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(tmp, r); err != nil {
		tmp.Close()
		return nil, fail(ErrDamaged, "it cannot be unpacked: %w (write or copy it again)", err)
	}
	return tmp, nil
}

// indexTar finds the files in a tar. It reads headers only.
func indexTar(f io.ReadSeeker) (map[string]tarEntry, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	entries := map[string]tarEntry{}
	tr := tar.NewReader(f) // skips by seeking, and reads no further than a header
	for n := 0; ; n++ {
		h, err := tr.Next()
		if err == io.EOF {
			if n == 0 {
				return nil, fail(ErrDamaged, "it is no tar, or an empty one")
			}
			return entries, nil
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fail(ErrDamaged, "the tar is cut off after %d files (write or copy it again)", n)
		}
		if err != nil {
			return nil, fail(ErrDamaged, "it is no tar: %v", err)
		}
		if n == maxEntries {
			return nil, fail(ErrUnsupported, "more than %d files in the tar", maxEntries)
		}
		name := path.Clean("/" + h.Name)[1:]
		switch h.Typeflag {
		case tar.TypeReg:
			offset, err := f.Seek(0, io.SeekCurrent)
			if err != nil {
				return nil, err
			}
			for key := range h.PAXRecords {
				if strings.HasPrefix(key, "GNU.sparse.") {
					return nil, fail(ErrUnsupported, "%s is stored with holes (write the tar without --sparse)", name)
				}
			}
			entries[name] = tarEntry{offset: offset, size: h.Size}
		case tar.TypeGNUSparse:
			return nil, fail(ErrUnsupported, "%s is stored with holes (write the tar without --sparse)", name)
		case tar.TypeLink:
			entries[name] = tarEntry{link: path.Clean("/" + h.Linkname)[1:]}
		case tar.TypeSymlink: // old versions of docker save write them
			entries[name] = tarEntry{link: path.Clean("/" + path.Join(path.Dir(name), h.Linkname))[1:]}
		}
	}
}

func (t *tarFiles) open(name string) (file, error) {
	e, ok := t.entries[name]
	for range maxLinkDepth {
		if !ok || e.link == "" {
			break
		}
		e, ok = t.entries[e.link]
	}
	if !ok || e.link != "" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return tarFile{io.NewSectionReader(t.f, e.offset, e.size)}, nil
}

func (t *tarFiles) Close() error { return t.f.Close() }

type tarFile struct{ *io.SectionReader }

func (tarFile) Close() error { return nil }

// sniff says how the bytes at the beginning of r are compressed: "gzip", "zstd"
// or "" (not at all). It goes back to the beginning.
func sniff(r io.ReadSeeker) (string, error) {
	var b [4]byte
	n, err := io.ReadFull(r, b[:])
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return "", err
	}
	_, err = r.Seek(0, io.SeekStart)
	return sniffBytes(b[:n]), err
}

func sniffBytes(b []byte) string {
	switch s := string(b); {
	case strings.HasPrefix(s, "\x1f\x8b"):
		return "gzip"
	case strings.HasPrefix(s, "\x28\xb5\x2f\xfd"):
		return "zstd"
	}
	return ""
}

func decompress(r io.Reader, format string) (io.ReadCloser, error) {
	switch format {
	case "gzip":
		return gzip.NewReader(r)
	case "zstd":
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<27))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}
	return io.NopCloser(r), nil
}

// tempFile is a file without a name: nothing is left of it, whatever happens.
func tempFile() (*os.File, error) {
	dir := os.Getenv("TMPDIR")
	if dir == "" && exists("/var/tmp") { // /tmp is often memory, and layers are large
		dir = "/var/tmp"
	}
	f, err := os.CreateTemp(dir, "lamina-*")
	if err != nil {
		return nil, fmt.Errorf("temporary file: %w (TMPDIR chooses another folder)", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
