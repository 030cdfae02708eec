package collect

import (
	"context"
	"fmt"

	"github.com/laminastore/lamina/blobstore"
)

// uploads deals with what uploads have left. Those that may go on are left
// alone.
func (c *cycle) uploads(ctx context.Context) error {
	g, gctx := c.parallel(ctx)
	err := func() error {
		for id, err := range c.store.UploadIDs(gctx, "") {
			if err != nil {
				return fmt.Errorf("list uploads: %w", err)
			}
			c.step()
			c.mu.Lock()
			c.report.UploadsListed++
			c.mu.Unlock()
			g.Go(func() error { return c.upload(gctx, id) })
		}
		return nil
	}()
	return firstCause(g.Wait(), err)
}

func (c *cycle) upload(ctx context.Context, id string) error {
	j, err := c.store.SweepUpload(ctx, id, c.o.DryRun)
	if damaged(err) {
		c.problem(id, "", "what an upload has left is damaged, and was left alone: %v", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("upload %s: %w", id, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.freed(j.Freed)
	c.wait(j.Waiting, j.Next)
	f := Finding{Kind: KindUpload, Subject: id, Repository: j.Repository, Why: j.Why, Bytes: j.Freed, Next: j.Next}
	switch j.State {
	case blobstore.UploadOpen:
		return nil
	case blobstore.UploadEnded:
		f.Step = blobstore.Removed
		c.report.Uploads++
	case blobstore.UploadOrphan:
		f.Step = blobstore.Freed
		c.report.Uploads++
	default:
		f.Step = blobstore.Draining
	}
	if f.Bytes == 0 {
		f.Bytes = j.Waiting
	}
	c.tell(f)
	return nil
}
