package probe

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// Prefix begins the keys of what probes write. It is no record.
const Prefix = "leases/probe/"

// staleAfter is the age at which what a probe has left is nobody's: its server
// was killed before it could remove it.
const staleAfter = time.Hour

// Leftovers removes what probes have left whose servers were killed an hour ago or
// longer. Run does it too. That it fails is no reason not to use the bucket: the
// next one tries again. Errors: bucket.ErrUnavailable.
func Leftovers(ctx context.Context, b bucket.Bucket, now time.Time) error {
	var keys []string
	roots := map[string]bool{}
	for info, err := range b.List(ctx, Prefix, "") {
		if err != nil {
			return err
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(info.Key, Prefix), "/")
		id, err := ulid.ParseStrict(name)
		if err != nil || now.Sub(ulid.Time(id.Time())) < staleAfter {
			continue
		}
		roots[Prefix+name+"/"] = true
		if keys = append(keys, info.Key); len(keys) == 1000 {
			break // the next one goes on
		}
	}
	var errs []error
	for root := range roots {
		for _, key := range multiparts(root) {
			errs = append(errs, abortAll(ctx, b, key))
		}
	}
	if len(keys) > 0 {
		errs = append(errs, b.Delete(ctx, keys...))
	}
	return errors.Join(errs...)
}

func abortAll(ctx context.Context, b bucket.Bucket, key string) error {
	for up, err := range b.ListMultiparts(ctx, key) {
		if err == nil {
			err = b.AbortMultipart(ctx, key, up.ID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// multiparts are the keys to which a probe uploads in parts.
func multiparts(root string) []string { return []string{root + completed, root + completedNew} }

// Names of objects that a probe makes of parts.
const (
	completed    = "complete"
	completedNew = "complete-new"
)
