package main

import (
	"context"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// rateOptions say what rates are measured of.
type rateOptions struct {
	lamina, zot string        // binaries; no zot: without it
	before      string        // another binary of Lamina to compare with, if any
	dir         string        // for the stores
	minioDir    string        // for MinIO's store; "": in dir
	reps        int           // medians are printed
	largest     int           // MB
	within      time.Duration // no further repetition begins that would not end in it; 0: whatever it takes
	stores      []string      // "files", "S3"
}

// What is measured, in this order: pushes as docker does and in one PUT, pulls
// by a server that has just started (it has seen nothing of what it serves), and
// by the same server again.
const (
	stepChunked   = "push, POST PATCH PUT"
	stepWhole     = "push, POST PUT"
	stepPull      = "pull, server just started"
	stepPullAgain = "pull again"
	stepManifest  = "manifest gets by tag"
)

// A cell is what is measured in one go on a store.
type cell struct {
	store         string
	mb, clients   int // size of the blobs in MB, and how many are on their way at once
	blobs, repeat int // how many are moved, and in how many repetitions
}

// A cellKey is what one number of a table is about.
type cellKey struct {
	store, step string
	mb, clients int
}

func (c cell) key(step string) cellKey { return cellKey{c.store, step, c.mb, c.clients} }

// rates has all samples, MB/s or gets a second, of each cell and system.
type rates map[cellKey]map[string][]float64

func (r rates) add(k cellKey, system string, v float64) {
	if r[k] == nil {
		r[k] = map[string][]float64{}
	}
	r[k][system] = append(r[k][system], v)
}

var (
	rateSizes   = []int{1, 10, 100}
	rateClients = []int{1, 4, 16}
)

// rateCells are the cells of a store. Where much is moved there is less noise:
// such a cell is repeated less often.
func rateCells(store string, o rateOptions) []cell {
	var out []cell
	for _, mb := range rateSizes {
		for _, clients := range rateClients {
			if mb > o.largest {
				continue
			}
			c := cell{store: store, mb: mb, clients: clients, repeat: o.reps}
			switch mb {
			case 1:
				c.blobs = max(2*clients, 24)
			case 10:
				c.blobs = max(clients, 8)
			default:
				c.blobs = max(clients, 2)
			}
			if c.blobs*mb > 1000 {
				c.repeat = max(1, o.reps/3)
			}
			out = append(out, c)
		}
	}
	return out
}

func runRates(ctx context.Context, o rateOptions) error {
	if o.minioDir == "" {
		o.minioDir = o.dir
	}
	pool := make([]byte, (o.largest+8)<<20)
	rng := rand.NewChaCha8([32]byte{byte(time.Now().UnixNano())})
	_, _ = rng.Read(pool) // never fails
	r := rates{}
	b := &rateBench{o: o, pool: pool, results: r}
	defer printRates(r, o) // also what there is when it is interrupted
	began := time.Now()
	for rep := range o.reps {
		// As many as fit, if the last one tells how long the next one takes.
		if spent := time.Since(began); rep > 0 && o.within > 0 && spent+spent/time.Duration(rep) > o.within {
			log.Printf("%d repetitions in %v: there is no time for another", rep, spent.Round(time.Second))
			break
		}
		for _, store := range o.stores {
			if err := b.store(ctx, store, rep); err != nil {
				return err
			}
		}
	}
	return nil
}

type rateBench struct {
	o       rateOptions
	pool    []byte
	link    *slowLink // for S3
	results rates
	turn    int // who begins; the next one does next time
}

// store measures everything on a store once.
func (b *rateBench) store(ctx context.Context, store string, rep int) error {
	if store == "S3" {
		var err error
		if b.link, err = newSlowLink(ctx); err != nil {
			return err
		}
		defer b.link.close()
	}
	for _, c := range rateCells(store, b.o) {
		if rep >= c.repeat {
			continue
		}
		log.Printf("%d/%d: %s, %d MB × %d", rep+1, b.o.reps, store, c.mb, c.clients)
		if err := b.group(ctx, store, func(s *running) error { return b.cell(ctx, c, s) }); err != nil {
			return fmt.Errorf("%s, %d MB × %d: %w", store, c.mb, c.clients, err)
		}
	}
	log.Printf("%d/%d: %s, manifests", rep+1, b.o.reps, store)
	if err := b.group(ctx, store, func(s *running) error { return b.manifests(ctx, store, s) }); err != nil {
		return fmt.Errorf("%s, manifests: %w", store, err)
	}
	return nil
}

// running are the systems that are measured beside each other, each on a store
// of its own that was empty.
type running struct {
	systems []system
	dirs    []string
	procs   []*process
	minio   *process // nil on files
}

// group starts all systems on empty stores, calls f, and clears all away.
func (b *rateBench) group(ctx context.Context, store string, f func(*running) error) (err error) {
	dir, err := os.MkdirTemp(b.o.dir, "rates")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s := &running{}
	if store == "S3" {
		mdir, err := os.MkdirTemp(b.o.minioDir, "rates-minio")
		if err != nil {
			return err
		}
		defer os.RemoveAll(mdir)
		if s.minio, err = b.link.startMinIO(ctx, mdir); err != nil {
			return err
		}
		defer s.minio.stop()
	}
	s.systems = rateSystems(b.o, store, s.minio)
	s.procs = make([]*process, len(s.systems))
	defer func() {
		for _, p := range s.procs {
			if p != nil {
				p.stop()
			}
		}
	}()
	for i := range s.systems {
		s.dirs = append(s.dirs, filepath.Join(dir, fmt.Sprint(i)))
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	return f(s)
}

// start starts all systems, again if they run.
func (s *running) start(ctx context.Context) (err error) {
	for i, sys := range s.systems {
		if s.procs[i] != nil {
			s.procs[i].stop()
			s.procs[i] = nil
		}
		for range 3 { // someone else may have been faster to take the port
			if s.procs[i], err = sys.start(ctx, s.dirs[i]); err == nil {
				break
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", sys.name, err)
		}
	}
	return nil
}

// each calls f for every system, one after the other, another one first each
// time, when all are at rest and the disk too.
func (b *rateBench) each(ctx context.Context, s *running, f func(i int, name string, c *rateClient) error) error {
	b.turn++
	for k := range s.systems {
		i := (k + b.turn) % len(s.systems)
		for _, p := range s.procs {
			settle(ctx, p, 2)
		}
		syscall.Sync()
		c := newRateClient(s.procs[i].addr)
		err := f(i, s.systems[i].name, c)
		c.close()
		if err != nil {
			return fmt.Errorf("%s: %w", s.systems[i].name, err)
		}
	}
	return nil
}

// cell measures one size and number of clients.
func (b *rateBench) cell(ctx context.Context, c cell, s *running) error {
	pushed := make([][]content, len(s.systems))
	step := func(name string, do func(*rateClient, context.Context, *content) error, push bool) error {
		return b.each(ctx, s, func(i int, system string, client *rateClient) error {
			blobs := pushed[i]
			if push {
				blobs = makeContents(b.pool, c.blobs, c.mb<<20)
				pushed[i] = blobs
			}
			if err := client.greet(ctx, c.clients); err != nil {
				return err
			}
			began := time.Now()
			err := atOnce(ctx, c.clients, len(blobs), func(ctx context.Context, n int) error { return do(client, ctx, &blobs[n]) })
			if err == nil {
				b.results.add(c.key(name), system, float64(c.blobs*c.mb<<20)/1e6/time.Since(began).Seconds())
			}
			return err
		})
	}
	if err := step(stepChunked, (*rateClient).pushChunked, true); err != nil {
		return err
	}
	if err := step(stepWhole, (*rateClient).pushWhole, true); err != nil {
		return err
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	if err := step(stepPull, (*rateClient).pull, false); err != nil {
		return err
	}
	if err := step(stepPullAgain, (*rateClient).pull, false); err != nil || s.minio == nil {
		return err
	}
	return b.bare(ctx, c, s.minio)
}

// greet opens the connections that a measurement will use.
func (c *rateClient) greet(ctx context.Context, clients int) error {
	return atOnce(ctx, clients, clients, func(ctx context.Context, _ int) error {
		_, err := c.do(ctx, "GET", "http://"+c.addr+"/v2/", nil, 0, 200)
		return err
	})
}

// manifests measures how many manifests can be had in a second.
func (b *rateBench) manifests(ctx context.Context, store string, s *running) error {
	err := b.each(ctx, s, func(_ int, _ string, c *rateClient) error { return c.pushManifest(ctx, b.pool) })
	if err != nil {
		return err
	}
	for _, clients := range rateClients {
		err := b.each(ctx, s, func(_ int, system string, c *rateClient) error {
			got, err := c.manifestRate(ctx, clients, time.Second)
			if err == nil {
				b.results.add(cellKey{store: store, step: stepManifest, clients: clients}, system, got)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
