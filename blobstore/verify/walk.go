package verify

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/reference"
)

// What a repository has, in the order in which its keys are listed.
const (
	blobsClass     = "_blobs"
	manifestsClass = "_manifests"
	referrersClass = "_referrers"
	tagsClass      = "_tags"
)

// A place of a name: repos/<repo>/<class>/<rest>.
type repoKey struct {
	key   string
	repo  reference.Repository
	class string
	rest  string
}

// parseRepoKey takes a key apart. No part of a repository's name begins with "_".
func parseRepoKey(key string) (repoKey, error) {
	s, ok := strings.CutPrefix(key, "repos/")
	i := strings.Index(s, "/_")
	if !ok || i < 0 {
		return repoKey{}, fmt.Errorf("key %.300q is none of a repository", key)
	}
	class, rest, ok := strings.Cut(s[i+1:], "/")
	if !ok || rest == "" {
		return repoKey{}, fmt.Errorf("key %.300q has nothing after %q", key, class)
	}
	repo, err := reference.ParseRepository(s[:i])
	if err != nil {
		return repoKey{}, err
	}
	return repoKey{key, repo, class, rest}, nil
}

// names lists what the repositories have of these classes: of all, or of those that
// the patterns mean. The keys of one repository come together, in their order.
func (r *run) names(ctx context.Context, classes ...string) iter.Seq2[repoKey, error] {
	return func(yield func(repoKey, error) bool) {
		for list, err := range r.lists(ctx) {
			if err != nil {
				yield(repoKey{}, err)
				return
			}
			for info, err := range list {
				if err != nil {
					yield(repoKey{}, err)
					return
				}
				k, err := parseRepoKey(info.Key)
				if err != nil {
					r.v.log.Warn("a key in the bucket is none of Lamina's", "key", info.Key, "error", err)
					continue
				}
				if slices.Contains(classes, k.class) && !yield(k, nil) {
					return
				}
			}
		}
	}
}

// lists yields the listings that have all keys of the repositories.
func (r *run) lists(ctx context.Context) iter.Seq2[iter.Seq2[bucket.Info, error], error] {
	b := r.v.store.Bucket()
	return func(yield func(iter.Seq2[bucket.Info, error], error) bool) {
		if r.patterns == nil {
			yield(b.List(ctx, "repos/", ""), nil)
			return
		}
		some := false
		for repo, err := range r.v.images.Repositories(ctx, "") {
			if err != nil {
				yield(nil, err)
				return
			}
			if !r.means(repo) {
				continue
			}
			some = true
			if !yield(b.List(ctx, "repos/"+string(repo)+"/_", ""), nil) {
				return
			}
		}
		if !some {
			yield(nil, &blobstore.Error{
				Class: blobstore.ErrRepositoryUnknown, Subject: strings.Join(r.o.Repositories, " "),
				Detail: "no repository has such a name", Remedy: "write a name, or a pattern as in team/**; lamina images lists what there is",
			})
		}
	}
}

func (r *run) means(repo reference.Repository) bool {
	for _, p := range r.patterns {
		if p.Matches(repo) {
			return true
		}
	}
	return false
}
