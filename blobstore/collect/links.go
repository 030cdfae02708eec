package collect

import (
	"context"
	"fmt"

	"github.com/laminastore/lamina/blobstore"
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
				g.Go(func() error {
					step, err := c.store.SweepLink(gctx, in, d, c.forgetBefore(), c.o.DryRun)
					if err != nil {
						return fmt.Errorf("link to blob %s in repository %s: %w", d, in, err)
					}
					c.over(Finding{Kind: KindLink, Subject: string(d), Repository: string(in), Step: step}, "the blob is gone")
					return nil
				})
				links.Next()
			}
		}
		return links.Err()
	}()
	return firstCause(g.Wait(), err)
}

// over counts a record that is over, and tells of it.
func (c *cycle) over(f Finding, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch f.Step {
	case blobstore.Kept, "":
		return
	case blobstore.Removed:
		why += ", and its tombstone is old enough to go"
		c.report.Records++
	}
	if f.Kind == KindLink && f.Step == blobstore.Collected {
		c.report.Links++
	}
	f.Why = why
	c.tell(f)
}
