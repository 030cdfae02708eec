package verify

import (
	"context"
	"errors"
	"fmt"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/reference"
)

// mendUnreadable makes a record under a name that is none a tombstone, so that what
// it was can be written anew, and writes it anew where it is known.
func (r *run) mendUnreadable(ctx context.Context, f *found) error {
	k, err := parseRepoKey(f.Subject)
	if err != nil {
		return err
	}
	switch k.class {
	case tagsClass, referrersClass:
		if _, err := r.v.images.BuryInvalidName(ctx, f.Subject); err != nil {
			return err
		}
		f.Problem += "; it was removed: nobody can tell what it named"
		f.Remedy = "push the image again, or tag it"
		return nil
	case manifestsClass:
		if f.manifest == "" {
			return nil
		}
		return r.mendImage(ctx, f)
	}
	// A blob's link that an image needs is a finding of its own, made anew there.
	if _, err := r.v.store.Links().BuryInvalid(ctx, f.Subject); err != nil {
		return err
	}
	f.Done = Repaired
	return nil
}

// mendImage pushes a manifest once more whose link was lost, by the way that every
// push takes, and gives it its tags again.
func (r *run) mendImage(ctx context.Context, f *found) error {
	im, repo := r.v.images, f.Repository
	b, err := r.v.store.ReadUnpromised(ctx, f.manifest, images.MaxManifestSize)
	if err != nil {
		return err
	}
	if _, err := r.v.store.Links().BuryInvalid(ctx, images.ManifestKey(repo, f.manifest)); err != nil {
		return err
	}
	// What its layers' links have become is found out by pushing.
	if _, err := im.Put(ctx, repo, images.PutOptions{Bytes: b, Digest: f.manifest}); err != nil {
		return fmt.Errorf("push its manifest again: %w", err)
	}
	for info, err := range r.v.store.Bucket().List(ctx, "repos/"+string(repo)+"/"+tagsClass+"/", "") {
		if err != nil {
			return err
		}
		k, err := parseRepoKey(info.Key)
		if err != nil {
			continue
		}
		n, err := im.LookName(ctx, info.Key)
		if errors.Is(err, bucket.ErrNotExist) || err != nil && invalid(err) || n.Gone || n.Digest != f.manifest {
			continue
		}
		if err == nil {
			err = im.Tag(ctx, repo, reference.Tag(k.rest), f.manifest, images.ExpectAbsent())
		}
		if err != nil {
			return fmt.Errorf("tag %s: %w", k.rest, err)
		}
	}
	f.Done = Repaired
	return nil
}
