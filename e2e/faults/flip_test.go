package faults

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"path"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/buckettest/servers"
	"github.com/laminastore/lamina/blobstore/bucket/open"
	"github.com/laminastore/lamina/client"
	"github.com/laminastore/lamina/reference"
)

// copies are the data objects that a blob's record names.
type copies struct{ Copies, Bad []string }

func copiesOf(t testing.TB, b bucket.Bucket, d digest.Digest) (c copies) {
	t.Helper()
	read(t, b, path.Join("blobs", d.Algorithm().String(), d.Encoded()[:2], d.Encoded()), &c)
	return c
}

// again has the server forget what it remembers.
func (p *process) again(t testing.TB) {
	t.Helper()
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	p.begin(t)
	if err := p.ready(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A bit that is flipped on the way from the bucket reaches nobody: the client
// reads again, and the copy stays. One that is flipped in the bucket has the copy
// quarantined, and the next push mends the image.
func TestBitsAreFlipped(t *testing.T) {
	t.Parallel()
	real := servers.MinIO(t)
	sp := servers.Spoiled(t, real)
	s := serve(t, sp.URL)
	b, err := open.Bucket(t.Context(), real)
	if err != nil {
		t.Fatal(err)
	}
	of := layersOf(40, 300_000, 9<<20)
	i := newImage("flipped", of...)
	c := dial(t, s.grpc)
	push := func() {
		t.Helper()
		if _, err := c.Push(t.Context(), i, "faults/flip", "1", client.CopyOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	pull := func() error {
		_, err := c.Pull(t.Context(), arrival{i}, "faults/flip", reference.Locator{Tag: "1"}, client.CopyOptions{})
		if _, wrong := errors.AsType[wrongBytes](err); wrong {
			t.Errorf("wrong bytes were delivered: %v", err)
		}
		return err
	}
	// flip flips a bit in the answers with this data, so often.
	flip := func(id string, times int64) {
		var left atomic.Int64
		left.Store(times)
		sp.Choose(func(r *http.Request) servers.Harm {
			if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, id) && left.Add(-1) >= 0 {
				return servers.Flip
			}
			return servers.NoHarm
		})
	}
	push()
	s.again(t)
	for _, l := range of {
		d := digest.FromBytes(l.data)
		id := copiesOf(t, b, d).Copies[0]
		flip(id, 1)
		if err := pull(); err != nil {
			t.Errorf("pull with a bit flipped on the way: %v", err)
		}
		flip(id, 1)
		if got, err := get(t, s.http, d); err == nil && !bytes.Equal(got, l.data) {
			t.Errorf("%s by HTTP has wrong bytes", d)
		}
	}
	s.again(t) // it ends what it does in the background
	for _, l := range of {
		d := digest.FromBytes(l.data)
		was := copiesOf(t, b, d)
		if len(was.Bad) > 0 || len(was.Copies) != 1 {
			t.Fatalf("a copy that is sound is quarantined: %+v", was)
		}
		flip(was.Copies[0], 1<<40)
		if err := pull(); err == nil {
			t.Error("what is damaged in the bucket can be pulled")
		}
		eventually(t, "the bad copy in quarantine", func() bool {
			now := copiesOf(t, b, d)
			return len(now.Copies) == 0 && len(now.Bad) == 1 && now.Bad[0] == was.Copies[0]
		})
		if said := s.current().said.String(); !strings.Contains(said, "a damaged copy of a blob is quarantined") || !strings.Contains(said, string(d)) {
			t.Errorf("nobody was told: %s", said)
		}
		push()
		if err := pull(); err != nil {
			t.Errorf("pull after it was pushed again: %v", err)
		}
	}
	if sp.Done(servers.Flip) < 3*len(of) {
		t.Errorf("only %d bits were flipped", sp.Done(servers.Flip))
	}
}

// get reads a blob by the registry API.
func get(t testing.TB, addr string, d digest.Digest) ([]byte, error) {
	t.Helper()
	resp, err := http.Get("http://" + addr + "/v2/faults/flip/blobs/" + string(d))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(resp.Status)
	}
	return io.ReadAll(resp.Body)
}
