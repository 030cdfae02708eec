package transfer

import (
	"context"
	"fmt"
	"os"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// OpenOptions say how to get at a place; the zero value is usable.
type OpenOptions struct {
	// PlainHTTP lists the registries, as HOST[:PORT], that are spoken to without
	// TLS. Those on loopback always are.
	PlainHTTP []string
	// Name is what an image is called in a layout or archive whose location has
	// no name; in a docker-archive, with the host: "localhost:5000/demo/app:1".
	// Empty: it gets none.
	Name string
	// Copy has the progress that opening a docker-archive reports, which
	// compresses the layers.
	Copy Options
}

// Open finds the image at l. Errors: ErrNotFound, ErrAmbiguous, ErrDamaged,
// ErrUnsupported, and those of the file system or network.
func Open(ctx context.Context, l Location, o OpenOptions) (Source, error) {
	switch l.Kind {
	case OCI:
		if fi, err := os.Stat(l.Path); notExist(err) {
			return nil, at(l, fail(ErrNotFound, "there is no folder %s", l.Path))
		} else if err == nil && !fi.IsDir() {
			return nil, at(l, fail(ErrNotFound, "it is a file (did you mean oci-archive:%s or docker-archive:%s?)", l.Path, l.Path))
		}
		s, err := openLayout(l, folder(l.Path))
		return asSource(s, err)
	case OCIArchive:
		t, err := openTar(l.Path)
		if err != nil {
			return nil, at(l, err)
		}
		s, err := openLayout(l, t)
		if err != nil {
			_, docker := t.entries["manifest.json"]
			t.Close()
			if docker {
				err = fmt.Errorf("%w (docker save wrote it: use docker-archive:%s)", err, l.Path)
			}
			return nil, err
		}
		return s, nil
	case DockerArchive:
		s, err := openDockerArchive(ctx, l, o.Copy)
		return asSource(s, err)
	case Registry:
		s, err := openRegistry(ctx, l, o.PlainHTTP, transport.PullScope)
		return asSource(s, err)
	}
	return nil, fail(ErrLocation, "kind %q", l.Kind)
}

// asSource keeps a nil pointer from becoming an interface that is not nil.
func asSource[S Source](s S, err error) (Source, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Create makes a place ready to take an image. An archive replaces the file
// that has its name; a layout keeps what is in it.
func Create(ctx context.Context, l Location, o OpenOptions) (Destination, error) {
	name := l.Name
	if name == "" {
		name = o.Name
	}
	switch l.Kind {
	case OCI:
		d, err := createLayoutDir(l, name)
		return asDestination(d, err)
	case OCIArchive:
		d, err := createOCIArchive(l, name)
		return asDestination(d, err)
	case DockerArchive:
		d, err := createDockerArchive(l, name)
		return asDestination(d, err)
	case Registry:
		d, err := createRegistry(ctx, l, o.PlainHTTP)
		return asDestination(d, err)
	}
	return nil, fail(ErrLocation, "kind %q", l.Kind)
}

func asDestination[D Destination](d D, err error) (Destination, error) {
	if err != nil {
		return nil, err
	}
	return d, nil
}
