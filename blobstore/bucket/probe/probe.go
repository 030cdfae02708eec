// Package probe finds out, before a server runs on a bucket, whether the bucket
// really does what it says. Some S3 servers ignore the conditions of a write,
// and two servers on such a bucket would destroy each other's records.
package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// MaxSkew is how far the clocks of a server and of its bucket may be apart.
const MaxSkew = 5 * time.Minute

// ErrUnfit is the class of the errors that say that a bucket cannot be used.
var ErrUnfit = errors.New("the bucket cannot be used")

// A Report says what a bucket has been seen to do. What every bucket has to do
// is not in it: Run fails without.
type Report struct {
	// Skew is that of the bucket's clock: positive when it is ahead.
	Skew time.Duration
	// RefusesLateWrites is not tried on S3 when the bucket's clock is more than
	// 10 s behind: a write would be too late there only when it has come up.
	RefusesLateWrites bool
	ConditionalDelete bool
	// Versioned: what is deleted is kept and goes on costing money. That is no
	// error, but worth a warning.
	Versioned bool
}

// Run tries the bucket, at keys under leases/probe/, which it removes again.
// now is this server's clock. An error of class ErrUnfit names the bucket, what
// it got wrong and what to do; another error means that it could not be tried.
// On S3 it takes about two seconds: a write has to become too late.
func Run(ctx context.Context, b bucket.Bucket, now func() time.Time) (Report, error) {
	p := &probe{
		ctx:  ctx,
		b:    b,
		now:  now,
		root: Prefix + ulid.MustNewDefault(now()).String() + "/",
		used: map[string]bool{},
	}
	err := p.run()
	if cleanErr := p.clean(); err == nil {
		err = cleanErr
	}
	if err != nil {
		return Report{}, fmt.Errorf("probe of %s: %w", b, err)
	}
	_ = Leftovers(ctx, b, now()) // the next one tries again
	return p.report, nil
}

type probe struct {
	ctx     context.Context
	b       bucket.Bucket
	now     func() time.Time
	root    string
	used    map[string]bool // keys to remove
	uploads [][2]string     // key, id
	report  Report
}

func (p *probe) run() error {
	p.report.Versioned = p.b.Features().Versioned
	if err := p.clock(); err != nil {
		return err
	}
	late, err := p.prepareLate() // expires while the others run
	if err != nil {
		return err
	}
	for _, try := range []func() error{p.create, p.replace, p.race, p.complete, p.list, p.deleteIf, late} {
		if err := try(); err != nil {
			return err
		}
	}
	return nil
}

// clock compares the clocks.
func (p *probe) clock() error {
	before := p.now()
	there, err := p.b.Clock(p.ctx)
	if err != nil {
		return err
	}
	// It tells whole seconds: half of one is the best guess, as is the middle
	// of the time that the answer took.
	here := before.Add(p.now().Sub(before) / 2).Round(0)
	p.report.Skew = there.Add(time.Second / 2).Sub(here)
	if p.report.Skew.Abs() > MaxSkew {
		return fmt.Errorf("%w: its clock says %s and this host's %s, and they may be %s apart: set the one that is wrong, by NTP",
			ErrUnfit, there.UTC().Format(time.RFC3339), here.UTC().Format(time.RFC3339), MaxSkew)
	}
	return nil
}

func (p *probe) put(name, data string, cond bucket.Condition) (bucket.Info, error) {
	key := p.root + name
	p.used[key] = true
	return p.b.Put(p.ctx, key, bytes.NewReader([]byte(data)), int64(len(data)), cond)
}

const otherServer = "use a server that honours it (Amazon S3, MinIO, versitygw ≥ 1.8 do), or a newer version of this one"

// refuses turns the outcome of a write that had to be refused into a verdict.
func refuses(err, class error, ignored string) error {
	switch {
	case err == nil:
		return fmt.Errorf("%w: it ignores %s: %s", ErrUnfit, ignored, otherServer)
	case errors.Is(err, class):
		return nil
	default:
		return fmt.Errorf("tried whether it honours %s: %w", ignored, err)
	}
}

func (p *probe) create() error {
	if _, err := p.put("create", "one", bucket.Condition{IfAbsent: true}); err != nil {
		return err
	}
	_, err := p.put("create", "two", bucket.Condition{IfAbsent: true})
	return refuses(err, bucket.ErrPrecondition, "If-None-Match on PUT (an object was created twice)")
}

