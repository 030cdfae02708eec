package rpc_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/blobstore/storetest"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/server"
	"github.com/laminastore/lamina/server/servertest"
)

// upkeepWorld is a server whose clock a test turns.
type upkeepWorld struct {
	*servertest.Server
	t      *testing.T
	clock  *storetest.Clock
	bucket *memory.Bucket
	client pb.MaintenanceClient
}

func startUpkeep(t *testing.T) *upkeepWorld {
	w := &upkeepWorld{t: t, clock: storetest.NewClock()}
	w.bucket = storetest.NewBucket(w.clock)
	w.Server = servertest.Start(t, servertest.Options{Bucket: w.bucket, Config: server.Config{Store: blobstore.Options{Clock: w.clock}}})
	w.client = pb.NewMaintenanceClient(w.Conn)
	return w
}

// A collected is all that came of a cycle.
type collected struct {
	phases   []string
	findings []*pb.CollectionFinding
	report   *pb.CollectionReport
	err      error
}

func (w *upkeepWorld) collect(in *pb.MaintenanceCollectRequest) (c collected) {
	w.t.Helper()
	stream, err := w.client.Collect(w.t.Context(), in)
	if err != nil {
		w.t.Fatal(err)
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				c.err = err
			}
			return c
		}
		if c.report != nil {
			w.t.Error("something came after the report")
		}
		if p := m.GetProgress(); p != nil && (len(c.phases) == 0 || c.phases[len(c.phases)-1] != p.Phase) {
			c.phases = append(c.phases, p.Phase)
		}
		c.findings = append(c.findings, m.GetFindings().GetFindings()...)
		c.report = m.GetReport()
	}
}

// finding is the only one of that kind and step.
func (c *collected) finding(t *testing.T, kind, subject string) *pb.CollectionFinding {
	t.Helper()
	for _, f := range c.findings {
		if f.Kind == kind && f.Subject == subject {
			return f
		}
	}
	t.Fatalf("no finding of %s %s in %v", kind, subject, c.findings)
	return nil
}

func TestABlobThatNothingNamesGoesStepByStep(t *testing.T) {
	w := startUpkeep(t)
	data := randomBytes(1, 300_000)
	d := pushTo(t, w.Conn).put(data)
	if out, err := w.client.LastCollection(t.Context(), &pb.MaintenanceLastCollectionRequest{}); err != nil || out.Report != nil {
		t.Errorf("before the first: %v %v", out, err)
	}
	if c := w.collect(&pb.MaintenanceCollectRequest{Findings: true}); c.err != nil || len(c.findings) != 0 || c.report.WaitingBytes != 300_000 {
		t.Errorf("while it is promised: %+v", c)
	}
	all := &pb.MaintenanceCollectRequest{Findings: true, Full: true}
	w.clock.Turn(73 * time.Hour)

	dry := w.collect(&pb.MaintenanceCollectRequest{Findings: true, DryRun: true})
	if f := dry.finding(t, "blob", d); f.Step != "condemn" || f.Bytes != 300_000 || f.NextAt == nil || f.Why == "" {
		t.Errorf("%v", f)
	}
	if !dry.report.DryRun || dry.report.Condemned != 1 || dry.report.FreedBytes != 0 || len(dry.phases) < 5 {
		t.Errorf("%v: %v", dry.phases, dry.report)
	}
	if out, err := w.client.LastCollection(t.Context(), &pb.MaintenanceLastCollectionRequest{}); err != nil || out.Report.Condemned != 0 {
		t.Errorf("a dry run was kept: %v %v", out, err)
	}
	for _, step := range []string{"condemn", "collect", "free"} {
		c := w.collect(all)
		if f := c.finding(t, "blob", d); c.err != nil || f.Step != step {
			t.Fatalf("%v, want %s: %v", f, step, c.err)
		}
		if !c.report.Full || c.report.EndedAt == nil || (c.report.FreedBytes > 0) != (step == "free") {
			t.Errorf("%s: %v", step, c.report)
		}
		w.clock.Turn(25 * time.Hour)
	}
	out, err := w.client.LastCollection(t.Context(), &pb.MaintenanceLastCollectionRequest{})
	if err != nil || out.Report.FreedBytes != 300_000 || out.Report.FreedObjects != 1 {
		t.Errorf("the last: %v %v", out, err)
	}
	if quiet := w.collect(&pb.MaintenanceCollectRequest{}); quiet.err != nil || quiet.findings != nil {
		t.Errorf("%+v", quiet)
	}
	_, err = pushTo(t, w.Conn).read(&pb.BlobsReadRequest{Digest: d})
	refused(t, err, codes.NotFound, "BLOB_UNKNOWN")
}

