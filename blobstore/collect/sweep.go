package collect

import (
	"bytes"
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/collect/runs"
)

// sweep goes through the records of all blobs side by side with what is marked,
// which is in the same order, and takes the next step for each that is not. No
// record of one that is marked is read, but for those that only a node or a
// snapshot names: nobody has promised them when they were named, and so one that
// is condemned is taken back.
func (c *cycle) sweep(ctx context.Context) error {
	marked := &marks{cur: c.marked.Walk()}
	defer marked.cur.Close()
	linked := c.links.Walk()
	defer linked.Close()
	g, gctx := c.parallel(ctx)
	err := func() error {
		for info, err := range c.store.Bucket().List(gctx, "blobs/", "") {
			if err != nil {
				return fmt.Errorf("list blobs: %w", err)
			}
			c.step()
			d, err := blobDigest(info.Key)
			if err != nil {
				c.problem(info.Key, "", "the bucket has an object that is no blob's record; nothing was done with it")
				continue
			}
			c.mu.Lock()
			c.report.Listed++
			c.mu.Unlock()
			key, err := appendDigest(nil, d)
			if err != nil {
				return err
			}
			if err := c.absentBefore(linked, key); err != nil {
				return err
			}
			switch isMarked, held := marked.reach(key); {
			case marked.cur.Err() != nil:
				return marked.cur.Err()
			case !isMarked:
				g.Go(func() error { return c.judge(gctx, d, key) })
			case held && !c.count:
				g.Go(func() error { return c.revive(gctx, d) })
			}
		}
		return c.absentBefore(linked, nil)
	}()
	if err = firstCause(g.Wait(), err); err != nil {
		return err
	}
	marked.reach(nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Marked = marked.n
	c.tally.Listed(c.report.Listed)
	return marked.cur.Err()
}

// marks goes through what is marked: digests, each once or twice, the second
// time for who may not have promised it.
type marks struct {
	cur  *runs.Cursor
	last []byte // the digest passed last
	n    int64  // digests that were passed
}

// reach moves on behind a digest, or to the end if key is nil, and says whether
// it is marked, and whether nobody has promised it.
func (m *marks) reach(key []byte) (marked, held bool) {
	for {
		b, ok := m.cur.At()
		if !ok {
			return marked, held
		}
		at := b[:len(b)-1]
		if key != nil && bytes.Compare(at, key) > 0 {
			return marked, held
		}
		if !bytes.Equal(at, m.last) { // the first of this digest
			m.last = append(m.last[:0], at...)
			m.n++
			if bytes.Equal(at, key) {
				marked, held = true, b[len(b)-1] == 1
			}
		}
		m.cur.Next()
	}
}

// absentBefore notes, as gone, the blobs before key that are linked, and have no
// record at all. It leaves the cursor behind key.
func (c *cycle) absentBefore(linked *runs.Cursor, key []byte) error {
	var last []byte
	for {
		b, ok := linked.At()
		if !ok {
			return linked.Err()
		}
		_, at, _, err := cutDigest(b)
		if err != nil {
			return err
		}
		order := -1
		if key != nil {
			order = bytes.Compare(at, key)
		}
		if order > 0 {
			return nil
		}
		if order < 0 && !bytes.Equal(at, last) {
			last = append(last[:0], at...)
			if err := c.gone.Add(at); err != nil {
				return err
			}
		}
		linked.Next()
	}
}

// judge takes the next step for a blob that is not marked.
func (c *cycle) judge(ctx context.Context, d digest.Digest, key []byte) error {
	j, err := c.store.Judge(ctx, d, c.began, c.o.DryRun)
	if damaged(err) {
		c.problem(string(d), "", "its record is damaged, and was left alone: %v", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("blob %s: %w", d, err)
	}
	if j.Gone {
		if err := c.gone.Add(key); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tally.Unnamed(j)
	c.freed(j.Freed)
	c.wait(j.Waiting, j.Next)
	f := Finding{Kind: KindBlob, Subject: string(d), Step: j.Step, Why: j.Why, Bytes: j.Freed, Next: j.Next}
	switch j.Step {
	case blobstore.Kept:
		return nil
	case blobstore.Condemned:
		c.report.Condemned++
	case blobstore.Collected:
		c.report.Collected++
	case blobstore.Removed:
		c.report.Records++
	}
	if f.Bytes == 0 {
		f.Bytes = j.Waiting
	}
	c.tell(f)
	return nil
}

// revive takes back a condemned blob that a node or a snapshot names.
func (c *cycle) revive(ctx context.Context, d digest.Digest) error {
	did, err := false, error(nil)
	if c.o.DryRun {
		var b blobstore.BlobInfo
		b, err = c.store.Describe(ctx, d)
		did = b.State == "condemned"
	} else {
		did, err = c.store.Revive(ctx, d)
	}
	switch {
	case unknown(err):
		return nil // an image that is not from here, or one that was gone already
	case damaged(err):
		c.problem(string(d), "", "its record is damaged: %v", err)
		return nil
	case err != nil:
		return fmt.Errorf("blob %s: %w", d, err)
	case did:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.report.Revived++
	}
	return nil
}
