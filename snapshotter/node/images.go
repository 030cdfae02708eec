package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/errdefs"
)

// An imageKey is one container, and not another that had its id before.
type imageKey struct {
	namespace, id string
	created       time.Time // UTC, without a monotonic reading
}

func keyOf(namespace, id string, created time.Time) imageKey {
	return imageKey{namespace, id, created.UTC().Round(0)}
}

// A namedImage is what a container's image named when the container was first
// seen. It is kept on disk: the name may be given to another image while the
// container runs, or taken away.
type namedImage struct {
	Namespace string    `json:"namespace"`
	ID        string    `json:"id"`
	Created   time.Time `json:"created"`
	Digest    string    `json:"digest"`
}

func (a *Agent) imagesFile() string { return filepath.Join(a.cfg.Root, "images.json") }

// maxImagesFile bounds what is read of it, in bytes.
const maxImagesFile = 64 << 20

// loadImages reads what an earlier process has seen. A file that cannot be read
// is no reason not to start: without it, only images that are gone are unknown.
func (a *Agent) loadImages() {
	f, err := os.Open(a.imagesFile())
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	var list []namedImage
	if err == nil {
		defer f.Close()
		err = json.NewDecoder(io.LimitReader(f, maxImagesFile)).Decode(&list)
	}
	if err != nil {
		a.log.Warn("which images containers were made from is not known from before", "file", a.imagesFile(), "error", err)
		return
	}
	for _, i := range list {
		a.images[keyOf(i.Namespace, i.ID, i.Created)] = i.Digest
	}
}

// imageDigest is what the container's image named when the container was first
// seen.
func (a *Agent) imageDigest(ctx context.Context, key imageKey, image string) (string, error) {
	a.mu.Lock()
	d, ok := a.images[key]
	a.mu.Unlock()
	if ok || image == "" {
		return d, nil
	}
	img, err := a.containerd.ImageService().Get(ctx, image)
	if errdefs.IsNotFound(err) {
		return "", nil // removed while the container runs
	}
	if err != nil {
		return "", err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.images[key] = string(img.Target.Digest)
	a.imagesChanged = true
	return a.images[key], nil
}

// keepImages forgets what is known of containers that are gone, and writes down
// what is new.
func (a *Agent) keepImages(list []container) {
	there := make(map[imageKey]bool, len(list))
	for _, c := range list {
		there[keyOf(c.Namespace, c.Id, c.CreatedAt.AsTime())] = true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	before := len(a.images)
	maps.DeleteFunc(a.images, func(k imageKey, _ string) bool { return !there[k] })
	if !a.imagesChanged && len(a.images) == before {
		return
	}
	a.imagesChanged = false
	if err := a.saveImages(); err != nil {
		a.imagesChanged = true
		a.log.Warn("which images containers were made from cannot be kept", "error", err)
	}
}

func (a *Agent) saveImages() error {
	list := make([]namedImage, 0, len(a.images))
	for k, d := range a.images {
		list = append(list, namedImage{k.namespace, k.id, k.created, d})
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("images: %w", err)
	}
	return writeDurably(a.imagesFile(), raw)
}