func (p *probe) replace() error {
	first, err := p.put("replace", "one", bucket.Condition{})
	if err != nil {
		return err
	}
	second, err := p.put("replace", "two", bucket.Condition{IfMatch: first.ETag})
	if err != nil {
		return err
	}
	if first.ETag == second.ETag {
		return fmt.Errorf("%w: two versions of an object have the same ETag %s: %s", ErrUnfit, first.ETag, otherServer)
	}
	_, err = p.put("replace", "three", bucket.Condition{IfMatch: first.ETag})
	if err := refuses(err, bucket.ErrPrecondition, "If-Match on PUT (a version was replaced that was gone)"); err != nil {
		return err
	}
	_, err = p.put("absent", "one", bucket.Condition{IfMatch: first.ETag})
	return refuses(err, bucket.ErrPrecondition, "If-Match on PUT (where no object was)")
}

// complete finishes multipart uploads to keys that have an object.
func (p *probe) complete() error {
	old, err := p.put(completed, "old", bucket.Condition{})
	if err != nil {
		return err
	}
	if _, err := p.put(completed, "new", bucket.Condition{}); err != nil {
		return err
	}
	for _, try := range []struct {
		cond    bucket.Condition
		ignored string
	}{
		{bucket.Condition{IfAbsent: true}, "If-None-Match on the completion of a multipart upload"},
		{bucket.Condition{IfMatch: old.ETag}, "If-Match on the completion of a multipart upload"},
	} {
		if err := refuses(p.upload(completed, try.cond), bucket.ErrPrecondition, try.ignored); err != nil {
			return err
		}
	}
	return p.upload(completedNew, bucket.Condition{IfAbsent: true})
}

func (p *probe) upload(name string, cond bucket.Condition) error {
	key, data := p.root+name, []byte("part")
	p.used[key] = true
	id, err := p.b.CreateMultipart(p.ctx, key)
	if err != nil {
		return err
	}
	p.uploads = append(p.uploads, [2]string{key, id})
	part, err := p.b.PutPart(p.ctx, key, id, 1, bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	_, err = p.b.CompleteMultipart(p.ctx, key, id, []bucket.Part{part}, cond)
	return err
}

// list checks the order of a listing, and that it has what was just written.
func (p *probe) list() error {
	want := []string{"list/a-b", "list/a/b", "list/a0", "list/aa"}
	for _, i := range []int{2, 0, 3, 1} {
		if _, err := p.put(want[i], "x", bucket.Condition{}); err != nil {
			return err
		}
	}
	var have []string
	for info, err := range p.b.List(p.ctx, p.root+"list/", "") {
		if err != nil {
			return err
		}
		have = append(have, info.Key[len(p.root):])
	}
	if fmt.Sprint(have) != fmt.Sprint(want) {
		return fmt.Errorf("%w: a listing is %q and should be %q: %s", ErrUnfit, have, want,
			"use a bucket that lists its keys in the order of their bytes (Amazon's directory buckets do not)")
	}
	return nil
}

func (p *probe) deleteIf() error {
	d, ok := p.b.(bucket.ConditionalDeleter)
	if !ok {
		return nil
	}
	old, err := p.put("delete", "old", bucket.Condition{})
	if err != nil {
		return err
	}
	if _, err := p.put("delete", "new", bucket.Condition{}); err != nil {
		return err
	}
	err = d.DeleteIf(p.ctx, p.root+"delete", old.ETag)
	if err := refuses(err, bucket.ErrPrecondition, "If-Match on DELETE, although it says that it honours it"); err != nil {
		return err
	}
	if _, err := p.b.Stat(p.ctx, p.root+"delete"); err != nil {
		return fmt.Errorf("%w: it refused to delete an object, and deleted it: %w", ErrUnfit, err)
	}
	p.report.ConditionalDelete = true
	return nil
}

// clean removes what the probe has written.
func (p *probe) clean() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), 10*time.Second)
	defer cancel()
	var errs []error
	for _, up := range p.uploads {
		errs = append(errs, p.b.AbortMultipart(ctx, up[0], up[1]))
	}
	keys := make([]string, 0, len(p.used))
	for key := range p.used {
		keys = append(keys, key)
	}
	return errors.Join(append(errs, p.b.Delete(ctx, keys...))...)
}