// More findings than one message takes arrive all.
func TestAllFindingsArrive(t *testing.T) {
	w := startUpkeep(t)
	p := pushTo(t, w.Conn)
	for n := range 1100 {
		p.put(randomBytes(uint64(n), 10))
	}
	w.clock.Turn(73 * time.Hour)
	c := w.collect(&pb.MaintenanceCollectRequest{Findings: true, DryRun: true})
	seen := map[string]bool{}
	for _, f := range c.findings {
		seen[f.Subject] = true
	}
	if len(seen) != 1100 || c.report.Condemned != 1100 {
		t.Errorf("%d found, %v", len(seen), c.report)
	}
}

// What keeps a cycle from its end is told with what to do, and what was done until
// then too.
func TestAManifestThatCannotBeRead(t *testing.T) {
	w := startUpkeep(t)
	i := storetest.Build{Tars: [][]byte{storetest.Tar(1000, "a")}}.Image()
	p := pushTo(t, w.Conn)
	for _, b := range i.Blobs {
		p.put(b)
	}
	images := pb.NewImagesClient(w.Conn)
	if _, err := images.Put(t.Context(), &pb.ImagesPutRequest{Repository: "demo/app", Manifest: i.Manifest, MediaType: manifestType, Tags: []string{"1"}}); err != nil {
		t.Fatal(err)
	}
	spoil(t, w.bucket, blobstore.BlobKey(i.Digest))
	c := w.collect(&pb.MaintenanceCollectRequest{})
	refused(t, c.err, codes.DataLoss, "DATA_CORRUPT")
	if text := c.err.Error(); !strings.Contains(text, "demo/app") || !strings.Contains(text, string(i.Digest)) {
		t.Errorf("it does not say which: %s", text)
	}
	if c.report == nil || c.report.Error == "" || c.report.Condemned != 0 {
		t.Errorf("%v", c.report)
	}
	out, err := w.client.LastCollection(t.Context(), &pb.MaintenanceLastCollectionRequest{})
	if err != nil || out.Report.Error == "" {
		t.Errorf("the last: %v %v", out, err)
	}
}

const manifestType = "application/vnd.oci.image.manifest.v1+json"

// spoil makes what is stored inside a record other bytes of the same size.
func spoil(t *testing.T, b bucket.Bucket, key string) {
	t.Helper()
	r, info, err := b.Get(t.Context(), key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		t.Fatal(err)
	}
	inline, _ := fields["inline"].(string)
	if inline == "" {
		t.Fatalf("%s: %s", key, raw)
	}
	fields["inline"] = "AAAA" + inline[4:]
	if raw, err = json.Marshal(fields); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Put(t.Context(), key, strings.NewReader(string(raw)), int64(len(raw)), bucket.Condition{IfMatch: info.ETag}); err != nil {
		t.Fatal(err)
	}
}

// heldBucket stops whoever lists it, until their context ends.
type heldBucket struct {
	*memory.Bucket
	once    sync.Once
	entered chan struct{}
	left    chan struct{}
	held    func(prefix string) bool
}

func holdLists(prefixes ...string) *heldBucket {
	return &heldBucket{
		Bucket: memory.New(memory.Options{}), entered: make(chan struct{}), left: make(chan struct{}, 100),
		held: func(prefix string) bool {
			for _, p := range prefixes {
				if strings.HasPrefix(prefix, p) {
					return true
				}
			}
			return false
		},
	}
}

func (b *heldBucket) List(ctx context.Context, prefix, after string) iter.Seq2[bucket.Info, error] {
	if !b.held(prefix) {
		return b.Bucket.List(ctx, prefix, after)
	}
	return func(yield func(bucket.Info, error) bool) {
		b.once.Do(func() { close(b.entered) })
		<-ctx.Done()
		b.left <- struct{}{}
		yield(bucket.Info{}, ctx.Err())
	}
}

// run starts one of the two runs, and returns when it works. end waits for its end.
func (b *heldBucket) run(t *testing.T, ctx context.Context, s *servertest.Server, method string) (end func() error) {
	t.Helper()
	c := pb.NewMaintenanceClient(s.Conn)
	var recv func() error
	switch method {
	case "Collect":
		stream, err := c.Collect(ctx, &pb.MaintenanceCollectRequest{})
		if err != nil {
			t.Fatal(err)
		}
		recv = func() error { return errOf(stream.Recv()) }
	case "Verify":
		stream, err := c.Verify(ctx, &pb.MaintenanceVerifyRequest{})
		if err != nil {
			t.Fatal(err)
		}
		recv = func() error { return errOf(stream.Recv()) }
	}
	return func() error {
		for {
			if err := recv(); err != nil {
				return err
			}
		}
	}
}

func errOf[T any](_ T, err error) error { return err }

func onBothRuns(t *testing.T, f func(t *testing.T, method string)) {
	for _, method := range []string{"Collect", "Verify"} {
		t.Run(method, func(t *testing.T) { f(t, method) })
	}
}

