package collect

import (
	"context"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/layers"
	"github.com/laminastore/lamina/reference"
)

// records deals with the records that the mark found to be over; in a full cycle
// with those of layers too, and with all links.
func (c *cycle) records(ctx context.Context) error {
	if err := c.each(ctx, c.dead, c.bury); err != nil || !c.o.Full {
		return err
	}
	if err := c.layerRecords(ctx); err != nil {
		return err
	}
	return c.each(ctx, c.links, func(ctx context.Context, b []byte) error {
		d, _, repo, err := cutDigest(b)
		if err != nil {
			return err
		}
		c.step()
		return c.link(ctx, reference.Repository(repo), d, false, "the repository does not hold the blob any more, or one that was collected since")
	})
}

// bury takes the next step for a record that is over, or that may be.
func (c *cycle) bury(ctx context.Context, b []byte) error {
	kind := b[0]
	repo, rest, err := cutString(b[1:])
	if err != nil {
		return err
	}
	c.step()
	in, subject, before, dry := reference.Repository(repo), string(rest), c.forgetBefore(), c.o.DryRun
	f, why := Finding{Repository: repo, Subject: subject}, ""
	switch kind {
	case deadTag:
		f.Kind, why = KindTag, "the tag was removed, or its manifest was"
		f.Step, err = c.images.SweepTag(ctx, in, reference.Tag(subject), before, dry)
	case deadReferrer:
		of, d, _ := strings.Cut(subject, "/")
		f.Kind, f.Subject, why = KindReferrer, d, "the manifest was removed from the repository"
		f.Step, err = c.images.SweepReferrer(ctx, in, digest.Digest(of), digest.Digest(d), before, dry)
	case deadManifest:
		f.Kind, why = KindManifest, "the manifest was removed from the repository"
		f.Step, err = c.images.SweepManifest(ctx, in, digest.Digest(subject), before, dry)
	case deadSnapshot:
		f.Kind, why = KindSnapshot, "the snapshot was deleted"
		f.Step, err = c.fleet.SweepSnapshot(ctx, subject, before, dry)
	case deadNode:
		f.Kind, why = KindNode, "the node has not reported for 30 days"
		f.Step, err = c.fleet.SweepNode(ctx, subject, c.silentBefore(), dry)
	}
	if damaged(err) {
		c.problem(f.Subject, repo, "the record of this %s is damaged, and was left alone: %v", f.Kind, err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s %s %s: %w", f.Kind, repo, f.Subject, err)
	}
	if kind == deadNode && f.Step == blobstore.Removed {
		c.node(f, why)
		return nil
	}
	c.over(f, why)
	return nil
}

// node counts a node that was removed: that has no tombstone.
func (c *cycle) node(f Finding, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Nodes++
	f.Why = why
	c.tell(f)
}

func (c *cycle) layerRecords(ctx context.Context) error {
	g, gctx := c.parallel(ctx)
	err := func() error {
		for info, err := range c.store.Bucket().List(gctx, layers.Prefix, "") {
			if err != nil {
				return fmt.Errorf("list layers: %w", err)
			}
			c.step()
			g.Go(func() error {
				s, err := layers.Sweep(gctx, c.store, c.options.Realms, info.Key, c.o.DryRun)
				if damaged(err) {
					c.problem(info.Key, "", "the record of a layer is damaged, or that of its blob: %v", err)
					return nil
				}
				if err != nil {
					return fmt.Errorf("layer %s: %w", info.Key, err)
				}
				if s.Step != blobstore.Removed {
					return nil
				}
				c.mu.Lock()
				defer c.mu.Unlock()
				c.report.Records++
				c.tell(Finding{Kind: KindLayer, Subject: strings.TrimPrefix(info.Key, layers.Prefix), Step: s.Step, Why: s.Why})
				return nil
			})
		}
		return nil
	}()
	return firstCause(g.Wait(), err)
}
