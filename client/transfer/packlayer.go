package transfer

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A packedLayer is a layer of a docker-archive in the form in which it is sent:
// compressed by gzip, in a file without a name; or where it lies in the archive,
// when it is compressed there.
type packedLayer struct {
	desc ocispec.Descriptor
	at   io.ReaderAt
	tmp  *os.File // nil when at is the archive
}

func (l *packedLayer) open(offset int64) io.ReadCloser {
	return io.NopCloser(io.NewSectionReader(l.at, offset, l.desc.Size-offset))
}

func (l *packedLayer) close() error {
	if l.tmp == nil {
		return nil
	}
	return l.tmp.Close()
}

// packLayers prepares the layers called names, one for each processor at once,
// and each only once that is there several times. The compressor and its level
// are fixed, so that with one version of Lamina the same archive makes the same
// digests. Errors: ErrDamaged for a layer that is not what its diffID says.
func packLayers(ctx context.Context, t *tarFiles, names []string, diffIDs []digest.Digest, o Options) ([]*packedLayer, error) {
	packed := make([]*packedLayer, len(names))
	first := map[digest.Digest]int{}
	var distinct []int
	for i, d := range diffIDs {
		if _, ok := first[d]; !ok {
			first[d] = i
			distinct = append(distinct, i)
		}
	}
	err := each(ctx, runtime.GOMAXPROCS(0), distinct, func(ctx context.Context, i int) (err error) {
		packed[i], err = packLayer(ctx, t, names[i], diffIDs[i], o.progress())
		if err != nil {
			return fmt.Errorf("layer %d of %d: %w", i+1, len(names), err)
		}
		return nil
	})
	if err != nil {
		for _, l := range packed {
			if l != nil {
				l.close()
			}
		}
		return nil, err
	}
	for i, d := range diffIDs {
		packed[i] = packed[first[d]]
	}
	return packed, nil
}

func packLayer(ctx context.Context, t *tarFiles, name string, diffID digest.Digest, p Progress) (_ *packedLayer, err error) {
	f, err := t.open(path.Clean(name))
	if err != nil {
		return nil, inArchive(name, err)
	}
	defer f.Close()
	format, err := sniff(f)
	if err != nil {
		return nil, inArchive(name, err)
	}
	if format == "zstd" {
		return nil, fail(ErrUnsupported, "%s is compressed by zstd, for which Docker's manifests have no name (such archives are OCI layouts as well: use oci-archive:FILE)", name)
	}
	meter := p.Begin(Compress, ocispec.Descriptor{MediaType: dockerLayer, Size: f.Size()})
	defer func() { meter.End(err) }()
	in := &meteredReader{r: &contextReader{ctx, f}, meter: meter}
	l := &packedLayer{desc: ocispec.Descriptor{MediaType: dockerLayer}}
	var got digest.Digest
	if format == "gzip" {
		got, err = l.keep(f, in)
	} else {
		got, err = l.compress(in)
	}
	if err == nil && got != diffID {
		err = fail(ErrDamaged, "%s has the diffID %s, and the config says %s (write the archive again)", name, got, diffID)
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// compress reads a tar into a temporary file, and returns the tar's digest.
func (l *packedLayer) compress(tar io.Reader) (digest.Digest, error) {
	tmp, err := tempFile()
	if err != nil {
		return "", err
	}
	l.at, l.tmp = tmp, tmp
	plain, packed := digest.SHA256.Digester(), digest.SHA256.Digester()
	out := bufio.NewWriterSize(io.MultiWriter(tmp, packed.Hash()), 1<<20)
	z, err := gzip.NewWriterLevel(out, gzip.DefaultCompression)
	if err != nil {
		return "", err
	}
	if _, err := io.CopyBuffer(z, io.TeeReader(tar, plain.Hash()), make([]byte, 256<<10)); err != nil {
		return "", err
	}
	if err := z.Close(); err != nil {
		return "", err
	}
	if err := out.Flush(); err != nil {
		return "", fmt.Errorf("write the compressed layer: %w (TMPDIR chooses another folder)", err)
	}
	l.desc.Digest = packed.Digest()
	l.desc.Size, err = tmp.Seek(0, io.SeekCurrent)
	return plain.Digest(), err
}

// keep leaves a layer as it is, and returns the digest of the tar in it.
func (l *packedLayer) keep(f file, in io.Reader) (digest.Digest, error) {
	at, ok := f.(io.ReaderAt)
	if !ok {
		return "", fail(ErrUnsupported, "cannot read at any place")
	}
	plain, packed := digest.SHA256.Digester(), digest.SHA256.Digester()
	raw := io.TeeReader(in, packed.Hash())
	z, err := gzip.NewReader(raw)
	if err != nil {
		return "", fail(ErrDamaged, "%v", err)
	}
	if _, err := io.Copy(plain.Hash(), z); err != nil {
		return "", fail(ErrDamaged, "%v", err)
	}
	// What follows the gzip stream belongs to the blob too.
	if _, err := io.Copy(io.Discard, raw); err != nil {
		return "", err
	}
	l.at, l.desc.Digest, l.desc.Size = at, packed.Digest(), f.Size()
	return plain.Digest(), nil
}

type meteredReader struct {
	r     io.Reader
	meter Meter
	n     int64
}

func (m *meteredReader) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.n += int64(n)
	m.meter.At(m.n)
	return n, err
}
