package layers

import (
	"bytes"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
)

// work does one job after another.
func (c *Checker) work() {
	for {
		j := c.queue.next()
		if j == nil {
			return
		}
		f, err := c.find(j)
		for {
			claims, mediaType := c.queue.claims(j, err)
			if len(claims) == 0 {
				break
			}
			err = c.settle(j, f, claims, mediaType)
		}
		if err != nil && c.ctx.Err() == nil {
			c.options.Logger.Warn("a layer could not be checked", "layer", j.blob, "error", err)
		}
	}
}

// find finds out what the blob of j is. When a record says already what the
// claims do, that is taken for it.
func (c *Checker) find(j *job) (f finding, err error) {
	defer c.queue.drop(j)
	if f, ok := c.found.Get(j.task); ok {
		return f, nil
	}
	if _, ok := c.fresh.Get(j.blob); !ok && j.bytes == nil {
		if f, ok, err := c.foundBefore(j); ok || err != nil {
			return f, err
		}
	}
	defer func() {
		// One layer that a decompressor stumbles over must not take the server
		// and everybody's uploads down with it.
		if r := recover(); r != nil {
			c.options.Logger.Error("checking a layer has crashed", "layer", j.blob, "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("checking it has crashed: %v", r)
		}
	}()
	if j.bytes != nil {
		f, err = c.options.examine(bytes.NewReader(j.bytes), int64(len(j.bytes)), j.algorithm)
	} else {
		f, err = c.readBack(j)
	}
	if err == nil {
		c.found.Put(j.task, f, 1)
	}
	return f, err
}

// foundBefore looks whether a record lists the blob under one of the claims.
func (c *Checker) foundBefore(j *job) (finding, bool, error) {
	for _, diffID := range c.queue.peek(j) {
		ok, err := c.listed(c.ctx, j.blob, diffID)
		if ok {
			c.settled.Put(claim{j.blob, diffID}, settlement{state: Plain}, 1)
		}
		if ok || err != nil {
			return finding{diffID: diffID}, ok, err
		}
	}
	return finding{}, false, nil
}

// readBack examines a blob as it is stored. It is read to its end whatever is
// found, for only there is it certain that these were the blob's bytes: what is
// damaged in the bucket must not count against the blob.
func (c *Checker) readBack(j *job) (finding, error) {
	r, err := c.store.OpenAny(c.ctx, j.blob, 0, -1)
	if err != nil {
		return finding{}, err
	}
	defer r.Close()
	f, err := c.options.examine(r, r.Blob().Size, j.algorithm)
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	return f, err
}

// settle writes down what was found, as far as the claims ask for it.
func (c *Checker) settle(j *job, f finding, diffIDs []digest.Digest, mediaType string) error {
	if f.problem == "" {
		if err := c.settlePlain(j, f, mediaType); err != nil {
			return err
		}
	}
	for _, diffID := range diffIDs {
		if f.problem == "" && diffID == f.diffID {
			continue
		}
		key := claim{j.blob, diffID}
		s := settlement{Invalid, problem(key, f.diffID, f.problem)}
		c.options.Logger.Warn("a layer is invalid", "problem", s.problem)
		if err := c.store.SetVerdict(c.ctx, j.blob, blobstore.Verdict{DiffID: f.diffID, Problem: f.problem}); err != nil {
			return err
		}
		c.settled.Put(key, s, 1)
	}
	return nil
}

// settlePlain has the record of the layer that the blob is list it.
func (c *Checker) settlePlain(j *job, f finding, mediaType string) error {
	key := claim{j.blob, f.diffID}
	if _, ok := c.settled.Get(key); ok {
		return nil
	}
	b := checkedBlob{Size: f.blobSize, MediaType: mediaType, CheckedAt: c.store.Clock().Now().UTC()}
	if err := c.list(c.ctx, j.blob, b, f); err != nil {
		return err
	}
	c.settled.Put(key, settlement{state: Plain}, 1)
	return nil
}
