package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"
)

// work is what each system is given to do.
type work struct {
	dir        string
	image      string // an OCI layout
	imageSize  int64
	blob       string // a file
	blobSize   int64
	blobDigest string
}

func newWork(dir string, imageSize, blobSize int64) (*work, error) {
	w := &work{dir: dir, image: filepath.Join(dir, "image"), blob: filepath.Join(dir, "blob"), blobSize: blobSize}
	var err error
	if w.imageSize, err = makeImage(w.image, imageSize); err != nil {
		return nil, err
	}
	w.blobDigest, err = makeBlob(w.blob, blobSize, 1)
	return w, err
}

func makeBlob(path string, size int64, seed byte) (digest string, err error) {
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.CopyN(io.MultiWriter(f, h), rand.NewChaCha8([32]byte{seed}), size)
	return fmt.Sprintf("sha256:%x", h.Sum(nil)), errors.Join(err, f.Close())
}

// makeImage makes an image of five layers from the files that this machine has
// under /usr, of about size bytes compressed.
func makeImage(dir string, size int64) (int64, error) {
	next, stop := pull(os.DirFS("/"), "usr")
	defer stop()
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	var total int64
	for total < size {
		raw := new(bytes.Buffer)
		tw := tar.NewWriter(raw)
		for raw.Len() < int(size/5)*8/5 { // about eight bytes become five
			name, data, ok := next()
			if !ok {
				return 0, errors.New("/usr has too few files for an image of that size")
			}
			if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
				return 0, err
			}
			if _, err := tw.Write(data); err != nil {
				return 0, err
			}
		}
		if err := tw.Close(); err != nil {
			return 0, err
		}
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw.Bytes())), nil },
			tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
		if err != nil {
			return 0, err
		}
		n, err := l.Size()
		if err != nil {
			return 0, err
		}
		total += n
		if img, err = mutate.AppendLayers(img, l); err != nil {
			return 0, err
		}
	}
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		return 0, err
	}
	return total, p.AppendImage(img, layout.WithPlatform(v1.Platform{OS: "linux", Architecture: "amd64"}))
}

// pull returns the regular files below root, one after the other.
func pull(fsys fs.FS, root string) (next func() (string, []byte, bool), stop func()) {
	type file struct {
		name string
		data []byte
	}
	files, done := make(chan file), make(chan struct{})
	go func() {
		defer close(files)
		_ = fs.WalkDir(fsys, root, func(p string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil
			}
			data, err := fs.ReadFile(fsys, p)
			if err != nil {
				return nil
			}
			select {
			case files <- file{p, data}:
				return nil
			case <-done:
				return fs.SkipAll
			}
		})
	}()
	return func() (string, []byte, bool) { f, ok := <-files; return f.name, f.data, ok }, func() { close(done) }
}

// A sample is one measured thing.
type sample struct{ wall, cpu time.Duration }

// result has all samples of a system, by what was done.
type result map[string][]sample

var done = []string{"push image", "pull image", "push blob", "pull blob"}

func (w *work) measure(ctx context.Context, s system, dir string, r *result) error {
	p, err := s.start(ctx, dir)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	defer p.stop()
	if *r == nil {
		*r = result{}
	}
	ref := "docker://" + p.addr + "/bench/image:1"
	out := filepath.Join(w.dir, "pulled")
	steps := map[string]func() error{
		"push image": func() error {
			return command(ctx, "skopeo", "copy", "-q", "--insecure-policy", "--dest-tls-verify=false", "oci:"+w.image, ref)
		},
		"pull image": func() error {
			return command(ctx, "skopeo", "copy", "-q", "--insecure-policy", "--src-tls-verify=false", ref, "dir:"+out)
		},
		"push blob": func() error { return pushBlob(ctx, p.addr, w.blob, w.blobDigest) },
		"pull blob": func() error {
			return command(ctx, "curl", "-sf", "-o", filepath.Join(w.dir, "pulled-blob"), "http://"+p.addr+"/v2/bench/blob/blobs/"+w.blobDigest)
		},
	}
	for _, name := range done {
		times := 1
		if strings.HasPrefix(name, "pull") {
			times = 3 // they are short
		}
		for range times {
			before, err := p.cpu()
			if err != nil {
				return err
			}
			began := time.Now()
			if err := steps[name](); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			wall := time.Since(began)
			if strings.HasPrefix(name, "push") {
				settle(ctx, p, 5) // what is done in the background counts too
			}
			after, err := p.cpu()
			if err != nil {
				return err
			}
			(*r)[name] = append((*r)[name], sample{wall, after - before})
			os.RemoveAll(out)
		}
	}
	return nil
}

// settle waits until the process has used no processor time for so many tenths
// of a second.
func settle(ctx context.Context, p *process, tenths int) {
	last, _ := p.cpu()
	for quiet := 0; quiet < tenths && ctx.Err() == nil; {
		time.Sleep(100 * time.Millisecond)
		now, _ := p.cpu()
		if quiet++; now > last {
			quiet = 0
		}
		last = now
	}
}

func command(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, out)
	}
	return nil
}

// pushBlob starts an upload and has curl send the whole in one PUT.
func pushBlob(ctx context.Context, addr, path, digest string) error {
	resp, err := http.Post("http://"+addr+"/v2/bench/blob/blobs/uploads/", "", nil)
	if err != nil {
		return err
	}
	resp.Body.Close()
	u, err := resp.Location()
	if err != nil {
		return err
	}
	q := u.Query()
	q.Set("digest", digest)
	u.RawQuery = q.Encode()
	return command(ctx, "curl", "-sf", "-H", "Content-Type: application/octet-stream", "-H", "Expect:", "-T", path, u.String())
}

// memory pushes four blobs of size bytes at once and returns the most memory
// that the server had, in bytes.
func (w *work) memory(ctx context.Context, s system, push pushFunc, dir string, size int64) (int64, error) {
	p, err := s.start(ctx, dir)
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	defer p.stop()
	g, gctx := errgroup.WithContext(ctx)
	for i := range 4 {
		g.Go(func() error {
			path := fmt.Sprintf("%s/big-%d", w.dir, i)
			digest, err := makeBlob(path, size, byte(10+i))
			if err != nil {
				return err
			}
			defer os.Remove(path)
			return push(gctx, p.addr, path, digest)
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	return p.peak()
}