func TestOneRunAtATime(t *testing.T) {
	onBothRuns(t, func(t *testing.T, method string) {
		b := holdLists("repos", "catalog")
		s := start(t, b)
		ctx, cancel := context.WithCancel(t.Context())
		first := b.run(t, ctx, s, method)
		<-b.entered
		err := b.run(t, t.Context(), s, method)()
		info := refused(t, err, codes.Aborted, "MAINTENANCE_BUSY")
		if info.Metadata["subject"] == "" {
			t.Errorf("%v", info)
		}
		// The client goes: the run ends, and lets another in.
		cancel()
		if err := first(); status.Code(err) != codes.Canceled {
			t.Errorf("%v", err)
		}
		<-b.left
		for {
			b.once, b.entered = sync.Once{}, make(chan struct{})
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			next := b.run(t, ctx, s, method)
			go func() { ended <- next() }()
			select {
			case <-b.entered: // it was let in
				cancel()
				<-ended
				return
			case err := <-ended: // the first has yet to clear away
				refused(t, err, codes.Aborted, "MAINTENANCE_BUSY")
			}
			cancel()
		}
	})
}

// A server that stops does not wait for a run that may take hours.
func TestAServerThatStopsEndsRuns(t *testing.T) {
	onBothRuns(t, func(t *testing.T, method string) {
		b := holdLists("repos", "catalog")
		s := servertest.Start(t, servertest.Options{Bucket: b, Config: server.Config{StopWithin: time.Hour}})
		end := b.run(t, t.Context(), s, method)
		<-b.entered
		ended := make(chan error, 1)
		go func() { ended <- end() }()
		s.Stop(t)
		refused(t, <-ended, codes.Unavailable, "SERVER_STOPS")
	})
}

func TestVerifySaysWhatIsBad(t *testing.T) {
	w := startUpkeep(t)
	verify := func(in *pb.MaintenanceVerifyRequest) (found []*pb.VerificationFinding, report *pb.VerificationReport, phases int, err error) {
		stream, err := w.client.Verify(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		for {
			m, err := stream.Recv()
			switch {
			case errors.Is(err, io.EOF):
				return found, report, phases, nil
			case err != nil:
				return found, report, phases, err
			case m.GetFinding() != nil:
				found = append(found, m.GetFinding())
			case m.GetReport() != nil:
				report = m.GetReport()
			default:
				phases++
			}
		}
	}
	if out, err := w.client.LastVerification(t.Context(), &pb.MaintenanceLastVerificationRequest{}); err != nil || out.Report != nil {
		t.Errorf("before the first: %v %v", out, err)
	}
	i := storetest.Build{Tars: [][]byte{storetest.Tar(200_000, "a")}}.Image()
	p := pushTo(t, w.Conn)
	for _, b := range i.Blobs {
		p.put(b)
	}
	if _, err := pb.NewImagesClient(w.Conn).Put(t.Context(), &pb.ImagesPutRequest{Repository: "demo/app", Manifest: i.Manifest, MediaType: manifestType, Tags: []string{"1"}}); err != nil {
		t.Fatal(err)
	}
	found, report, phases, err := verify(&pb.MaintenanceVerifyRequest{})
	if err != nil || found != nil || report.Bad != 0 || report.Bytes < 200_000 || report.Manifests != 1 || report.EndedAt == nil || phases == 0 {
		t.Errorf("%v %v %v", found, report, err)
	}
	spoil(t, w.bucket, blobstore.BlobKey(digest.Digest(i.Config)))
	found, report, _, err = verify(&pb.MaintenanceVerifyRequest{Repositories: []string{"demo/*"}, Restart: true})
	if err != nil || len(found) != 1 || report.Bad != 1 {
		t.Fatalf("%v %v %v", found, report, err)
	}
	if f := found[0]; f.Kind != "unreadable" || f.Subject != string(i.Config) || f.ImagesTotal != 1 ||
		f.Images[0].Repository != "demo/app" || f.Images[0].Tags[0] != "1" || f.Problem == "" || f.Remedy == "" {
		t.Errorf("%v", f)
	}
	out, err := w.client.LastVerification(t.Context(), &pb.MaintenanceLastVerificationRequest{})
	if err != nil || out.Report.Bad != 1 || len(out.Report.Findings) != 1 {
		t.Errorf("the last: %v %v", out, err)
	}
	for _, in := range []*pb.MaintenanceVerifyRequest{
		{Sample: 2}, {Sample: -1}, {BytesPerSecond: -1}, {Repositories: []string{"UPPER"}}, {Repositories: make([]string, 101)},
	} {
		_, _, _, err := verify(in)
		refused(t, err, codes.InvalidArgument, "ARGUMENT_INVALID")
	}
}
