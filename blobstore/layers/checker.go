package layers

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/lru"
	"github.com/laminastore/lamina/blobstore/realm"
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

	found   *lru.Cache[task, finding]           // what was found out here
	settled *lru.Cache[claim, settlement]       // what is written down
	fresh   *lru.Cache[digest.Digest, struct{}] // blobs that were stored here
}

// A claim is what a config in a realm says: that the blob is the layer diffID.
type claim struct {
	realm        realm.Name
	blob, diffID digest.Digest
}

type settlement struct {
	state   State // Plain or Invalid
	problem string
}

// remembered is how many findings are kept in memory.
const remembered = 20_000

// New starts a Checker on s. The caller closes it before s.
func New(s *blobstore.Store, o Options) *Checker {
	o = o.withDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	c := &Checker{
		store: s, options: o, queue: newQueue(o.Queue), ctx: ctx, cancel: cancel,
		found:   lru.New[task, finding](remembered),
		settled: lru.New[claim, settlement](remembered),
		fresh:   lru.New[digest.Digest, struct{}](remembered),
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

// Levels are how many checks wait, and how many run, for whoever watches. Some
// of the former may be those of one layer by two algorithms. No I/O.
func (c *Checker) Levels() (waiting, running int) { return c.queue.levels() }

// published looks into a blob that has just been stored, if its bytes are in
// memory and look like a layer's.
func (c *Checker) published(p blobstore.Published) {
	c.fresh.Put(p.Digest, struct{}{}, 1)
	t := task{p.Digest, digest.SHA256}
	if _, ok := c.found.Get(t); !ok && looksLikeLayer(p.Bytes) && c.queue.room(p.Size, c.options.KeepBytes) {
		c.queue.add(t, nil, p.Bytes, false)
	}
}

// Want has the blob layer checked against the diffID that a config in repo
// claims for it, unless that is known in the realm of repo. It returns at once;
// when too many wait already nothing happens, and State or Wait asks again.
func (c *Checker) Want(repo reference.Repository, layer digest.Digest, mediaType string, diffID digest.Digest) {
	key := c.claim(repo, layer, diffID)
	if _, ok := c.settled.Get(key); ok {
		return
	}
	if t, err := taskOf(layer, diffID); err == nil {
		c.queue.add(t, &asked{key, mediaType}, nil, false)
	}
}

func (c *Checker) claim(repo reference.Repository, layer, diffID digest.Digest) claim {
	return claim{c.options.Realms.Of(repo), layer, diffID}
}

func taskOf(layer, diffID digest.Digest) (task, error) {
	for _, d := range []digest.Digest{layer, diffID} {
		if _, err := reference.ParseDigest(string(d)); err != nil {
			return task{}, err
		}
	}
	return task{layer, diffID.Algorithm()}, nil
}

// State says what is known in the realm of repo of the blob layer as the layer
// diffID, and with Invalid what is wrong and the remedy. What has not been
// checked is Pending, and is checked soon. At most two bucket calls, none once
// it is known. Errors: blobstore.ErrBlobUnknown; bucket.ErrUnavailable.
func (c *Checker) State(ctx context.Context, repo reference.Repository, layer, diffID digest.Digest) (s State, problem string, err error) {
	s, problem, err = c.known(ctx, c.claim(repo, layer, diffID))
	if err == nil && s == Pending {
		c.Want(repo, layer, "", diffID)
	}
	return s, problem, err
}

// Wait is State that returns when the layer has been checked; it is Pending
// only together with an error. Errors: those of State; ctx's error; what kept
// the blob from being read (blobstore.ErrCorrupt).
func (c *Checker) Wait(ctx context.Context, repo reference.Repository, layer, diffID digest.Digest) (s State, problem string, err error) {
	key := c.claim(repo, layer, diffID)
	for {
		s, problem, err = c.known(ctx, key)
		if err != nil || s != Pending {
			return s, problem, err
		}
		t, err := taskOf(layer, diffID)
		if err != nil {
			return Pending, "", err
		}
		j := c.queue.add(t, &asked{claim: key}, nil, true)
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
func (c *Checker) known(ctx context.Context, key claim) (State, string, error) {
	if s, ok := c.settled.Get(key); ok {
		return s.state, s.problem, nil
	}
	if _, err := taskOf(key.blob, key.diffID); err != nil {
		return Invalid, fmt.Sprintf("%s; build and push the image again", err), nil
	}
	s, err := c.recorded(ctx, key)
	if err == nil && s.state != Pending {
		c.settled.Put(key, s, 1)
	}
	return s.state, s.problem, err
}

// recorded asks the bucket for what is known. Only the claim's own realm can say
// that the layer is there: what another one has on record counts for nothing.
// That a blob is no such layer is said by its own record, to whoever holds it.
func (c *Checker) recorded(ctx context.Context, key claim) (settlement, error) {
	in, full, err := c.listed(ctx, key)
	switch {
	case err != nil:
		return settlement{}, err
	case in:
		return settlement{state: Plain}, nil
	}
	v, err := c.store.VerdictOf(ctx, key.blob)
	switch {
	case err != nil || v == nil:
		return settlement{}, err
	case v.Problem != "":
		return settlement{Invalid, problem(key, "", v.Problem)}, nil
	case v.DiffID == key.diffID && full:
		return settlement{state: Plain}, nil
	case v.DiffID != key.diffID && v.DiffID.Algorithm() == key.diffID.Algorithm():
		return settlement{Invalid, problem(key, v.DiffID, "")}, nil
	}
	return settlement{}, nil
}

// problem says what is wrong with a layer, and the remedy.
func problem(c claim, actual digest.Digest, what string) string {
	if what == "" {
		what = fmt.Sprintf("its tar is %s, but the image's config says %s", actual, c.diffID)
	}
	return fmt.Sprintf("layer %s: %s; build and push the image again", c.blob, what)
}

func absent(err error) bool { return errors.Is(err, bucket.ErrNotExist) }
