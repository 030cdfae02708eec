package collect

import (
	"context"
	"errors"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/collect/runs"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/record"
	"github.com/laminastore/lamina/reference"
)

// Kinds of names that are noted while repositories are listed.
const (
	kindTag byte = iota
	kindReferrer
)

// Kinds of records that are over, or may be.
const (
	deadTag byte = iota
	deadReferrer
	deadManifest
	deadSnapshot
	deadNode
)

func (c *cycle) addDead(kind byte, repo reference.Repository, rest string) error {
	return c.dead.Add(append(appendString([]byte{kind}, string(repo)), rest...))
}

// namesAtOnce is how many names of a repository are looked at one after another.
const namesAtOnce = 50

// tags finds out which tags count. In a repository from which nothing was ever
// removed that is all of them; in another, each is read.
func (c *cycle) tags(ctx context.Context) error {
	pointers, refs := c.sorter(smallMemory), c.sorter(smallMemory)
	read := func(ctx context.Context, repo reference.Repository, names []string) error {
		pruned, err := c.images.Pruned(ctx, repo)
		if err != nil {
			return err
		}
		for _, n := range names {
			kind, rest := n[0], n[1:]
			switch {
			case kind == kindTag && !pruned:
				c.countTag(repo, rest)
			case kind == kindTag:
				p, err := c.images.LookName(ctx, images.TagKey(repo, reference.Tag(rest)))
				if errors.Is(err, bucket.ErrNotExist) {
					continue
				}
				if errors.Is(err, record.ErrInvalid) {
					c.problem(rest, string(repo), "the tag's record is damaged: write the tag again, or remove it: %v", err)
					continue
				}
				if err != nil {
					return err
				}
				if err := c.tagged(pointers, repo, rest, p); err != nil {
					return err
				}
			case kind == kindReferrer && pruned:
				_, d, _ := strings.Cut(rest, "/")
				b, err := appendDigest(appendString(nil, string(repo)), digest.Digest(d))
				if err != nil {
					c.problem(rest, string(repo), "the bucket has a record of a referrer that is no digest; nothing was done with it")
					continue
				}
				if err := refs.Add(append(b, rest...)); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := c.namesByRepository(ctx, read); err != nil {
		return err
	}
	return c.namesThatCount(pointers, refs)
}

// tagged notes a tag with what it names.
func (c *cycle) tagged(pointers *runs.Sorter, repo reference.Repository, tag string, p images.Name) error {
	if p.Gone || p.Digest == "" {
		if !p.Since.IsZero() && p.Since.Before(c.forgetBefore()) && c.store.Records().CanForget() {
			return c.addDead(deadTag, repo, tag)
		}
		return nil
	}
	b, err := appendDigest(appendString(nil, string(repo)), p.Digest)
	if err != nil {
		c.problem(tag, string(repo), "the tag names what is no digest; nothing was done with it")
		return nil
	}
	return pointers.Add(append(appendString(b, p.Generation), tag...))
}

func (c *cycle) countTag(repo reference.Repository, tag string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tally.Tag(repo, reference.Tag(tag))
}

// namesByRepository calls do for the names of one repository after another,
// some at a time.
func (c *cycle) namesByRepository(ctx context.Context, do func(context.Context, reference.Repository, []string) error) error {
	g, gctx := c.parallel(ctx)
	var group []string
	var of reference.Repository
	flush := func() {
		if len(group) > 0 {
			names, repo := group, of
			group = nil
			g.Go(func() error { return do(gctx, repo, names) })
		}
	}
	err := func() error {
		for b, err := range c.names.Sorted() {
			if err == nil {
				err = gctx.Err()
			}
			if err != nil {
				return err
			}
			repo, rest, err := cutString(b)
			if err != nil || len(rest) == 0 {
				return errKey
			}
			if string(of) != repo || len(group) == namesAtOnce {
				flush()
				of = reference.Repository(repo)
			}
			group = append(group, string(rest))
		}
		flush()
		return nil
	}()
	return firstCause(g.Wait(), err)
}

// namesThatCount compares tags and referrers with the links that were live.
func (c *cycle) namesThatCount(pointers, refs *runs.Sorter) error {
	err := c.alive(pointers, true, func(repo reference.Repository, tag string, live bool) error {
		if !live {
			return c.addDead(deadTag, repo, tag)
		}
		c.countTag(repo, tag)
		return nil
	})
	if err != nil {
		return err
	}
	return c.alive(refs, false, func(repo reference.Repository, rest string, live bool) error {
		if live {
			return nil
		}
		return c.addDead(deadReferrer, repo, rest)
	})
}

// alive tells do of each name in a sorter, and whether the manifest that it names
// has a live link: with generation, one of the generation it was written for.
func (c *cycle) alive(names *runs.Sorter, generation bool, do func(repo reference.Repository, name string, live bool) error) error {
	lives := c.lives.Walk()
	defer lives.Close()
	for b, err := range names.Sorted() {
		if err != nil {
			return err
		}
		repo, name, err := cutString(b)
		if err == nil {
			_, _, name, err = cutDigest(name)
		}
		if err == nil && generation {
			_, name, err = cutString(name)
		}
		if err != nil {
			return err
		}
		live := lives.Skip(b[:len(b)-len(name)])
		if err := errors.Join(lives.Err(), do(reference.Repository(repo), string(name), live)); err != nil {
			return err
		}
	}
	return nil
}
