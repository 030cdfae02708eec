package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket/open"
)

// measureS3 measures on a MinIO of its own, whose files are in dir.
func measureS3(ctx context.Context, dir string, s shape) (err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		return err
	}
	const key = "benchbench"
	cmd := exec.Command("minio", "server", filepath.Join(dir, "minio"), "--address", addr)
	cmd.Env = append(os.Environ(), "MINIO_ROOT_USER="+key, "MINIO_ROOT_PASSWORD="+key, "MINIO_BROWSER=off")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start minio: %w (scripts/setup.sh bench installs it)", err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		if err := os.Setenv(name, key); err != nil {
			return err
		}
	}
	if err := answers(ctx, "http://"+addr+"/minio/health/live"); err != nil {
		return err
	}
	url := "s3://collection?endpoint=http://" + addr + "&region=us-east-1&create=true"
	return measure(ctx, "MinIO", url, dir, s, func() (target, error) {
		b, err := open.Bucket(ctx, url)
		return target{b, 32}, err
	})
}

// answers waits until the URL does.
func answers(ctx context.Context, url string) error {
	for range 300 {
		if resp, err := http.Get(url); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return errors.New("minio did not answer within 30 s")
}
