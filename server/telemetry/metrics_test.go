package telemetry_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/laminastore/lamina/blobstore/bucket/count"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/server/servertest"
	"github.com/laminastore/lamina/server/telemetry"
)

// values are the series of a Telemetry, as "name{label,…}": the values of
// counters and gauges, and how much histograms have observed.
func values(t *testing.T, from *telemetry.Telemetry, prefix string) map[string]float64 {
	t.Helper()
	families, err := from.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		name, ok := strings.CutPrefix(f.GetName(), prefix)
		if !ok {
			continue
		}
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, l.GetValue())
			}
			out[name+"{"+strings.Join(labels, ",")+"}"] = value(m)
		}
	}
	return out
}

func value(m *dto.Metric) float64 {
	switch {
	case m.Counter != nil:
		return m.Counter.GetValue()
	case m.Gauge != nil:
		return m.Gauge.GetValue()
	}
	return float64(m.Histogram.GetSampleCount())
}

// same compares series, those that are zero left out.
func same(t *testing.T, got, want map[string]float64) {
	t.Helper()
	maps.DeleteFunc(got, func(_ string, v float64) bool { return v == 0 })
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if want[k] != got[k] {
			t.Errorf("%s is %v, want %v", k, got[k], want[k])
		}
	}
	for k, v := range want {
		if _, ok := got[k]; !ok {
			t.Errorf("%s is not there, want %v", k, v)
		}
	}
}

func ask(t *testing.T, method, url, body string, headers ...string) (int, http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		r.Header.Set(k, v)
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	if _, err := io.Copy(io.Discard, a.Body); err != nil {
		t.Fatal(err)
	}
	return a.StatusCode, a.Header
}

func expect(t *testing.T, want int, method, url, body string, headers ...string) http.Header {
	t.Helper()
	got, h := ask(t, method, url, body, headers...)
	if got != want {
		t.Errorf("%s %s: %d, want %d", method, url, got, want)
	}
	return h
}

func TestRequestsOverHTTPAreCounted(t *testing.T) {
	s := servertest.Start(t, servertest.Options{})
	url := "http://" + s.HTTP
	d := digest.FromString("hello")
	at := expect(t, 202, "POST", url+"/v2/a/blobs/uploads/", "").Get("Location")
	expect(t, 201, "PUT", url+at+"&digest="+string(d), "hello")
	for range 3 {
		expect(t, 200, "GET", url+"/v2/a/blobs/"+string(d), "")
	}
	expect(t, 200, "HEAD", url+"/v2/a/blobs/"+string(d), "")
	expect(t, 206, "GET", url+"/v2/a/blobs/"+string(d), "", "Range: bytes=1-2")
	expect(t, 404, "GET", url+"/v2/a/blobs/"+string(digest.FromString("x")), "")
	expect(t, 400, "PUT", url+"/v2/a/manifests/latest", "{}")
	// Names of a client's choosing make no series.
	expect(t, 404, "GET", url+"/nowhere", "")
	expect(t, 404, "BREW", url+"/coffee", "")
	s.Stop(t)

	sent := values(t, s.Telemetry, "lamina_http_sent_bytes_total")
	if n := sent["{blob-pull}"]; n <= 3*5+2 || n > 1000 { // an error has some bytes, too
		t.Errorf("%v bytes sent of blobs", n)
	}
	got := values(t, s.Telemetry, "lamina_http_")
	maps.DeleteFunc(got, func(k string, _ float64) bool { return strings.HasPrefix(k, "sent_bytes") })
	same(t, got, map[string]float64{
		"requests_total{POST,upload-start,202}": 1,
		"requests_total{PUT,upload-finish,201}": 1,
		"requests_total{GET,blob-pull,200}":     3,
		"requests_total{GET,blob-pull,206}":     1,
		"requests_total{GET,blob-pull,404}":     1,
		"requests_total{HEAD,blob-pull,200}":    1,
		"requests_total{PUT,manifest-push,400}": 1,
		"requests_total{GET,none,404}":          1,
		"requests_total{other,none,404}":        1,

		"errors_total{BLOB_UNKNOWN,blob-pull}":         1,
		"errors_total{MANIFEST_INVALID,manifest-push}": 1,
		"errors_total{UNSUPPORTED,none}":               2,

		"received_bytes_total{upload-finish}": 5,
		"received_bytes_total{manifest-push}": 2,

		"request_duration_seconds{upload-start}":  1,
		"request_duration_seconds{upload-finish}": 1,
		"request_duration_seconds{blob-pull}":     6,
		"request_duration_seconds{manifest-push}": 1,
		"request_duration_seconds{none}":          2,
	})
}

