package layers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/lru"
	"github.com/laminastore/lamina/reference"
)

// A Checker checks layers. Safe for concurrent use.
type Checker struct {
	store   *blobstore.Store
	options Options
	queue   *queue
	workers sync.WaitGroup
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc

	found *lru.Cache[task, finding]              // what was found out here
	plain *lru.Cache[[2]digest.Digest, struct{}] // blob and diffID that a record lists
	fresh *lru.Cache[digest.Digest, struct{}]    // blobs that were stored here
}

// remembered is how many findings are kept in memory.
const remembered = 20_000

// New starts a Checker on s. The caller closes it before s.
func New(s *blobstore.Store, o Options) *Checker {
	o = o.withDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	c := &Checker{
		store: s, options: o, queue: newQueue(o.Queue), ctx: ctx, cancel: cancel,
		found: lru.New[task, finding](remembered),
		plain: lru.New[[2]digest.Digest, struct{}](remembered),
		fresh: lru.New[digest.Digest, struct{}](remembered),
	}
	for range o.Workers {
		c.workers.Go(c.work)
	}
	s.OnPublish(c.published)
	return c
}

// Close stops the checks that run, leaving those layers pending, and waits for
// them to end. Errors: ctx's error when that ends first.
func (c *Checker) Close(ctx context.Context) error {
	c.cancel()
	c.queue.close()
	ended := make(chan struct{})
	go func() {
		c.workers.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// published looks into a blob that has just been stored, if its bytes are in
// memory and look like a layer's.
func (c *Checker) published(p blobstore.Published) {
	c.fresh.Put(p.Digest, struct{}{}, 1)
	t := task{p.Digest, digest.SHA256}
	if _, ok := c.found.Get(t); !ok && looksLikeLayer(p.Bytes) && c.queue.room(p.Size, c.options.KeepBytes) {
		c.queue.add(t, "", "", p.Bytes, false)
	}
}

// Want has the blob layer checked against the diffID that a config claims for
// it, unless that is known. It returns at once; when too many wait already
// nothing happens, and State or Wait asks again.
func (c *Checker) Want(layer digest.Digest, mediaType string, diffID digest.Digest) {
	if _, ok := c.plain.Get([2]digest.Digest{layer, diffID}); ok {
		return
	}
	if t, err := taskOf(layer, diffID); err == nil {
		c.queue.add(t, mediaType, diffID, nil, false)
	}
}

func taskOf(layer, diffID digest.Digest) (task, error) {
	for _, d := range []digest.Digest{layer, diffID} {
		if _, err := reference.ParseDigest(string(d)); err != nil {
			return task{}, err
		}
	}
	return task{layer, diffID.Algorithm()}, nil
}

// State says what is known of the blob layer as the layer diffID, and with
// Invalid what is wrong and the remedy. What has not been checked is Pending,
// and is checked soon. At most two bucket calls, none once it is known.
// Errors: blobstore.ErrBlobUnknown; bucket.ErrUnavailable.
func (c *Checker) State(ctx context.Context, layer, diffID digest.Digest) (s State, problem string, err error) {
	s, problem, err = c.known(ctx, layer, diffID)
	if err == nil && s == Pending {
		c.Want(layer, "", diffID)
	}
	return s, problem, err
}

// Wait is State that returns when the layer has been checked; it is Pending
// only together with an error. Errors: those of State; ctx's error; what kept
// the blob from being read (blobstore.ErrCorrupt).
func (c *Checker) Wait(ctx context.Context, layer, diffID digest.Digest) (s State, problem string, err error) {
	for {
		s, problem, err = c.known(ctx, layer, diffID)
		if err != nil || s != Pending {
			return s, problem, err
		}
		t, err := taskOf(layer, diffID)
		if err != nil {
			return Pending, "", err
		}
		j := c.queue.add(t, "", diffID, nil, true)
		if j == nil {
			return Pending, "", fmt.Errorf("check layer %s: %w: the server is shutting down", layer, bucket.ErrUnavailable)
		}
		select {
		case <-j.done:
			if j.err != nil {
				return Pending, "", fmt.Errorf("check layer %s: %w", layer, j.err)
			}
		case <-ctx.Done():
			return Pending, "", ctx.Err()
		}
	}
}

// known is State that starts nothing.
func (c *Checker) known(ctx context.Context, layer, diffID digest.Digest) (State, string, error) {
	if _, ok := c.plain.Get([2]digest.Digest{layer, diffID}); ok {
		return Plain, "", nil
	}
	t, err := taskOf(layer, diffID)
	if err != nil {
		return Invalid, fmt.Sprintf("%s; build and push the image again", err), nil
	}
	if f, ok := c.found.Get(t); ok && (f.problem != "" || f.diffID != diffID) {
		return Invalid, problem(layer, diffID, f.diffID, f.problem), nil
	}
	switch ok, err := c.listed(ctx, layer, diffID); {
	case err != nil:
		return Pending, "", err
	case ok:
		c.plain.Put([2]digest.Digest{layer, diffID}, struct{}{}, 1)
		return Plain, "", nil
	}
	v, err := c.store.VerdictOf(ctx, layer)
	switch {
	case err != nil || v == nil:
		return Pending, "", err
	case v.Problem != "":
		return Invalid, problem(layer, diffID, "", v.Problem), nil
	case v.DiffID == diffID:
		return Plain, "", nil
	case v.DiffID.Algorithm() == diffID.Algorithm():
		return Invalid, problem(layer, diffID, v.DiffID, ""), nil
	}
	return Pending, "", nil
}

// problem says what is wrong with a layer, and the remedy.
func problem(layer, claimed, actual digest.Digest, what string) string {
	if what == "" {
		what = fmt.Sprintf("its tar is %s, but the image's config says %s", actual, claimed)
	}
	return fmt.Sprintf("layer %s: %s; build and push the image again", layer, what)
}

func absent(err error) bool { return errors.Is(err, bucket.ErrNotExist) }

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
		if f, ok, err := c.recorded(j); ok || err != nil {
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

// recorded looks whether a record lists the blob under one of the claims.
func (c *Checker) recorded(j *job) (finding, bool, error) {
	for _, claim := range c.queue.peek(j) {
		ok, err := c.listed(c.ctx, j.blob, claim)
		if ok {
			c.plain.Put([2]digest.Digest{j.blob, claim}, struct{}{}, 1)
		}
		if ok || err != nil {
			return finding{diffID: claim}, ok, err
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
func (c *Checker) settle(j *job, f finding, claims []digest.Digest, mediaType string) error {
	if f.problem != "" {
		c.options.Logger.Warn("a layer is invalid", "layer", j.blob, "problem", f.problem)
		return c.store.SetVerdict(c.ctx, j.blob, blobstore.Verdict{Problem: f.problem})
	}
	key := [2]digest.Digest{j.blob, f.diffID}
	if _, ok := c.plain.Get(key); !ok {
		b := checkedBlob{Size: f.blobSize, MediaType: mediaType, CheckedAt: c.store.Clock().Now().UTC()}
		if err := c.list(c.ctx, j.blob, b, f); err != nil {
			return err
		}
		c.plain.Put(key, struct{}{}, 1)
	}
	for _, claim := range claims {
		if claim != f.diffID {
			c.options.Logger.Warn("a layer is not what a config says", "layer", j.blob, "diffID", f.diffID, "claimed", claim)
			return c.store.SetVerdict(c.ctx, j.blob, blobstore.Verdict{DiffID: f.diffID})
		}
	}
	return nil
}
