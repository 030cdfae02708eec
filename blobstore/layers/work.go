package layers

import (
	"bytes"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/laminastore/lamina/blobstore"
)

// work does one job after another.
func (c *Checker) work() {
	for {
		j := c.queue.next()
		if j == nil {
			return
		}
		if err := c.do(j); err != nil && c.ctx.Err() == nil {
			c.options.Logger.Warn("a layer could not be checked", "layer", j.blob, "error", err)
		}
	}
}

// do settles the claims of j until no more come. A blob whose bytes are in
// memory is looked into whether somebody claims anything or not.
func (c *Checker) do(j *job) (err error) {
	var f finding
	looked := len(j.bytes) > 0
	if looked {
		f, err = c.find(j)
	}
	for {
		claims := c.queue.claims(j, err)
		if len(claims) == 0 {
			return err
		}
		if !looked {
			if claims, err = c.open(claims); err != nil || len(claims) == 0 {
				continue
			}
			if f, err = c.find(j); err != nil {
				continue
			}
			looked = true
		}
		err = c.settle(j, f, claims)
	}
}

// open returns the claims that no record of their own realm has settled. Of a
// blob that has just been stored here nobody asks the bucket: writing the record
// tells whether there is one.
func (c *Checker) open(claims []asked) ([]asked, error) {
	var open []asked
	for _, a := range claims {
		if _, ok := c.fresh.Get(a.blob); ok {
			open = append(open, a)
			continue
		}
		in, _, err := c.listed(c.ctx, a.claim)
		switch {
		case err != nil:
			return nil, err
		case in:
			c.settled.Put(a.claim, settlement{state: Plain}, 1)
		default:
			open = append(open, a)
		}
	}
	return open, nil
}

// find finds out what the blob of j is, from its bytes alone.
func (c *Checker) find(j *job) (f finding, err error) {
	defer c.queue.drop(j)
	if f, ok := c.found.Get(j.task); ok {
		return f, nil
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

// settle writes down what was found, in the realms of the claims and as far as
// they ask for it.
func (c *Checker) settle(j *job, f finding, claims []asked) error {
	for _, a := range claims {
		key := a.claim
		if f.problem == "" {
			if err := c.settlePlain(j, f, a); err != nil {
				return err
			}
			if key.diffID == f.diffID {
				continue
			}
		}
		s := settlement{Invalid, problem(key, f.diffID, f.problem)}
		c.options.Logger.Warn("a layer is invalid", "problem", s.problem)
		if err := c.store.SetVerdict(c.ctx, j.blob, blobstore.Verdict{DiffID: f.diffID, Problem: f.problem}); err != nil {
			return err
		}
		c.settled.Put(key, s, 1)
	}
	return nil
}

// settlePlain has the record of the layer that the blob is, in the realm of who
// has asked, list it.
func (c *Checker) settlePlain(j *job, f finding, a asked) error {
	key := claim{a.realm, j.blob, f.diffID}
	if _, ok := c.settled.Get(key); ok {
		return nil
	}
	b := checkedBlob{Size: f.blobSize, MediaType: a.mediaType, CheckedAt: c.store.Clock().Now().UTC()}
	if err := c.list(c.ctx, a.realm, j.blob, b, f); err != nil {
		return err
	}
	c.settled.Put(key, settlement{state: Plain}, 1)
	return nil
}
