package collect

import (
	"time"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/reference"
)

// A Tally is told what a mark finds. Its methods are called one after another,
// never at once, and should not block. They come in this order: Repository, in
// the order of the bucket's listing; then Tag, in
// no order; then Manifest, in no order; then Unnamed, in no order; then Listed, and Done.
// When the cycle fails before that there is no Done, but Drop.
type Tally interface {
	// Repository says that there are links or tags in a repository.
	Repository(repo reference.Repository)
	// Tag says that a repository has a tag.
	Tag(repo reference.Repository, tag reference.Tag)
	// Manifest says that a repository has a manifest, linked or named by an
	// index that it has, once for each repository. named are the config, the
	// layers and the manifests that it names, without what registries do not
	// keep, each as often as it names it. created is when the repository got it;
	// zero for one that is not linked. repo is empty for what no repository has
	// and a snapshot or a node names; it may come for a manifest that a
	// repository has too, after that.
	Manifest(repo reference.Repository, manifest images.Descriptor, named []images.Descriptor, created time.Time)
	// Unnamed says that there is the record of a blob that the mark did not
	// reach, and which step was taken, or would be (blobstore.Kept too).
	Unnamed(j blobstore.Judgement)
	// Listed says how many records of blobs there are.
	Listed(blobs int64)
	// Done ends it; Drop ends one that has not come to its end.
	Done() error
	Drop()
}

// silence is a tally that nobody reads.
type silence struct{}

func (silence) Repository(reference.Repository)                                                  {}
func (silence) Tag(reference.Repository, reference.Tag)                                          {}
func (silence) Manifest(reference.Repository, images.Descriptor, []images.Descriptor, time.Time) {}
func (silence) Unnamed(blobstore.Judgement)                                                      {}
func (silence) Listed(int64)                                                                     {}
func (silence) Done() error                                                                      { return nil }
func (silence) Drop()                                                                            {}
