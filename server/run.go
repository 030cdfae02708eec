package server

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"runtime/debug"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/file"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
)

// Run serves what cfg says until ctx ends; then it lets what is under way come
// to its end (Config.StopWithin) and returns nil. It is for a process that is a
// server and nothing else: it sets the process's memory limit.
func Run(ctx context.Context, cfg Config) error {
	cfg = cfg.withDefaults()
	limitMemory(cfg.MemoryLimit)
	d, err := openDoors(ctx, cfg)
	if err != nil {
		return err
	}
	b, err := openBucket(cfg.Bucket)
	if err != nil {
		d.close()
		return err
	}
	return runBehind(ctx, b, d, cfg)
}

// limitMemory makes the garbage collector work harder as the heap comes near to
// limit bytes, unless the environment has settled that.
func limitMemory(limit int64) {
	if os.Getenv("GOMEMLIMIT") != "" || limit < 0 {
		return
	}
	debug.SetMemoryLimit(limit)
}

func openBucket(s string) (bucket.Bucket, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, err
	case u.Scheme == "file":
		return file.Open(u.Path, file.Options{})
	case s == "memory:":
		return memory.New(memory.Options{}), nil
	}
	return nil, fmt.Errorf("bucket %q: the URL begins with neither file:// nor memory:", s)
}
