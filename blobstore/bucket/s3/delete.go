package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/oklog/ulid/v2"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// Delete implements bucket.Deleter.
func (b *Bucket) Delete(ctx context.Context, keys ...string) error {
	var errs []error
	valid := make([]string, 0, len(keys))
	for _, key := range keys {
		if err := check("delete", key); err != nil {
			errs = append(errs, err)
		} else {
			valid = append(valid, key)
		}
	}
	for batch := range slices.Chunk(valid, 1000) {
		errs = append(errs, b.deleteBatch(ctx, batch))
	}
	return errors.Join(errs...)
}

// deleteBatch deletes up to 1,000 objects in a call, and in more those that the
// bucket could not delete for now.
func (b *Bucket) deleteBatch(ctx context.Context, keys []string) error {
	failed := map[string]error{} // of those that it makes no sense to try again
	err := b.do(ctx, "delete", fmt.Sprintf("%d keys from %s", len(keys), keys[0]), func(ctx context.Context, _ *reply) error {
		objects := func(yield func(minio.ObjectInfo) bool) {
			for _, key := range keys {
				if !yield(minio.ObjectInfo{Key: b.prefix + key}) {
					return
				}
			}
		}
		results, err := b.core.RemoveObjectsWithIter(ctx, b.name, objects, minio.RemoveObjectsOptions{})
		if err != nil {
			return err
		}
		left := map[string]bool{}
		for _, key := range keys {
			left[key] = true
		}
		var later error
		for result := range results {
			key := strings.TrimPrefix(result.ObjectName, b.prefix)
			var again bool
			err := result.Err
			switch {
			case err == nil:
				delete(left, key)
				continue
			case minio.ToErrorResponse(err).Code == "NoSuchKey":
				delete(left, key)
				continue
			default:
				err, again = classify(err)
			}
			if again {
				later = result.Err
			} else {
				delete(left, key)
				failed[key] = err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if keys = slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return !left[k] }); len(keys) == 0 {
			return nil
		}
		if later == nil {
			later = fmt.Errorf("%w: it did not say what became of %q", bucket.ErrUnavailable, keys)
		}
		return later
	})
	errs := []error{err}
	for key, err := range failed {
		errs = append(errs, b.fail("delete", key, err))
	}
	return errors.Join(errs...)
}

// deletesIf is a Bucket that honours conditions of DELETE.
type deletesIf struct{ *Bucket }

// DeleteIf implements bucket.ConditionalDeleter.
func (b deletesIf) DeleteIf(ctx context.Context, key string, etag bucket.ETag) error {
	if err := check("delete", key); err != nil {
		return err
	}
	return b.do(ctx, "delete", key, func(ctx context.Context, _ *reply) error {
		return b.deleteIf(ctx, key, etag)
	})
}

// deleteIf goes through a presigned URL because the library's own call takes no
// headers.
func (b *Bucket) deleteIf(ctx context.Context, key string, etag bucket.ETag) error {
	header := http.Header{"If-Match": {`"` + string(etag) + `"`}}
	u, _, err := b.presign(ctx, http.MethodDelete, key, header, time.Now().Add(time.Minute))
	if err != nil {
		return err
	}
	_, err = b.send(ctx, http.MethodDelete, u, header, http.NoBody, 0)
	if minio.ToErrorResponse(err).Code == "NoSuchKey" {
		return nil
	}
	return err
}

// honoursDeleteConditions tries whether an object is deleted although it is not
// at the version named. A server that does not know of If-Match deletes it; one
// that knows of it and does not have it says so.
func (b *Bucket) honoursDeleteConditions(ctx context.Context) (bool, error) {
	key := "leases/probe/" + ulid.Make().String()
	info, err := b.Put(ctx, key, strings.NewReader(key), int64(len(key)), bucket.Condition{})
	if err != nil {
		return false, err
	}
	defer func() { _ = b.Delete(context.WithoutCancel(ctx), key) }()
	other := bucket.ETag(strings.Repeat("0", len(info.ETag)))
	if err := (deletesIf{b}).DeleteIf(ctx, key, other); !errors.Is(err, bucket.ErrPrecondition) {
		return false, ctx.Err()
	}
	if err := (deletesIf{b}).DeleteIf(ctx, key, info.ETag); err != nil {
		return false, ctx.Err()
	}
	_, err = b.Stat(ctx, key)
	return errors.Is(err, bucket.ErrNotExist), ctx.Err()
}
