package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// A rateClient speaks to a registry with as little work of its own as can be:
// it shares the processors with what is measured.
type rateClient struct {
	http *http.Client
	addr string
}

const rateRepo = "bench/rates"

func newRateClient(addr string) *rateClient {
	return &rateClient{addr: addr, http: &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 64, DisableCompression: true,
		WriteBufferSize: 256 << 10, ReadBufferSize: 64 << 10,
	}}}
}

func (c *rateClient) close() { c.http.CloseIdleConnections() }

// A content is what one blob has: a head that nothing else has, and a part of
// what all share.
type content struct {
	head   [32]byte
	body   []byte
	digest string
}

var contents atomic.Uint64

// makeContents makes n blobs of size bytes, none of which was made before. pool
// is random and longer than size; every blob begins somewhere else in it, so
// that no two have the same piece at the same place.
func makeContents(pool []byte, n int, size int) []content {
	out := make([]content, n)
	for i := range out {
		c := &out[i]
		binary.BigEndian.PutUint64(c.head[:], contents.Add(1))
		binary.BigEndian.PutUint64(c.head[8:], uint64(time.Now().UnixNano()))
		at := rand.IntN(len(pool) - size)
		c.body = pool[at : at+size-len(c.head)]
		h := sha256.New()
		h.Write(c.head[:])
		h.Write(c.body)
		c.digest = fmt.Sprintf("sha256:%x", h.Sum(nil))
	}
	return out
}

func (c *content) size() int64 { return int64(len(c.head) + len(c.body)) }

func (c *content) reader() io.Reader {
	return io.MultiReader(bytes.NewReader(c.head[:]), bytes.NewReader(c.body))
}

// do sends a request and wants the status; the answer's body is thrown away.
func (c *rateClient) do(ctx context.Context, method, url string, body io.Reader, size int64, want int, header ...string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = size
	if size == 0 {
		req.Body = nil
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != want {
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 2000))
		return nil, fmt.Errorf("%s %s: %s, not %d: %s", method, url, resp.Status, want, said)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp, err
}

// start begins an upload and returns where it goes on.
func (c *rateClient) start(ctx context.Context) (string, error) {
	resp, err := c.do(ctx, http.MethodPost, "http://"+c.addr+"/v2/"+rateRepo+"/blobs/uploads/", nil, 0, http.StatusAccepted)
	return location(resp, err)
}

func location(resp *http.Response, err error) (string, error) {
	if err != nil {
		return "", err
	}
	u, err := resp.Location()
	if err != nil {
		return "", err
	}
	return u.String(), nil
}

func withDigest(url, digest string) string {
	sep := "?"
	if bytes.ContainsRune([]byte(url), '?') {
		sep = "&"
	}
	return url + sep + "digest=" + digest
}

// pushChunked pushes as docker, skopeo and crane do: POST, one PATCH of unknown
// length, PUT.
func (c *rateClient) pushChunked(ctx context.Context, b *content) error {
	to, err := c.start(ctx)
	if err != nil {
		return err
	}
	to, err = location(c.do(ctx, http.MethodPatch, to, b.reader(), -1, http.StatusAccepted, "Content-Type", "application/octet-stream"))
	if err != nil {
		return err
	}
	_, err = c.do(ctx, http.MethodPut, withDigest(to, b.digest), nil, 0, http.StatusCreated)
	return err
}

// pushWhole pushes with POST and one PUT that has all bytes, as containerd and
// oras do.
func (c *rateClient) pushWhole(ctx context.Context, b *content) error {
	to, err := c.start(ctx)
	if err != nil {
		return err
	}
	_, err = c.do(ctx, http.MethodPut, withDigest(to, b.digest), b.reader(), b.size(), http.StatusCreated, "Content-Type", "application/octet-stream")
	return err
}

func (c *rateClient) pull(ctx context.Context, b *content) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.addr+"/v2/"+rateRepo+"/blobs/"+b.digest, nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return discard(resp.Body, b.size())
}

// discard reads all of r, which must have size bytes.
func discard(r io.Reader, size int64) error {
	buf := make([]byte, 256<<10)
	var n int64
	for {
		k, err := r.Read(buf)
		n += int64(k)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if n != size {
		return fmt.Errorf("%d bytes came, not %d", n, size)
	}
	return nil
}

// pushManifest pushes an image of one small layer with the tag "1".
func (c *rateClient) pushManifest(ctx context.Context, pool []byte) error {
	blobs := makeContents(pool, 2, 1<<10)
	for i := range blobs {
		if err := c.pushWhole(ctx, &blobs[i]); err != nil {
			return err
		}
	}
	type descriptor struct {
		MediaType string `json:"mediaType"`
		Digest    string `json:"digest"`
		Size      int64  `json:"size"`
	}
	const oci = "application/vnd.oci.image."
	raw, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": oci + "manifest.v1+json",
		"config": descriptor{"application/vnd.lamina.bench.v1", blobs[0].digest, blobs[0].size()},
		"layers": []descriptor{{oci + "layer.v1.tar", blobs[1].digest, blobs[1].size()}},
	})
	if err != nil {
		return err
	}
	_, err = c.do(ctx, http.MethodPut, "http://"+c.addr+"/v2/"+rateRepo+"/manifests/1", bytes.NewReader(raw), int64(len(raw)),
		http.StatusCreated, "Content-Type", oci+"manifest.v1+json")
	return err
}

// manifestRate gets the manifest by its tag with so many clients at once, and
// returns how many it got in a second.
func (c *rateClient) manifestRate(ctx context.Context, clients int, during time.Duration) (float64, error) {
	var got atomic.Int64
	began := time.Now()
	err := atOnce(ctx, clients, clients, func(ctx context.Context, _ int) error {
		for time.Since(began) < during {
			_, err := c.do(ctx, http.MethodGet, "http://"+c.addr+"/v2/"+rateRepo+"/manifests/1", nil, 0, http.StatusOK,
				"Accept", "application/vnd.oci.image.manifest.v1+json")
			if err != nil {
				return err
			}
			got.Add(1)
		}
		return nil
	})
	return float64(got.Load()) / time.Since(began).Seconds(), err
}

// atOnce calls f for 0 to n-1, so many at once.
func atOnce(ctx context.Context, clients, n int, f func(context.Context, int) error) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(clients)
	for i := range n {
		g.Go(func() error { return f(gctx, i) })
	}
	return errors.Join(g.Wait(), ctx.Err())
}
