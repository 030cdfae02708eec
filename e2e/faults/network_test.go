package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"net/url"
	"os"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/laminastore/lamina/blobstore/bucket/buckettest/servers"
)

// soak says whether there is time for the long form of a test.
var soak = os.Getenv("LAMINA_SOAK") == "1"

// A network is toxiproxy, between whoever dials Addr and a server.
type network struct {
	proxy *toxiproxy.Proxy
	Addr  string
}

// newNetwork opens a way to addr on which everything comes through for now. It
// ends with the test.
func newNetwork(t testing.TB, addr string) *network {
	t.Helper()
	zerolog.SetGlobalLevel(zerolog.Disabled)
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	n := &network{Addr: address(t)}
	n.proxy = toxiproxy.NewProxy(api, "network", n.Addr, addr)
	if err := n.proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.proxy.Stop)
	return n
}

// cut ends all connections and lets nobody connect.
func (n *network) cut() { n.proxy.Stop() }

// mend lets everything through again.
func (n *network) mend(t testing.TB) {
	t.Helper()
	n.proxy.Toxics.ResetToxics(context.Background())
	if err := n.proxy.Start(); err != nil && err != toxiproxy.ErrProxyAlreadyStarted {
		t.Fatal(err)
	}
}

// A toxic is something that toxiproxy does to what comes through.
type toxic struct {
	Type       string         `json:"type"`
	Stream     string         `json:"stream"` // upstream: to the server; downstream: from it
	Attributes map[string]any `json:"attributes"`
}

func (n *network) poison(t testing.TB, x toxic) {
	t.Helper()
	b, err := json.Marshal(x)
	if err == nil {
		_, err = n.proxy.Toxics.AddToxicJson(bytes.NewReader(b))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// through is a bucket's URL by the way of n.
func (n *network) through(t testing.TB, bucket string) string {
	t.Helper()
	u, err := url.Parse(bucket)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("endpoint", "http://"+n.Addr)
	u.RawQuery = q.Encode()
	return u.String()
}

func endpoint(t testing.TB, bucket string) string {
	t.Helper()
	u, err := url.Parse(bucket)
	if err != nil {
		t.Fatal(err)
	}
	e, err := url.Parse(u.Query().Get("endpoint"))
	if err != nil {
		t.Fatal(err)
	}
	return e.Host
}

// A fault is one way in which things break.
type fault struct {
	name       string
	begin, end func(t testing.TB)
}

// What a network can do, in both directions.
func (n *network) faults() []fault {
	faults := []fault{{"cut", func(testing.TB) { n.cut() }, n.mend}}
	add := func(name, kind string, attributes map[string]any) {
		for _, way := range []string{"upstream", "downstream"} {
			x := toxic{kind, way, attributes}
			faults = append(faults, fault{name + " " + way, func(t testing.TB) { n.poison(t, x) }, n.mend})
		}
	}
	// Nothing comes through, and nobody is told.
	add("half-open", "timeout", map[string]any{"timeout": 0})
	add("reset", "reset_peer", map[string]any{"timeout": 0})
	// Ends in the middle of what is sent, a body mostly.
	add("cut in mid-body", "limit_data", map[string]any{"bytes": 200_000})
	add("slow", "bandwidth", map[string]any{"rate": 300}) // KB/s
	if soak {
		add("reset later", "reset_peer", map[string]any{"timeout": 30})
		add("late", "latency", map[string]any{"latency": 100, "jitter": 100})
		add("in small pieces", "slicer", map[string]any{"average_size": 500, "size_variation": 400, "delay": 10})
	}
	return faults
}

// While clients push and pull, the network between the server and its bucket
// breaks in every way. Nobody who pushes or pulls is told: it takes longer.
func TestTheNetworkToTheBucketBreaks(t *testing.T) {
	t.Parallel()
	bucket := servers.MinIO(t)
	n := newNetwork(t, endpoint(t, bucket))
	weather(t, serve(t, n.through(t, bucket)), n.faults())
}

// weather has clients push and pull at s while one fault after the other begins
// and ends.
func weather(t *testing.T, s *process, faults []fault) {
	l := newLedger(2, 2, layersOf(1, 700, 90_000, 300_000, 9<<20))
	first := dial(t, s.grpc)
	for _, g := range l.tags {
		if err := l.push(t.Context(), first, g, l.image()); err != nil {
			t.Fatal(err)
		}
	}
	w := l.start(t, true, 2, s.grpc)
	// How long each fault stays. Most show at once; nothing depends on it.
	stays, rounds := 200*time.Millisecond, 1
	if soak {
		stays, rounds = 5*time.Second, 20
	}
	for range rounds {
		for _, f := range faults {
			t.Logf("%s, after %v", f.name, l)
			f.begin(t)
			select {
			case <-time.After(stays):
			case <-t.Context().Done():
			}
			f.end(t)
			w.goesOn(t, 3)
		}
	}
	w.end()
	t.Log(l)
	l.check(t, dial(t, s.grpc))
}