func TestRPCsAreCounted(t *testing.T) {
	s := servertest.Start(t, servertest.Options{})
	blobs := pb.NewBlobsClient(s.Conn)
	write := &pb.BlobsWriteRequest{Repository: "a", Digest: string(digest.FromString("hello")), Data: []byte("hello"), Finish: true}
	w, err := blobs.Write(t.Context())
	if err == nil {
		err = w.Send(write)
	}
	if err != nil {
		t.Fatal(err)
	}
	var answered int
	for {
		m, err := w.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		answered += proto.Size(m)
		_ = w.CloseSend()
	}
	known := &pb.BlobsStatRequest{Repository: "a", Digest: write.Digest}
	unknown := &pb.BlobsStatRequest{Repository: "b", Digest: write.Digest}
	st, err := blobs.Stat(t.Context(), known)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := blobs.Stat(t.Context(), unknown); status.Code(err) != codes.NotFound {
			t.Error(err)
		}
	}
	// Names of a client's choosing make no series.
	for i := range 3 {
		err := s.Conn.Invoke(t.Context(), fmt.Sprintf("/made.up.S%d/M", i), &emptypb.Empty{}, &emptypb.Empty{}, grpc.WaitForReady(true))
		if status.Code(err) != codes.Unimplemented {
			t.Error(err)
		}
	}
	s.Stop(t)
	same(t, values(t, s.Telemetry, "lamina_rpc_"), map[string]float64{
		"requests_total{OK,lamina.v1.Blobs/Write}":      1,
		"requests_total{OK,lamina.v1.Blobs/Stat}":       1,
		"requests_total{NotFound,lamina.v1.Blobs/Stat}": 2,

		"received_bytes_total{lamina.v1.Blobs/Write}": float64(proto.Size(write)),
		"received_bytes_total{lamina.v1.Blobs/Stat}":  float64(proto.Size(known) + 2*proto.Size(unknown)),
		"sent_bytes_total{lamina.v1.Blobs/Write}":     float64(answered),
		"sent_bytes_total{lamina.v1.Blobs/Stat}":      float64(proto.Size(st)),

		"duration_seconds{lamina.v1.Blobs/Write}": 1,
		"duration_seconds{lamina.v1.Blobs/Stat}":  3,
	})
}

func TestOpenUploadsAreCounted(t *testing.T) {
	s := servertest.Start(t, servertest.Options{})
	url := "http://" + s.HTTP
	var at []string
	open := func(want float64) {
		t.Helper()
		v := values(t, s.Telemetry, "lamina_")
		if v["uploads_open{}"] != want || v["part_buffers{}"] == 0 || v["part_buffers_in_use{}"] != 0 {
			t.Errorf("%v uploads open, want %v; %v of %v part buffers in use", v["uploads_open{}"], want, v["part_buffers_in_use{}"], v["part_buffers{}"])
		}
	}
	open(0)
	for range 3 {
		at = append(at, expect(t, 202, "POST", url+"/v2/a/blobs/uploads/", "").Get("Location"))
	}
	open(3)
	expect(t, 204, "DELETE", url+at[0], "")
	open(2)
	expect(t, 201, "PUT", url+at[1]+"&digest="+string(digest.FromString("hello")), "hello")
	open(1)
	if code, _ := ask(t, "GET", "http://"+s.Metrics+"/metrics", ""); code != 200 {
		t.Error(code)
	}
}

func TestEveryBucketCallIsCounted(t *testing.T) {
	counted := count.New(memory.New(memory.Options{}))
	measured := telemetry.New(telemetry.Options{})
	s := servertest.Start(t, servertest.Options{Bucket: measured.Bucket(counted.Whole())})
	url := "http://" + s.HTTP
	large := strings.Repeat("0123456789abcdef", 8<<10) // too large for a record
	d := digest.FromString(large)
	at := expect(t, 202, "POST", url+"/v2/a/blobs/uploads/", "").Get("Location")
	expect(t, 201, "PUT", url+at+"&digest="+string(d), large)
	expect(t, 200, "GET", url+"/v2/a/blobs/"+string(d), "")
	expect(t, 200, "GET", url+"/v2/_catalog", "")
	expect(t, 200, "GET", "http://"+s.Metrics+"/readyz", "")
	s.Stop(t)

	calls := map[string]float64{}
	var took float64
	for k, v := range values(t, measured, "lamina_bucket_") {
		if k, ok := strings.CutPrefix(k, "calls_total{"); ok {
			kind, _, _ := strings.Cut(k, ",")
			calls[kind] += v
		} else if strings.HasPrefix(k, "call_duration_seconds") {
			took += v
		} else if strings.HasPrefix(k, "calls_in_flight") && v != 0 {
			t.Errorf("%s is %v", k, v)
		}
	}
	c := counted.Snapshot()
	same(t, calls, nonzero(map[string]float64{
		"get": float64(c.Get), "stat": float64(c.Stat), "put": float64(c.Put), "list": float64(c.List),
		"delete": float64(c.Delete), "create": float64(c.Create), "part": float64(c.Part),
		"complete": float64(c.Complete), "abort": float64(c.AbortMPU), "clock": float64(c.Clock),
	}))
	if took != float64(c.Total()) {
		t.Errorf("%v calls have a time, of %v", took, c)
	}
	moved := values(t, measured, "lamina_bucket_")
	if n := moved["written_bytes_total{}"]; n <= float64(len(large)) {
		t.Errorf("%v bytes written", n)
	}
	if n := moved["read_bytes_total{}"]; n < float64(len(large)) {
		t.Errorf("%v bytes read", n)
	}
}

func nonzero(m map[string]float64) map[string]float64 {
	maps.DeleteFunc(m, func(_ string, v float64) bool { return v == 0 })
	return m
}

func TestOutcomesOfBucketCalls(t *testing.T) {
	measured := telemetry.New(telemetry.Options{})
	b := measured.Bucket(memory.New(memory.Options{}))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, _ = b.Stat(t.Context(), "a")
	_, _ = b.Stat(t.Context(), "..")
	_, _ = b.Stat(ended, "a")
	_, _ = b.PutPart(t.Context(), "a", "none", 1, strings.NewReader("x"), 1)
	same(t, values(t, measured, "lamina_bucket_calls_total"), map[string]float64{
		"{stat,not_exist}": 1, "{stat,error}": 1, "{stat,canceled}": 1, "{part,no_upload}": 1,
	})
}
