package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
)

// maxCandidates bounds the data objects that are hashed to find one blob.
const maxCandidates = 100

// errNowhere says that nobody has a blob. It does not leave the package.
var errNowhere = errors.New("nothing else in the store has its bytes")

// repair puts back what can be, blobs first: links and tags need them.
func (r *run) repair(ctx context.Context) error {
	if !r.o.Repair || len(r.found) == 0 {
		return nil
	}
	r.phase("repair", int64(len(r.found)))
	var same map[int64][]string
	if r.data == nil {
		var err error
		if same, err = r.sameSize(ctx); err != nil {
			return err
		}
	}
	for _, names := range []bool{false, true} {
		for _, f := range r.found {
			if names != (f.digest == "") {
				continue
			}
			err := error(nil)
			if names {
				err = r.mendName(ctx, f)
			} else {
				err = r.mendBlob(ctx, f, same)
			}
			if errors.Is(err, bucket.ErrUnavailable) || ctx.Err() != nil {
				return fmt.Errorf("repair %s: %w", f.Subject, err)
			}
			if err != nil {
				f.Problem += "; it could not be repaired: " + err.Error()
			} else if f.Done == Repaired {
				f.Remedy = ""
				r.v.log.Warn("verification has repaired something", "kind", f.Kind, "subject", f.Subject, "repository", f.Repository)
			}
			r.done()
		}
	}
	return nil
}

// mendBlob makes a blob readable again, by an upload like any other, and sees to it
// that the repositories whose images name it hold it.
func (r *run) mendBlob(ctx context.Context, f *found, same map[int64][]string) error {
	s := r.v.store
	if f.Kind == Unreadable {
		if _, err := s.BuryInvalid(ctx, f.digest); err != nil {
			return err
		}
	}
	is, err := r.readable(ctx, f.digest)
	if err == nil && !is {
		err = r.restore(ctx, f, same)
	}
	if err == nil {
		_, err = s.PromiseAnew(ctx, f.digest) // a condemned one is live with that
	}
	for _, repo := range f.holders {
		if err == nil {
			var holds bool
			if holds, err = s.HoldsBlob(ctx, repo, f.digest); err == nil && !holds {
				_, err = s.Hold(ctx, repo, f.digest)
			}
		}
	}
	if err == nil {
		f.Done = Repaired
	}
	return err
}

// restore stores the bytes of a blob again, from what has them.
func (r *run) restore(ctx context.Context, f *found, same map[int64][]string) error {
	var ids []string
	info, err := r.v.store.Describe(ctx, f.digest)
	switch {
	case err == nil:
		if info.State != gone || info.Size > 0 {
			f.size = info.Size
		}
		ids = slices.Concat(info.Copies, info.Bad, info.Drop)
	case !isUnknown(err) && !invalid(err):
		return err
	}
	for _, u := range r.unnamed {
		if u.size == f.size || f.size < 0 {
			ids = append(ids, u.id)
		}
	}
	ids = append(ids, same[f.size]...)
	for _, id := range ids[:min(len(ids), maxCandidates)] {
		done, err := r.restoreFrom(ctx, f, id)
		if err != nil || done {
			return err
		}
	}
	if r.o.From == nil {
		return errNowhere
	}
	src, err := r.o.From.Open(ctx, f.digest, f.size)
	if err != nil {
		return fmt.Errorf("%w, and %s: %w", errNowhere, r.o.From, err)
	}
	defer src.Close()
	if _, err := r.v.store.Restore(ctx, f.digest, f.size, src); err != nil {
		return fmt.Errorf("from %s: %w", r.o.From, err)
	}
	return nil
}

// restoreFrom stores the blob from a data object, if that has its bytes.
func (r *run) restoreFrom(ctx context.Context, f *found, id string) (bool, error) {
	open := func() (io.ReadCloser, bucket.Info, error) {
		return r.v.store.Bucket().Get(ctx, blobstore.DataPrefix+id, 0, -1)
	}
	src, info, err := open()
	if errors.Is(err, bucket.ErrNotExist) || err == nil && f.size >= 0 && info.Size != f.size {
		if src != nil {
			src.Close()
		}
		return false, nil
	}
	if err != nil {
		return false, err
	}
	got, err := r.hash(ctx, f.digest.Algorithm(), src, info.Size)
	src.Close()
	if err != nil || got != f.digest {
		return false, err
	}
	if src, info, err = open(); err != nil {
		return false, err
	}
	defer src.Close()
	_, err = r.v.store.Restore(ctx, f.digest, info.Size, src)
	return err == nil, err
}

// sameSize lists the data objects that have the size of a bad blob, at most so many
// of each size as are tried.
func (r *run) sameSize(ctx context.Context) (map[int64][]string, error) {
	same := map[int64][]string{}
	for _, f := range r.found {
		if f.digest != "" && f.size > 0 {
			same[f.size] = nil
		}
	}
	if len(same) == 0 {
		return nil, nil
	}
	for info, err := range r.v.store.Bucket().List(ctx, blobstore.DataPrefix, "") {
		if err != nil {
			return nil, fmt.Errorf("look for data of the same size: %w", err)
		}
		if ids, ok := same[info.Size]; ok && len(ids) < maxCandidates {
			same[info.Size] = append(ids, strings.TrimPrefix(info.Key, blobstore.DataPrefix))
		}
	}
	return same, nil
}

// mendName puts back a link or a tag.
func (r *run) mendName(ctx context.Context, f *found) error {
	switch {
	case f.Kind == Unlinked:
		if err := r.hold(ctx, f); err != nil {
			return err
		}
		f.Done = Repaired
	case f.Kind == Dangling && f.manifest != "":
		return r.mendImage(ctx, f)
	case f.Kind == Unreadable && strings.HasPrefix(f.Subject, "repos/"):
		return r.mendUnreadable(ctx, f)
	}
	return nil
}

func (r *run) hold(ctx context.Context, f *found) error {
	d := digest.Digest(f.Subject)
	_, err := r.v.store.Links().BuryInvalid(ctx, blobstore.BlobLinkKey(f.Repository, d))
	if err == nil {
		_, err = r.v.store.Hold(ctx, f.Repository, d)
	}
	return err
}
