package collect

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/record"
	"github.com/laminastore/lamina/reference"
)

// sweepLinks deals with the links to blobs that are gone.
func (c *cycle) sweepLinks(ctx context.Context) error {
	links := c.links.Walk()
	defer links.Close()
	g, gctx := c.parallel(ctx)
	err := func() error {
		for key, err := range c.gone.Sorted() {
			if err != nil {
				return err
			}
			for links.Skip(key) {
				b, _ := links.At()
				d, _, repo, err := cutDigest(b)
				if err != nil {
					return err
				}
				if gctx.Err() != nil {
					return gctx.Err()
				}
				in := reference.Repository(repo)
				c.step()
				g.Go(func() error { return c.link(gctx, in, d, true, "the blob is gone") })
				links.Next()
			}
		}
		return links.Err()
	}()
	return firstCause(g.Wait(), err)
}

// link takes the next step for a link to a blob. Doomed says that the blob is
// gone, or with a dry run would be.
func (c *cycle) link(ctx context.Context, in reference.Repository, d digest.Digest, doomed bool, why string) error {
	step, err := c.store.SweepLink(ctx, in, d, c.forgetBefore(), c.o.DryRun, doomed)
	if damaged(err) {
		c.problem(string(d), string(in), "the link to the blob is damaged, or the blob's record: %v", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("link to blob %s in repository %s: %w", d, in, err)
	}
	c.over(Finding{Kind: KindLink, Subject: string(d), Repository: string(in), Step: step}, why)
	return nil
}

// damaged says whether err is that of a record which cannot be read whenever it
// is tried again.
func damaged(err error) bool {
	return errors.Is(err, record.ErrInvalid) || errors.Is(err, blobstore.ErrCorrupt)
}

// over counts a record that is over, and tells of it: it becomes a tombstone, or
// its tombstone goes.
func (c *cycle) over(f Finding, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case f.Step == blobstore.Removed:
		why += ", and its tombstone is old enough to go"
		c.report.Records++
	case f.Step != blobstore.Collected:
		return
	case f.Kind == KindLink:
		c.report.Links++
	}
	f.Step, f.Why = blobstore.Removed, why
	c.tell(f)
}
