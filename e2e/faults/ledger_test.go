package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/client"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/reference"
)

// A ledger is what servers have acknowledged. Clients write into it what they
// were told and nothing else, and nobody else pushes to their tags.
type ledger struct {
	layers []layer // of which images are made
	tags   []*tag

	pushed, deleted, pulled, refused atomic.Int64
	serial                           atomic.Int64
}

// A tag is one place in the ledger.
type tag struct {
	repo reference.Repository
	name reference.Tag

	mu   sync.RWMutex // held for writing while what the tag names changes
	now  *image       // nil: nothing
	gone []digest.Digest
}

// newLedger has so many repositories, with some tags each.
func newLedger(repositories, tags int, of []layer) *ledger {
	l := &ledger{layers: of}
	for r := range repositories {
		for n := range tags {
			l.tags = append(l.tags, &tag{
				repo: reference.Repository(fmt.Sprintf("faults/app-%d", r)), name: reference.Tag(fmt.Sprintf("v%d", n)),
			})
		}
	}
	return l
}

func (l *ledger) String() string {
	return fmt.Sprintf("%d pushed, %d deleted, %d pulled, %d refused for a promise that had ended and pushed again",
		l.pushed.Load(), l.deleted.Load(), l.pulled.Load(), l.refused.Load())
}

// dial connects a client that does not give up.
func dial(t testing.TB, addr string) *client.Client {
	t.Helper()
	c, err := client.Dial(addr, client.Options{Patience: patience, FirstPatience: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// image makes one that there has not been, of layers that others may have, and
// often one that none has.
func (l *ledger) image() *image {
	var of []layer
	if like := rand.IntN(2 * len(l.layers)); like < len(l.layers) {
		of = layersOf(rand.Uint64(), len(l.layers[like].data))
	}
	for _, i := range rand.Perm(len(l.layers))[:1+rand.IntN(min(3, len(l.layers)))] {
		of = append(of, l.layers[i])
	}
	return newImage(fmt.Sprint(l.serial.Add(1)), of...)
}

// push puts another image at a tag, and deletes the one that was there.
func (l *ledger) push(ctx context.Context, c *client.Client, g *tag, i *image) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		_, err := c.Push(ctx, i, g.repo, g.name, client.CopyOptions{MountFrom: []reference.Repository{l.tags[rand.IntN(len(l.tags))].repo}})
		if err == nil {
			break
		}
		// With times as short as here a promise may end while a server is dead;
		// what it was for is asked for again.
		if client.ReasonOf(err) != pb.Reason_REASON_MANIFEST_BLOB_UNKNOWN {
			return fmt.Errorf("push %s:%s: %w", g.repo, g.name, err)
		}
		l.refused.Add(1)
	}
	l.pushed.Add(1)
	old := g.now
	g.now = i
	if old != nil {
		return l.remove(ctx, c, g, old)
	}
	return nil
}

// delete deletes what a tag names.
func (l *ledger) delete(ctx context.Context, c *client.Client, g *tag) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.now
	if g.now = nil; old == nil {
		return nil
	}
	return l.remove(ctx, c, g, old)
}

func (l *ledger) remove(ctx context.Context, c *client.Client, g *tag, i *image) error {
	if err := c.Delete(ctx, g.repo, reference.Locator{Digest: i.root.Digest}); err != nil {
		return fmt.Errorf("delete %s@%s: %w", g.repo, i.root.Digest, err)
	}
	g.gone = append(g.gone, i.root.Digest)
	l.deleted.Add(1)
	return nil
}

// pull pulls what a tag names, and compares it.
func (l *ledger) pull(ctx context.Context, c *client.Client, g *tag) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.now == nil {
		_, err := c.Resolve(ctx, g.repo, reference.Locator{Tag: g.name}, "")
		return g.unknown(string(g.name), err)
	}
	if _, err := c.Pull(ctx, arrival{g.now}, g.repo, reference.Locator{Tag: g.name}, client.CopyOptions{}); err != nil {
		return fmt.Errorf("pull %s:%s, which was acknowledged: %w", g.repo, g.name, err)
	}
	l.pulled.Add(1)
	return nil
}

// unknown says what is wrong if err does not say that the repository has no such
// image.
func (g *tag) unknown(what string, err error) error {
	if client.ReasonOf(err) == pb.Reason_REASON_MANIFEST_UNKNOWN {
		return nil
	}
	if err == nil {
		err = errors.New("it is there")
	}
	return fmt.Errorf("%s %s, which nobody has pushed or somebody has deleted: %w", g.repo, what, err)
}

// check pulls everything that was acknowledged, and asks for what was deleted.
func (l *ledger) check(t testing.TB, c *client.Client) {
	t.Helper()
	for _, g := range l.tags {
		if err := l.pull(t.Context(), c, g); err != nil {
			t.Error(err)
		}
		for _, d := range g.gone {
			_, err := c.Resolve(t.Context(), g.repo, reference.Locator{Digest: d}, "")
			if err := g.unknown(string(d), err); err != nil {
				t.Error(err)
			}
		}
	}
}

// A crowd are clients that push, delete and pull until they are told to stop.
type crowd struct {
	stop    chan struct{}
	running sync.WaitGroup
	done    atomic.Int64 // things that came to their end
	size    int64        // clients
}

// start lets a client of each address work on the tags: one pusher for each
// repository, and pullers.
func (l *ledger) start(t testing.TB, deletes bool, pullers int, addrs ...string) *crowd {
	t.Helper()
	w := &crowd{stop: make(chan struct{})}
	work := func(addr string, what func(context.Context, *client.Client) error) {
		c := dial(t, addr)
		w.size++
		w.running.Go(func() {
			for {
				select {
				case <-w.stop:
					return
				default:
				}
				if err := what(t.Context(), c); err != nil {
					t.Error(err)
					return
				}
				w.done.Add(1)
			}
		})
	}
	of := map[reference.Repository][]*tag{}
	for _, g := range l.tags {
		of[g.repo] = append(of[g.repo], g)
	}
	n := 0
	for _, tags := range of {
		work(addrs[n%len(addrs)], func(ctx context.Context, c *client.Client) error {
			g := tags[rand.IntN(len(tags))]
			if deletes && rand.IntN(4) == 0 {
				return l.delete(ctx, c, g)
			}
			return l.push(ctx, c, g, l.image())
		})
		n++
	}
	for range pullers {
		work(addrs[n%len(addrs)], func(ctx context.Context, c *client.Client) error {
			return l.pull(ctx, c, l.tags[rand.IntN(len(l.tags))])
		})
		n++
	}
	return w
}

// end lets everyone finish what was begun.
func (w *crowd) end() {
	close(w.stop)
	w.running.Wait()
}

// goesOn waits until n more things have come to their end.
func (w *crowd) goesOn(t testing.TB, n int64) {
	t.Helper()
	from := w.done.Load()
	eventually(t, "clients going on", func() bool { return t.Failed() || w.done.Load() >= from+n })
	if t.Failed() {
		t.FailNow()
	}
}
