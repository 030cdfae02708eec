package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// rateSystems are the systems on one store.
func rateSystems(o rateOptions, store string, minio *process) []system {
	var out []system
	if store == "S3" {
		out = []system{
			{"Lamina", store, sameBucket(laminaOnBucket(o.lamina), minio)},
			{"distribution", store, sameBucket(distributionOnBucket, minio)},
		}
		if o.before != "" {
			out = append(out, system{beforeName, store, sameBucket(laminaOnBucket(o.before), minio)})
		}
		if o.zot != "" {
			out = append(out, system{zotPlain, store, sameBucket(zotOnBucket(o.zot), minio)})
		}
		return out
	}
	out = []system{{"Lamina", store, laminaOnFiles(o.lamina)}, {"distribution", store, distributionOnFiles}}
	if o.before != "" {
		out = append(out, system{beforeName, store, laminaOnFiles(o.before)})
	}
	if o.zot != "" {
		out = append(out, system{zotSynced, store, zotOnFiles(o.zot, true)}, system{zotPlain, store, zotOnFiles(o.zot, false)})
	}
	return out
}

// sameBucket makes a start function that makes a bucket when it is first
// called, and uses that again.
func sameBucket(start func(ctx context.Context, dir string, minio *process, bucket string) (*process, error), m *process) func(context.Context, string) (*process, error) {
	bucket := ""
	return func(ctx context.Context, dir string) (*process, error) {
		if bucket == "" {
			name := fmt.Sprintf("rates%d", buckets.Add(1))
			if err := makeBucket(ctx, m, name); err != nil {
				return nil, err
			}
			bucket = name
		}
		return start(ctx, dir, m, bucket)
	}
}

func minioClient(m *process) (*minio.Core, error) {
	return minio.NewCore(m.addr, &minio.Options{Creds: credentials.NewStaticV4(accessKey, secretKey, ""), Region: "us-east-1"})
}

func makeBucket(ctx context.Context, m *process, name string) error {
	c, err := minioClient(m)
	if err != nil {
		return err
	}
	return c.MakeBucket(ctx, name, minio.MakeBucketOptions{})
}

// bare measures MinIO itself: what the link gives.
func (b *rateBench) bare(ctx context.Context, c cell, m *process) error {
	const bucket = "bare"
	if err := makeBucket(ctx, m, bucket); err != nil {
		return err
	}
	client, err := minioClient(m)
	if err != nil {
		return err
	}
	blobs := makeContents(b.pool, c.blobs, c.mb<<20)
	measure := func(steps []string, do func(context.Context, *content) error) error {
		began := time.Now()
		err := atOnce(ctx, c.clients, len(blobs), func(ctx context.Context, n int) error { return do(ctx, &blobs[n]) })
		took := time.Since(began).Seconds()
		if err != nil {
			return err
		}
		for _, step := range steps {
			b.results.add(c.key(step), bareName, float64(c.blobs*c.mb<<20)/1e6/took)
		}
		return nil
	}
	err = measure([]string{stepChunked, stepWhole}, func(ctx context.Context, x *content) error {
		// One slice, so that the library can seek in it.
		whole := io.NewSectionReader(bytes.NewReader(x.body), 0, int64(len(x.body)))
		_, err := client.PutObject(ctx, bucket, x.digest[7:], whole, int64(len(x.body)), "", "", minio.PutObjectOptions{DisableContentSha256: true})
		return err
	})
	if err != nil {
		return fmt.Errorf("MinIO itself: %w", err)
	}
	return measure([]string{stepPull, stepPullAgain}, func(ctx context.Context, x *content) error {
		r, _, _, err := client.GetObject(ctx, bucket, x.digest[7:], minio.GetObjectOptions{})
		if err != nil {
			return err
		}
		defer r.Close()
		return discard(r, int64(len(x.body)))
	})
}

func laminaOnBucket(binary string) func(context.Context, string, *process, string) (*process, error) {
	return func(ctx context.Context, dir string, m *process, bucket string) (*process, error) {
		return lamina(ctx, binary, dir, fmt.Sprintf("s3://%s?endpoint=http://%s&region=us-east-1", bucket, m.addr))
	}
}

// zot starts zot. What would make it do more than the others is off.
func zot(ctx context.Context, binary, dir string, storage map[string]any) (*process, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	host, port := splitAddr(addr)
	storage["gc"] = false
	raw, err := json.Marshal(map[string]any{
		"distSpecVersion": "1.1.1", "storage": storage,
		"http": map[string]any{"address": host, "port": port},
		"log":  map[string]any{"level": "error"},
	})
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "config.json")
	if err := os.WriteFile(config, raw, 0o644); err != nil {
		return nil, err
	}
	return spawn(ctx, dir, addr, "http://"+addr+"/v2/", nil, binary, "serve", config)
}

// zot's setting commit says whether it syncs what it writes to files before it
// says that it has it, as Lamina and distribution do. It does not by itself.
const (
	zotSynced = "zot, commit"
	zotPlain  = "zot"
)

func zotOnFiles(binary string, commit bool) func(context.Context, string) (*process, error) {
	return func(ctx context.Context, dir string) (*process, error) {
		return zot(ctx, binary, dir, map[string]any{"rootDirectory": filepath.Join(dir, "bucket"), "dedupe": false, "commit": commit})
	}
}

func zotOnBucket(binary string) func(context.Context, string, *process, string) (*process, error) {
	return func(ctx context.Context, dir string, m *process, bucket string) (*process, error) {
		return zot(ctx, binary, dir, map[string]any{
			"rootDirectory": filepath.Join(dir, "cache"), "dedupe": false, "remoteCache": false,
			"storageDriver": map[string]any{
				"name": "s3", "rootdirectory": "/zot", "region": "us-east-1", "regionendpoint": "http://" + m.addr,
				"forcepathstyle": true, "bucket": bucket, "secure": false, "skipverify": true,
				"accesskey": accessKey, "secretkey": secretKey,
			},
		})
	}
}
