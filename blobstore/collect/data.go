package collect

import (
	"context"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/collect/runs"
)

const dataPrefix = "data/"

// data looks in a full cycle for data that no record names: it reads the records
// of all blobs and uploads, and compares what they name with the data there is.
func (c *cycle) data(ctx context.Context) error {
	if !c.o.Full {
		return nil
	}
	named := c.sorter(markedMemory)
	if err := c.blobData(ctx, named); err != nil {
		return err
	}
	if err := c.uploadData(ctx, named); err != nil {
		return err
	}
	at := named.Walk()
	defer at.Close()
	g, gctx := c.parallel(ctx)
	err := func() error {
		for info, err := range c.store.Bucket().List(gctx, dataPrefix, "") {
			if err != nil {
				return fmt.Errorf("list data: %w", err)
			}
			c.step()
			id := strings.TrimPrefix(info.Key, dataPrefix)
			if at.Skip([]byte(id)) {
				continue
			}
			if err := at.Err(); err != nil {
				return err
			}
			g.Go(func() error { return c.orphan(gctx, id) })
		}
		return nil
	}()
	return firstCause(g.Wait(), err)
}

// blobData notes the data that the records of blobs name.
func (c *cycle) blobData(ctx context.Context, named *runs.Sorter) error {
	g, gctx := c.parallel(ctx)
	err := func() error {
		for info, err := range c.store.Bucket().List(gctx, "blobs/", "") {
			if err != nil {
				return fmt.Errorf("list blobs: %w", err)
			}
			c.step()
			d, err := blobDigest(info.Key)
			if err != nil {
				continue // said in the sweep
			}
			g.Go(func() error {
				b, err := c.store.Describe(gctx, d)
				switch {
				case unknown(err):
					return nil
				case damaged(err):
					c.problem(string(d), "", "its record is damaged: %v", err)
				case err != nil:
					return fmt.Errorf("blob %s: %w", d, err)
				}
				if len(b.Drop) > 0 {
					if err := c.dropped(gctx, d); err != nil {
						return err
					}
				}
				return addAll(named, b.Named())
			})
		}
		return nil
	}()
	return firstCause(g.Wait(), err)
}

// uploadData notes the data that the records of uploads name.
func (c *cycle) uploadData(ctx context.Context, named *runs.Sorter) error {
	g, gctx := c.parallel(ctx)
	err := func() error {
		for id, err := range c.store.UploadIDs(gctx, "") {
			if err != nil {
				return fmt.Errorf("list uploads: %w", err)
			}
			g.Go(func() error {
				ids, err := c.store.UploadData(gctx, id)
				if err != nil {
					return fmt.Errorf("upload %s: %w", id, err)
				}
				return addAll(named, ids)
			})
		}
		return nil
	}()
	return firstCause(g.Wait(), err)
}

func addAll(s *runs.Sorter, ids []string) error {
	for _, id := range ids {
		if err := s.Add([]byte(id)); err != nil {
			return err
		}
	}
	return nil
}

// dropped deletes what an earlier life of a blob has left. What led a normal
// cycle to it may be lost.
func (c *cycle) dropped(ctx context.Context, d digest.Digest) error {
	j, err := c.store.FreeDropped(ctx, d, c.o.DryRun)
	if err != nil {
		return fmt.Errorf("blob %s: %w", d, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.freed(j.Freed)
	if j.Step == blobstore.Freed {
		c.tell(Finding{Kind: KindBlob, Subject: string(d), Step: j.Step, Why: j.Why, Bytes: j.Freed})
	}
	return nil
}

// orphan deals with data that no record names.
func (c *cycle) orphan(ctx context.Context, id string) error {
	j, err := c.store.SweepData(ctx, id, c.o.DryRun)
	if damaged(err) {
		c.problem(id, "", "no record names this data, and the record that should is damaged: %v", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("data %s: %w", id, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.freed(j.Freed)
	c.wait(j.Waiting, j.Next)
	f := Finding{Kind: KindData, Subject: id, Step: j.Step, Why: j.Why, Bytes: j.Freed, Next: j.Next}
	switch j.Step {
	case blobstore.Kept:
		return nil
	case blobstore.Freed:
		c.report.Orphans++
	}
	if f.Bytes == 0 {
		f.Bytes = j.Waiting
	}
	c.tell(f)
	return nil
}
