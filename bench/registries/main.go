// Command registries measures Lamina beside distribution, each on files and on
// one MinIO: an image pushed and pulled with skopeo, a blob pushed and pulled
// with curl, and the memory of four large pushes at once. Every repetition
// starts each server anew on an empty store, one after the other, so that a
// machine that gets slower or faster meanwhile is so for all of them.
//
// With -rates it measures, instead, how much a second goes in and out, with a
// client of its own, on files and on a MinIO behind a link of 1 Gbit/s.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	log.SetFlags(0)
	lamina := flag.String("lamina", "bin/lamina", "the binary to measure")
	reps := flag.Int("n", 5, "repetitions; medians are printed")
	imageMB := flag.Int64("image", 250, "size of the image in MB, compressed")
	blobMB := flag.Int64("blob", 200, "size of the blob in MB")
	memMB := flag.Int64("memory", 1000, "size in MB of each of the four pushes at once; 0: leave out")
	dir := flag.String("dir", "", "where to keep the stores (default: a temporary folder)")
	o := rateOptions{}
	onlyRates := flag.Bool("rates", false, "measure rates instead: blobs of 1, 10 and 100 MB by 1, 4 and 16 clients, and manifests; as root")
	flag.StringVar(&o.zot, "zot", "", "with -rates: a binary of zot to measure too")
	flag.StringVar(&o.before, "before", "", "with -rates: another binary of Lamina to measure too (an absolute path)")
	flag.IntVar(&o.largest, "largest", 100, "with -rates: the largest blobs in MB")
	flag.DurationVar(&o.within, "within", 14*time.Minute, "with -rates: leave out repetitions after the first that would not end in this time; 0: none")
	flag.StringVar(&o.minioDir, "minio-dir", "", "with -rates: where MinIO stores (default: in -dir); /dev/shm takes its disk out of the numbers")
	stores := flag.String("stores", "files,S3", "with -rates: the stores to measure on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if *onlyRates {
		o.lamina, o.dir, o.reps, o.stores = *lamina, *dir, *reps, strings.Split(*stores, ",")
		if err := startRates(ctx, o); err != nil {
			log.Fatalf("bench: %v", err)
		}
		return
	}
	if err := run(ctx, *lamina, *dir, *reps, *imageMB<<20, *blobMB<<20, *memMB<<20); err != nil {
		log.Fatalf("bench: %v", err)
	}
}

// startRates fills in what was left out, and measures rates.
func startRates(ctx context.Context, o rateOptions) (err error) {
	if o.lamina, err = filepath.Abs(o.lamina); err != nil {
		return err
	}
	if o.zot != "" {
		if o.zot, err = filepath.Abs(o.zot); err != nil {
			return err
		}
	}
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "lamina-bench"); err != nil {
			return err
		}
		defer os.RemoveAll(o.dir)
	}
	return runRates(ctx, o)
}

func run(ctx context.Context, lamina, dir string, reps int, imageSize, blobSize, memSize int64) error {
	lamina, err := filepath.Abs(lamina)
	if err != nil {
		return err
	}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "lamina-bench"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	log.Printf("making an image of %d MB and a blob of %d MB", imageSize>>20, blobSize>>20)
	w, err := newWork(dir, imageSize, blobSize)
	if err != nil {
		return err
	}
	minio, err := startMinIO(ctx, filepath.Join(dir, "minio"))
	if err != nil {
		return err
	}
	defer minio.stop()
	systems := []system{
		{"Lamina", "files", laminaOnFiles(lamina)},
		{"distribution", "files", distributionOnFiles},
		{"Lamina", "S3", laminaOnS3(lamina, minio)},
		{"distribution", "S3", distributionOnS3(minio)},
	}
	results := make([]result, len(systems))
	for rep := range reps {
		for i, s := range systems {
			log.Printf("%d/%d: %s on %s", rep+1, reps, s.name, s.store)
			if err := w.measure(ctx, s, filepath.Join(dir, fmt.Sprintf("store-%d-%d", rep, i)), &results[i]); err != nil {
				return fmt.Errorf("%s on %s: %w", s.name, s.store, err)
			}
		}
	}
	printTable(systems, results, w)
	if memSize == 0 {
		return nil
	}
	fmt.Printf("\n| four pushes of %d MB at once | store | peak memory of the server |\n|---|---|---|\n", memSize>>20)
	for i, s := range systems {
		for _, api := range s.apis() {
			peak, err := w.memory(ctx, s, api.push, filepath.Join(dir, fmt.Sprintf("memory-%d-%s", i, api.name)), memSize)
			if err != nil {
				return fmt.Errorf("memory of %s on %s: %w", s.name, s.store, err)
			}
			fmt.Printf("| %s, %s | %s | %d MB |\n", s.name, api.name, s.store, peak>>20)
		}
	}
	return nil
}
