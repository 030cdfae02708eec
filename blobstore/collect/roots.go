package collect

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/collect/runs"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/record"
	"github.com/laminastore/lamina/reference"
)

func manifestKey(repo, d string) string {
	return images.ManifestKey(reference.Repository(repo), digest.Digest(d))
}

// roots finds what the mark begins with. They are the owners of the first level.
func (c *cycle) roots(ctx context.Context) error {
	c.levels = append(c.levels, c.sorter(levelMemory))
	if err := c.repositories(ctx); err != nil {
		return err
	}
	for s, err := range c.fleet.Registered(ctx) {
		if err != nil {
			return fmt.Errorf("registered snapshots: %w", err)
		}
		if s.Gone {
			if !s.Since.IsZero() && s.Since.Before(c.forgetBefore()) && c.store.Records().CanForget() {
				if err := c.addDead(deadSnapshot, "", s.ID); err != nil {
					return err
				}
			}
			continue
		}
		if err := c.hold(s.Image, registered); err != nil {
			return err
		}
		if err := c.markOne(s.Diff.Digest, true); err != nil {
			return err
		}
	}
	silent := c.silentBefore()
	for n, err := range c.fleet.Nodes(ctx, "") {
		if err != nil {
			return fmt.Errorf("reports of nodes: %w", err)
		}
		if n.ReportedAt.Before(silent) {
			if err := c.addDead(deadNode, "", n.ID); err != nil {
				return err
			}
			continue
		}
		for _, i := range n.Containers {
			if i.ImageDigest == "" {
				continue
			}
			if err := c.hold(images.Descriptor{Digest: i.ImageDigest}, running); err != nil {
				return err
			}
		}
	}
	return nil
}

// hold makes a manifest a root that no repository may have.
func (c *cycle) hold(d images.Descriptor, how byte) error {
	if _, err := reference.ParseDigest(string(d.Digest)); err != nil {
		return nil // of an image that is not from here
	}
	o := owner{digest: d.Digest, how: how, size: d.Size, mediaType: d.MediaType}
	return c.own(c.levels[0], &o)
}

// own adds an owner to a level.
func (c *cycle) own(level *runs.Sorter, o *owner) error {
	b, err := o.encode(nil)
	if err != nil {
		return fmt.Errorf("digest %q: %w", o.digest, err)
	}
	return level.Add(b)
}

// repositories goes through all names of all repositories, once.
func (c *cycle) repositories(ctx context.Context) error {
	g, gctx := c.parallel(ctx)
	retired := c.retired.Walk()
	defer retired.Close()
	err := func() error {
		var repo reference.Repository
		for info, err := range c.store.Bucket().List(gctx, reposPrefix, "") {
			if err != nil {
				return fmt.Errorf("list repositories: %w", err)
			}
			n, ok := parseName(info.Key)
			if !ok {
				c.problem(info.Key, "", "the bucket has an object that is no name in a repository; nothing was done with it")
				continue
			}
			if n.repo != repo {
				repo = n.repo
				c.mu.Lock()
				c.tally.Repository(repo)
				c.mu.Unlock()
			}
			c.mu.Lock()
			c.report.Named++
			c.mu.Unlock()
			c.step()
			if n.kind == "_manifests" {
				if retired.Skip([]byte(info.Key)) {
					continue // a dry run takes it for removed
				}
				g.Go(func() error { return c.root(gctx, n) })
				continue
			}
			if err := c.name(n); err != nil {
				return err
			}
		}
		return retired.Err()
	}()
	return firstCause(g.Wait(), err)
}

// firstCause is the error of a goroutine, or else that of the loop that starts
// them: the latter may be only what the former has caused.
func firstCause(of, loop error) error {
	if of != nil {
		return of
	}
	return loop
}

// root reads a manifest's link, and if it is live makes it a root.
func (c *cycle) root(ctx context.Context, n name) error {
	key := manifestKey(string(n.repo), n.rest)
	d, err := reference.ParseDigest(n.rest)
	if err != nil {
		c.problem(n.rest, string(n.repo), "the bucket has a link to what is no digest, %s; nothing was done with it", key)
		return nil
	}
	l, err := c.store.Links().Look(ctx, key)
	switch {
	case errors.Is(err, bucket.ErrNotExist): // its tombstone was removed since it was listed
		return nil
	case err != nil:
		if errors.Is(err, record.ErrInvalid) {
			err = fmt.Errorf("%w (lamina verify --repair makes room for it to be pushed again)", err)
		}
		return fmt.Errorf("link of manifest %s in repository %s: %w", d, n.repo, err)
	case l.Gone:
		if l.Since.Before(c.forgetBefore()) && c.store.Records().CanForget() {
			return c.addDead(deadManifest, n.repo, n.rest)
		}
		return nil
	}
	s, err := images.SummaryOf(d, l.Link)
	if err != nil {
		return fmt.Errorf("manifest %s in repository %s: %w (push it again, or delete it from the repository)", d, n.repo, err)
	}
	live := appendString(nil, string(n.repo))
	if live, err = appendDigest(live, d); err != nil {
		return err
	}
	if err := c.lives.Add(appendString(live, l.Generation)); err != nil {
		return err
	}
	how := linked
	if s.Sparse {
		how = linkedSparse
	}
	return c.own(c.levels[0], &owner{digest: d, repo: n.repo, how: how, size: s.Size, since: l.Since.Unix(), mediaType: s.MediaType})
}

// name notes a name that is no root.
func (c *cycle) name(n name) error {
	switch n.kind {
	case "_blobs":
		b, err := appendDigest(nil, digest.Digest(n.rest))
		if err != nil {
			c.problem(n.rest, string(n.repo), "the bucket has a link to what is no digest; nothing was done with it")
			return nil
		}
		return c.links.Add(append(b, n.repo...))
	case "_tags":
		return c.names.Add(append(append(appendString(nil, string(n.repo)), kindTag), n.rest...))
	case "_referrers":
		if _, _, ok := strings.Cut(n.rest, "/"); ok {
			return c.names.Add(append(append(appendString(nil, string(n.repo)), kindReferrer), n.rest...))
		}
	}
	c.problem(n.rest, string(n.repo), "the bucket has an object of kind %s, which this server does not know; nothing was done with it", n.kind)
	return nil
}

// markOne marks a digest. Held says that it is not known to have been promised
// when it was named.
func (c *cycle) markOne(d digest.Digest, held bool) error {
	b, err := appendDigest(nil, d)
	if err != nil {
		return nil // nothing here is named so
	}
	return c.marked.Add(append(b, boolByte(held)))
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}
