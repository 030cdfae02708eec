package images

import (
	"context"
	"errors"
	"iter"
	"strings"
	"time"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/record"
	"github.com/laminastore/lamina/reference"
)

// catalogRecord says that a repository exists: catalog/<name>+. It is written
// before the first tag, and stays.
type catalogRecord struct {
	record.Header
	Since time.Time `json:"since"`
	// Pruned is set before the first manifest or tag is removed, and never
	// taken back. As long as it is not set, every tag that a listing of the
	// bucket finds counts, and its record need not be read.
	Pruned bool `json:"pruned,omitempty"`
}

// catalogEntry is what is remembered of one that exists.
type catalogEntry struct{ pruned bool }

const (
	catalogPrefix = "catalog/"
	// catalogEnd follows the name in the key, so that the key of "a" is no
	// folder of that of "a/b". It comes before all that names are made of: keys
	// are in the order of the names.
	catalogEnd = "+"
)

func catalogKey(repo reference.Repository) string { return catalogPrefix + string(repo) + catalogEnd }

func (im *Images) knowCatalog(repo reference.Repository, pruned bool) {
	if old, ok := im.catalogs.Get(repo); ok && (old.pruned || !pruned) {
		return // it does not become less pruned
	}
	im.catalogs.Put(repo, catalogEntry{pruned}, int64(len(repo))+100)
}

func (im *Images) knownCatalog(repo reference.Repository) bool {
	_, ok := im.catalogs.Get(repo)
	return ok
}

// ensureCatalog makes repo one that exists. Where that is likely, it looks
// first: which costs one call if it does, and two if it does not, and the other
// way round.
func (im *Images) ensureCatalog(ctx context.Context, repo reference.Repository, likely bool) error {
	if likely {
		if err := im.exists(ctx, repo); !errors.Is(err, blobstore.ErrRepositoryUnknown) {
			return err
		}
	}
	for !im.knownCatalog(repo) {
		r := &catalogRecord{Since: im.clock.Now().UTC()}
		now, at, _, err := record.Swap(ctx, im.records, catalogKey(repo), record.Version{}, r, time.Time{})
		if err != nil {
			return err
		}
		if at != (record.Version{}) {
			im.knowCatalog(repo, now.Pruned)
		}
	}
	return nil
}

// pruned says whether something may have been removed from repo before now.
// Errors: ErrRepositoryUnknown.
func (im *Images) pruned(ctx context.Context, repo reference.Repository) (bool, error) {
	if c, ok := im.catalogs.Get(repo); ok && c.pruned {
		return true, nil
	}
	r, _, err := record.Read[catalogRecord](ctx, im.records, catalogKey(repo))
	if absent(err) {
		return false, fail(blobstore.ErrRepositoryUnknown, repo, "nothing has been pushed to it")
	}
	if err != nil {
		return false, err
	}
	im.knowCatalog(repo, r.Pruned)
	return r.Pruned, nil
}

// exists is pruned for those who only want to know whether repo exists.
func (im *Images) exists(ctx context.Context, repo reference.Repository) error {
	if im.knownCatalog(repo) {
		return nil
	}
	_, err := im.pruned(ctx, repo)
	return err
}

// prune notes that something is about to be removed from repo. Once this has
// returned, a listing that is made sees to it that what it shows still counts.
func (im *Images) prune(ctx context.Context, repo reference.Repository) error {
	if c, ok := im.catalogs.Get(repo); ok && c.pruned {
		return nil
	}
	_, _, err := record.Update(ctx, im.records, catalogKey(repo), time.Time{}, func(r *catalogRecord, exists bool) (bool, error) {
		if !exists {
			r.Since = im.clock.Now().UTC()
		}
		changed := !r.Pruned
		r.Pruned = true
		return changed, nil
	})
	if err == nil {
		im.knowCatalog(repo, true)
	}
	return err
}

// Repositories yields the names of the repositories greater than after, in the
// order of their bytes: one call to the bucket a thousand names. One whose
// manifests have all been deleted is among them. After an error the sequence
// ends. Errors: bucket.ErrUnavailable.
func (im *Images) Repositories(ctx context.Context, after string) iter.Seq2[reference.Repository, error] {
	return func(yield func(reference.Repository, error) bool) {
		start := ""
		if after != "" {
			start = catalogKey(reference.Repository(after))
		}
		for info, err := range im.bucket.List(ctx, catalogPrefix, start) {
			if err != nil {
				yield("", err)
				return
			}
			name, _ := strings.CutSuffix(strings.TrimPrefix(info.Key, catalogPrefix), catalogEnd)
			repo, err := reference.ParseRepository(name)
			if err != nil {
				im.log.Warn("a catalog entry is none of a repository", "key", info.Key, "error", err)
				continue
			}
			if !yield(repo, nil) {
				return
			}
		}
	}
}
