package verify

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/collect/runs"
)

// An unnamed is a data object that no record of a blob names.
type unnamed struct {
	id   string
	size int64
}

// maxUnnamed bounds those that are remembered for a repair.
const maxUnnamed = 10_000

// A namedData is a data object that a record names.
type namedData struct {
	id     string
	size   int64 // -1 when it need not be there
	digest digest.Digest
}

func parseNamed(line string) namedData {
	f := strings.Fields(line)
	n := namedData{id: f[0], size: -1}
	if len(f) == 3 {
		if size, err := strconv.ParseInt(f[1], 10, 64); err == nil {
			n.size, n.digest = size, digest.Digest(f[2])
		}
	}
	return n
}

// objects compares the data objects that there are with those that records name.
func (r *run) objects(ctx context.Context) error {
	r.phase("data", r.last.Blobs)
	names := r.data.Walk()
	defer names.Close()
	for info, err := range r.v.store.Bucket().List(ctx, blobstore.DataPrefix, "") {
		if err != nil {
			return fmt.Errorf("verify data: %w", err)
		}
		r.done()
		id := strings.TrimPrefix(info.Key, blobstore.DataPrefix)
		if err := r.absentUpTo(ctx, names, id); err != nil {
			return err
		}
		is := false
		for n, ok := next(names); ok && n.id == id; n, ok = next(names) {
			is = true
			if n.size >= 0 && n.size != info.Size {
				if err := r.recheck(ctx, n); err != nil {
					return err
				}
			}
			names.Next()
		}
		if !is {
			r.orphan(id, info)
		}
	}
	if err := r.absentUpTo(ctx, names, ""); err != nil {
		return err
	}
	return names.Err()
}

func next(c *runs.Cursor) (namedData, bool) {
	b, ok := c.At()
	if !ok {
		return namedData{}, false
	}
	return parseNamed(string(b)), true
}

// absentUpTo looks at the data before id that records name and the listing lacks;
// all that is left for "".
func (r *run) absentUpTo(ctx context.Context, names *runs.Cursor, id string) error {
	for n, ok := next(names); ok && (id == "" || n.id < id); n, ok = next(names) {
		if n.size >= 0 {
			if err := r.recheck(ctx, n); err != nil {
				return err
			}
		}
		names.Next()
	}
	return nil
}

// recheck looks at a copy that does not fit the listing.
func (r *run) recheck(ctx context.Context, n namedData) error {
	info, err := r.v.store.Describe(ctx, n.digest)
	if err != nil && !invalid(err) {
		if isUnknown(err) {
			return nil
		}
		return err
	}
	if _, found := r.byBlob[n.digest]; found || info.State == gone {
		return nil
	}
	v, err := r.copy(ctx, n.digest, n.size, n.id, false)
	if err != nil || v.kind == "" {
		return err
	}
	r.add(&found{digest: n.digest, size: n.size, sure: true, Finding: Finding{
		Kind: v.kind, Subject: string(n.digest), Bytes: n.size, Problem: v.problem, Done: Quarantined, Remedy: remedyOf(v.kind),
	}})
	return nil
}

// orphan notes data that no record of a blob names. What is young may be an
// upload's, or about to be published.
func (r *run) orphan(id string, info bucket.Info) {
	if len(r.unnamed) < maxUnnamed {
		r.unnamed = append(r.unnamed, unnamed{id, info.Size})
	}
	f := Finding{Kind: Orphan, Subject: info.Key, Bytes: info.Size, Remedy: remedyOf(Orphan)}
	began, err := blobstore.IDTime(id)
	switch age := r.now().Sub(began); {
	case err != nil:
		f.Problem, f.Remedy = "its name is none that Lamina gives", "find out who has written it"
	case age <= r.tombstones():
		r.report.Waiting++
		return
	default:
		f.Problem = fmt.Sprintf("no record names it, and it is %d days old", int(age.Hours()/24))
	}
	r.tellOf(f)
}
