// Command collection measures what a collection costs in a large store: it makes
// one of many small blobs and manifests, on files and on MinIO, runs the cycles
// in which garbage is condemned, collected and freed, each in a process of its
// own, and prints tables of the time, the calls to the bucket and the peak
// memory. It also counts what promises cost on the read path. What it made is
// deleted in the end.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(log.Ltime)
	var onFiles, onS3 shape
	flag.IntVar(&onFiles.blobs, "blobs", 1_000_000, "blobs in the store on files: layers, configs and manifests")
	flag.IntVar(&onFiles.manifests, "manifests", 50_000, "manifests among them")
	flag.IntVar(&onS3.blobs, "s3-blobs", 0, "blobs in the store on MinIO (default: a twentieth of -blobs)")
	flag.IntVar(&onS3.manifests, "s3-manifests", 0, "manifests among them (default: a twentieth of -manifests)")
	flag.IntVar(&onFiles.layers, "layers", 20, "layers of an image, at least; it has more if there are not enough images for the blobs")
	flag.Float64Var(&onFiles.garbage, "garbage", 0.05, "the part of the blobs that nothing names")
	stores := flag.String("stores", "files,S3", "the stores to measure on")
	dir := flag.String("dir", "", "where to keep the stores (default: a temporary folder); /dev/shm takes the disk out of the numbers")
	child := flag.String("child", "", "used by this program itself")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *child != "" {
		if err := runChild(ctx, *child); err != nil {
			log.Fatal(err)
		}
		return
	}
	onS3.blobs = cmp.Or(onS3.blobs, onFiles.blobs/20)
	onS3.manifests = cmp.Or(onS3.manifests, onFiles.manifests/20)
	onS3.layers, onS3.garbage = onFiles.layers, onFiles.garbage
	if err := run(ctx, *dir, strings.Split(*stores, ","), onFiles, onS3); err != nil {
		log.Fatalf("bench: %v", err)
	}
}

func run(ctx context.Context, dir string, stores []string, onFiles, onS3 shape) error {
	dir, err := os.MkdirTemp(dir, "lamina-collection-")
	if err != nil {
		return err
	}
	defer func() {
		began := time.Now()
		if err := os.RemoveAll(dir); err != nil {
			log.Printf("left behind: %v", err)
		}
		log.Printf("deleted what was made in %v", time.Since(began).Round(time.Second))
	}()
	began := time.Now()
	for _, store := range stores {
		switch store {
		case "files":
			folder := filepath.Join(dir, "files")
			err = measure(ctx, "files", "file://"+folder, dir, onFiles, func() (target, error) { return openRaw(folder) })
		case "S3":
			err = measureS3(ctx, dir, onS3)
		default:
			err = fmt.Errorf("-stores has %q, which is neither files nor S3", store)
		}
		if err != nil {
			return fmt.Errorf("on %s: %w", store, err)
		}
	}
	if err := measurePulls(ctx); err != nil {
		return fmt.Errorf("pulls: %w", err)
	}
	log.Printf("measured in %v", time.Since(began).Round(time.Second))
	return nil
}

// measure makes a store and runs the cycles on it.
func measure(ctx context.Context, store, url, temp string, s shape, open func() (target, error)) error {
	if err := s.check(); err != nil {
		return err
	}
	t, err := open()
	if err != nil {
		return err
	}
	log.Printf("%s: making %d blobs, %d manifests among them", store, s.blobs, s.manifests)
	made, err := s.make(ctx, t)
	if err != nil {
		return fmt.Errorf("making the store: %w", err)
	}
	log.Printf("%s: made %d objects in %v", store, made.objects, made.took.Round(time.Second))
	var rows []row
	for _, c := range cycles {
		log.Printf("%s: %s", store, c.name)
		r, err := spawnChild(ctx, childTask{Bucket: url, Temp: temp, After: c.after, DryRun: c.dry})
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		rows = append(rows, row{c.name, r})
	}
	printCycles(store, s, made, rows)
	return nil
}

// cycles are what is run on a store that was made now. The first mark comes when
// the promises of the uploads are over.
var cycles = []struct {
	name  string
	after time.Duration // the clock is that far ahead
	dry   bool
}{
	{"dry run", 80 * time.Hour, true},
	{"1st cycle: condemns", 80 * time.Hour, false},
	{"2nd cycle: collects", 81 * time.Hour, false},
	{"3rd cycle: frees", 107 * time.Hour, false},
}
