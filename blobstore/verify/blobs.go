package verify

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/collect/runs"
	"github.com/laminastore/lamina/reference"
)

// A task is a blob to look at.
type task struct {
	digest digest.Digest
	must   bool // an image names it that has to have it
	done   bool // it was read before the run was broken off
	// lives are those for which the links to it were made, at most maxLives.
	lives []string
}

// maxLives bounds the lives of one blob that are looked at.
const maxLives = 16

// A checked is what was found of a blob.
type checked struct {
	task
	recorded bool // there is a record of it
	read     bool // its bytes were read
	inCopies bool // found is about copies, which are quarantined
	flips    int64
	found    *found
}

// blobs goes through the records of the blobs and reads their copies.
func (r *run) blobs(ctx context.Context) error {
	r.phase("blobs", r.last.Blobs)
	for c, err := range ordered(ctx, r.o.Parallel, 4*r.o.Parallel, r.tasks(ctx), r.check) {
		if err != nil {
			return fmt.Errorf("verify blobs: %w", err)
		}
		if c.recorded {
			r.report.Blobs++
			r.done()
		}
		if c.found != nil {
			r.add(c.found)
		}
		if c.done {
			continue
		}
		r.report.Flips += c.flips
		r.place.Flips += c.flips
		if c.read {
			r.place.Read++
		}
		if f := c.found; c.inCopies && len(r.place.Found) < MaxFindings {
			r.place.Found = append(r.place.Found, foundRecord{f.digest, f.Kind, f.Bytes, f.Problem})
		}
		r.place.After = c.digest
		r.save(ctx)
	}
	if !r.place.All {
		r.place.All = true
		r.saveNow(ctx)
	}
	return nil
}

// tasks yields the blobs to look at in the order of their digests: those that have
// a record and those that images name, or with patterns only the latter.
func (r *run) tasks(ctx context.Context) iter.Seq2[task, error] {
	after, all := r.place.After, r.place.All // the place moves on while they are done
	return func(yield func(task, error) bool) {
		must, may, lives := r.must.Walk(), r.may.Walk(), r.lives.Walk()
		defer must.Close()
		defer may.Close()
		defer lives.Close()
		give := func(d string) bool {
			t := task{digest: digest.Digest(d), must: at(must) == d}
			t.done = all || after != "" && t.digest <= after
			for _, c := range []*runs.Cursor{must, may} {
				if at(c) == d {
					c.Next()
				}
			}
			for prefix := []byte(d + " "); lives.Skip(prefix); lives.Next() {
				if len(t.lives) < maxLives {
					t.lives = append(t.lives, at(lives)[len(prefix):])
				}
			}
			return yield(t, nil)
		}
		// upTo gives what images name before d; "" for all that is left. What need
		// not be here is looked at only if there is a record of it.
		upTo := func(d string) bool {
			for {
				m, o := at(must), at(may)
				switch {
				case m != "" && (d == "" || m < d) && (o == "" || m <= o):
					if !give(m) {
						return false
					}
				case o != "" && (d == "" || o < d):
					if r.patterns == nil {
						may.Next()
					} else if !give(o) {
						return false
					}
				default:
					return true
				}
			}
		}
		if r.patterns == nil {
			for info, err := range r.v.store.Bucket().List(ctx, blobstore.BlobPrefix, "") {
				if err != nil {
					yield(task{}, err)
					return
				}
				d, ok := digestOf(info.Key)
				if !ok {
					r.v.log.Warn("a key in the bucket is none of Lamina's", "key", info.Key)
					continue
				}
				if !upTo(d) || !give(d) {
					return
				}
			}
		}
		if upTo("") {
			if err := errors.Join(must.Err(), may.Err(), lives.Err()); err != nil {
				yield(task{}, err)
			}
		}
	}
}

// at is the string that a cursor is at, "" at its end.
func at(c *runs.Cursor) string {
	b, _ := c.At()
	return string(b)
}

// digestOf is the digest whose record is at key.
func digestOf(key string) (string, bool) {
	alg, rest, _ := strings.Cut(strings.TrimPrefix(key, blobstore.BlobPrefix), "/")
	_, hex, _ := strings.Cut(rest, "/")
	d, err := reference.ParseDigest(alg + ":" + hex)
	return string(d), err == nil && blobstore.BlobKey(d) == key
}

