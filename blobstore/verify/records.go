package verify

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/probe"
	"github.com/laminastore/lamina/blobstore/layers"
	"github.com/laminastore/lamina/blobstore/realm"
	"github.com/laminastore/lamina/blobstore/record"
)

// anyRecord is a record of whatever kind.
type anyRecord struct{ record.Header }

func isUnknown(err error) bool { return errors.Is(err, blobstore.ErrBlobUnknown) }

// records looks at the records that are no blob's and no repository's.
func (r *run) records(ctx context.Context) error {
	r.phase("records", 0)
	for _, prefix := range []string{"catalog/", "keys/", layers.Prefix, "leases/", "nodes/", "realms/", "snapshots/", "stats/", blobstore.UploadPrefix} {
		look := r.lookRecord
		switch prefix {
		case layers.Prefix:
			look = r.lookLayer
		case "snapshots/":
			look = r.lookSnapshot
		}
		list := withoutProbes(r.v.store.Bucket().List(ctx, prefix, ""))
		for f, err := range ordered(ctx, recordsAtOnce, 4*recordsAtOnce, list, func(ctx context.Context, info bucket.Info) (*found, error) {
			return twice(ctx, info.Key, look)
		}) {
			if err != nil {
				return fmt.Errorf("verify %s: %w", prefix, err)
			}
			r.done()
			if f != nil {
				r.add(f)
			}
		}
	}
	return nil
}

// withoutProbes leaves out what a server that starts, or was killed then, tries the
// bucket with: that is no record.
func withoutProbes(list iter.Seq2[bucket.Info, error]) iter.Seq2[bucket.Info, error] {
	return func(yield func(bucket.Info, error) bool) {
		for info, err := range list {
			if err == nil && strings.HasPrefix(info.Key, probe.Prefix) {
				continue
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

// twice looks again at what looks bad: it may have been changed in between, or a
// bit was flipped on the way.
func twice(ctx context.Context, key string, look func(context.Context, string) (*found, error)) (*found, error) {
	f, err := look(ctx, key)
	if err == nil && f != nil {
		f, err = look(ctx, key)
	}
	if errors.Is(err, bucket.ErrNotExist) {
		return nil, nil
	}
	if err != nil && invalid(err) {
		return &found{sure: true, Finding: Finding{
			Kind: Unreadable, Subject: key, Problem: err.Error(), Remedy: removeIt,
		}}, nil
	}
	return f, err
}

func (r *run) lookRecord(ctx context.Context, key string) (*found, error) {
	_, _, err := record.Read[anyRecord](ctx, r.v.store.Records(), key)
	return nil, err
}

// lookLayer compares the record of a layer with its key, and with the blobs that it
// lists. One that was collected is no misfit: collection takes it off the list.
func (r *run) lookLayer(ctx context.Context, key string) (*found, error) {
	l, err := layers.Look(ctx, r.v.store.Records(), key)
	if err != nil {
		return nil, err
	}
	misfit := func(format string, args ...any) (*found, error) {
		return &found{sure: true, Finding: Finding{
			Kind: Misfit, Subject: key, Problem: fmt.Sprintf(format, args...), Remedy: remedyOf(Misfit),
		}}, nil
	}
	in, _, _ := strings.Cut(strings.TrimPrefix(key, layers.Prefix), "/")
	if l.DiffID.Validate() != nil || layers.Key(realm.Name(in), l.DiffID) != key {
		return misfit("it is the record of the layer %s", l.DiffID)
	}
	for d, size := range l.Blobs {
		if d.Validate() != nil {
			return misfit("it lists %.100q, which is no digest", string(d))
		}
		info, err := r.v.store.Describe(ctx, d)
		if isUnknown(err) || err != nil && invalid(err) {
			continue // collected, or a finding already
		}
		if err != nil {
			return nil, err
		}
		if info.State != gone && info.Size != size {
			return misfit("it says that blob %s has %d bytes, which has %d", d, size, info.Size)
		}
	}
	return nil, nil
}

// lookSnapshot sees to it that what a snapshot names is there. It is a root: its
// image stays although its tags are removed.
func (r *run) lookSnapshot(ctx context.Context, key string) (*found, error) {
	s, err := r.v.fleet.Snapshot(ctx, strings.TrimPrefix(key, "snapshots/"))
	if errors.Is(err, blobstore.ErrSnapshotUnknown) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for what, d := range map[string]digest.Digest{"image": s.Image.Digest, "diff": s.Diff.Digest} {
		if d.Validate() != nil {
			return &found{sure: true, Finding: Finding{
				Kind: Unreadable, Subject: key, Repository: s.Repository, Problem: fmt.Sprintf("its %s %.100q is no digest", what, string(d)), Remedy: removeIt,
			}}, nil
		}
		info, err := r.v.store.Describe(ctx, d)
		if err != nil && !isUnknown(err) {
			if invalid(err) {
				continue // a finding already
			}
			return nil, err
		}
		if isUnknown(err) || info.State == gone {
			return &found{sure: true, Finding: Finding{
				Kind: Dangling, Subject: key, Repository: s.Repository,
				Problem: fmt.Sprintf("its %s %s is not in the store any more", what, d),
				Remedy:  "push the image again, or delete the snapshot",
			}}, nil
		}
	}
	return nil, nil
}