// check looks at one blob. It is called by several goroutines.
func (r *run) check(ctx context.Context, t task) (checked, error) {
	c := checked{task: t}
	fails := func(kind Kind, sure bool, size int64, format string, args ...any) {
		c.found = &found{digest: t.digest, size: size, sure: sure, Finding: Finding{
			Kind: kind, Subject: string(t.digest), Bytes: max(size, 0), Problem: fmt.Sprintf(format, args...), Remedy: remedyOf(kind),
		}}
	}
	info, err := r.v.store.Describe(ctx, t.digest)
	if invalid(err) {
		info, err = r.v.store.Describe(ctx, t.digest) // a flip on the way is no verdict
		if err == nil {
			c.flips++
		}
	}
	switch {
	case errors.Is(err, blobstore.ErrBlobUnknown):
		if t.must {
			fails(PartGone, false, -1, "there is no record of it")
		}
		return c, nil
	case invalid(err):
		c.recorded = true
		size := int64(-1)
		if errors.Is(err, blobstore.ErrCorrupt) {
			size = info.Size
		}
		fails(Unreadable, true, size, "%v", err)
		return c, r.noteData(info, false)
	case err != nil:
		return c, err
	}
	if err := wellFormed(info); err != nil {
		c.recorded = true
		fails(Unreadable, true, -1, "%v", err)
		return c, r.noteData(info, false)
	}
	c.recorded = info.State != gone
	if err := r.noteData(info, info.State != gone); err != nil {
		return c, err
	}
	if info.State == gone {
		if t.must {
			fails(PartGone, false, info.Size, "it was collected")
		}
		return c, nil
	}
	if err := r.checkCopies(ctx, &c, info, fails); err != nil {
		return c, err
	}
	if c.found == nil && t.must && info.State == condemned {
		fails(Condemned, false, info.Size, "the next collection may take it, although an image names it")
	}
	if c.found == nil && slices.ContainsFunc(t.lives, func(life string) bool { return life != info.Life }) {
		fails(Unlinked, false, info.Size, "it was collected and pushed again since, and a repository's link to it is of an earlier life: it cannot be pulled from there, although an image names it")
	}
	return c, nil
}

// wellFormed says what is wrong with what a record says, although it is one.
func wellFormed(info blobstore.BlobInfo) error {
	switch {
	case info.State != live && info.State != condemned && info.State != gone:
		return fmt.Errorf("its record says that it is %.40q, which is no state", info.State)
	case info.Size < 0:
		return fmt.Errorf("its record says that it has %d bytes", info.Size)
	}
	return nil
}

// checkCopies looks at the copies of a blob: reads those of the sample, unless they
// were read before the run was broken off.
func (r *run) checkCopies(ctx context.Context, c *checked, info blobstore.BlobInfo, fails func(Kind, bool, int64, string, ...any)) error {
	if info.Inline {
		return nil // checked with its record
	}
	if len(info.Copies) == 0 {
		fails(Lost, true, info.Size, "no copy of it is left that can be read; %d are quarantined", len(info.Bad))
		return nil
	}
	read := !c.done && (r.sampled(c.digest) || r.forced(c.digest))
	if !read && (c.done || r.patterns == nil) {
		return nil // compared with the listing of data
	}
	var kind Kind
	var problems []string
	sound := 0
	for _, id := range info.Copies {
		v, err := r.copy(ctx, c.digest, info.Size, id, read)
		if err != nil {
			return err
		}
		c.flips += v.flips
		if v.kind == "" {
			sound++
			continue
		}
		if kind == "" {
			kind = v.kind
		}
		problems = append(problems, v.problem)
	}
	c.read = read
	if kind != "" {
		c.inCopies = true
		if sound > 0 {
			problems = append(problems, "another copy is sound")
		}
		fails(kind, true, info.Size, "%s", strings.Join(problems, "; "))
		c.found.Done = Quarantined
	}
	return nil
}

// noteData notes which data the record of a blob names, for the comparison with
// what there is: "<id> <size> <digest>" for a copy that must be there, "<id>" for
// what else it names.
func (r *run) noteData(info blobstore.BlobInfo, must bool) error {
	if r.data == nil {
		return nil
	}
	for _, id := range info.Copies {
		if _, err := blobstore.IDTime(id); err != nil {
			continue
		}
		line := []byte(id)
		if must {
			line = fmt.Appendf(line, " %d %s", info.Size, info.Digest)
		}
		if err := r.data.Add(line); err != nil {
			return err
		}
	}
	for _, ids := range [][]string{info.Bad, info.Drop, info.Barred} {
		for _, id := range ids {
			if _, err := blobstore.IDTime(id); err != nil {
				continue
			}
			if err := r.data.Add([]byte(id)); err != nil {
				return err
			}
		}
	}
	return nil
}

// sampled says whether the blob is in the sample. Digests are spread evenly over a
// circle, of which each seed has an arc: one after the other.
func (r *run) sampled(d digest.Digest) bool {
	p := r.o.Sample
	if p >= 1 {
		return true
	}
	from := math.Mod(float64(r.o.Seed)*p, 1)
	x := float64(binary.BigEndian.Uint64(spread(d))>>11) / (1 << 53)
	return x >= from && x < from+p || x+1 < from+p
}

// spread is 8 bytes that depend on the digest, and not on its order: the places of
// a run come in that.
func spread(d digest.Digest) []byte {
	sum := sha256.Sum256([]byte(d))
	return sum[:8]
}
