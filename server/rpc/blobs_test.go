package rpc_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"google.golang.org/grpc/codes"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/server"
	"github.com/laminastore/lamina/server/servertest"
)

const absent = "sha256:1111111111111111111111111111111111111111111111111111111111111111"

func TestWriteReadStat(t *testing.T) {
	onBuckets(t, func(t *testing.T, b bucket.Bucket) {
		p := pushTo(t, start(t, b).Conn)
		for i, size := range []int{0, 1, 64 << 10, 64<<10 + 1, 1 << 20, 1<<20 + 1, 8 << 20, 20<<20 + 7} {
			data := randomBytes(uint64(i), size)
			d := p.put(data)
			got, err := p.read(&pb.BlobsReadRequest{Digest: d})
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes: read %d, %v", size, len(got), err)
			}
			st, err := p.client.Stat(t.Context(), &pb.BlobsStatRequest{Repository: p.repo, Digest: d})
			if err != nil || st.Blob.Size != int64(size) || st.Blob.Digest != d {
				t.Errorf("%d bytes: stat %v, %v", size, st, err)
			}
			if left := time.Until(st.GetPromisedUntil().AsTime()); left < 53*time.Hour {
				t.Errorf("promised for %v, less than three quarters of the grace", left)
			}
		}
	})
}

func TestSHA512(t *testing.T) {
	p := pushTo(t, start(t, nil).Conn)
	data := randomBytes(1, 10<<20)
	d := digest.SHA512.FromBytes(data).String()
	for name, first := range map[string]*pb.BlobsWriteRequest{"known": {Digest: d}, "known at the end": {}} {
		stream, answer, err := p.open(first)
		if err != nil {
			t.Fatal(err)
		}
		if answer.Blob != nil {
			continue // the other order of the map
		}
		if err := send(stream, 0, data, &pb.BlobsWriteRequest{Digest: d}); err != nil {
			t.Fatal(err)
		}
		if last, err := stream.Recv(); err != nil || last.Blob.GetDigest() != d {
			t.Errorf("%s: %v %v", name, last, err)
		}
	}
	if got, err := p.read(&pb.BlobsReadRequest{Digest: d}); err != nil || !bytes.Equal(got, data) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
}

func TestSmallBlobInOneMessage(t *testing.T) {
	p := pushTo(t, start(t, nil).Conn)
	data := randomBytes(1, 300<<10)
	d := digest.FromBytes(data).String()
	stream, answer, err := p.open(&pb.BlobsWriteRequest{Digest: d, Size: int64(len(data)), Data: data, Finish: true})
	if err != nil || answer.Blob.GetDigest() != d {
		t.Fatalf("%v %v", answer, err)
	}
	if m, err := stream.Recv(); err == nil {
		t.Errorf("another answer: %v", m)
	}
	if got, err := p.read(&pb.BlobsReadRequest{Digest: d}); err != nil || !bytes.Equal(got, data) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
}

// What a repository has is not sent again; what only another one has is, since
// knowing a digest opens nothing.
func TestWriteOfWhatIsThere(t *testing.T) {
	p := pushTo(t, start(t, nil).Conn)
	data := randomBytes(1, 3<<20)
	d := p.put(data)
	_, answer, err := p.open(&pb.BlobsWriteRequest{Digest: d})
	if err != nil || answer.Blob.GetDigest() != d || answer.Blob.Size != int64(len(data)) {
		t.Errorf("there already: %v %v", answer, err)
	}
	p.repo = "other/app"
	if _, err := p.read(&pb.BlobsReadRequest{Digest: d}); err == nil {
		t.Error("read through a repository that does not hold it")
	}
	stream, answer, err := p.open(&pb.BlobsWriteRequest{Digest: d})
	if err != nil || answer.Blob != nil {
		t.Fatalf("in another repository: %v %v", answer, err)
	}
	if err := send(stream, 0, data, &pb.BlobsWriteRequest{}); err != nil {
		t.Fatal(err)
	}
	if last, err := stream.Recv(); err != nil || last.Blob.GetDigest() != d {
		t.Errorf("%v %v", last, err)
	}
}

func TestReadRange(t *testing.T) {
	p := pushTo(t, start(t, nil).Conn)
	for _, size := range []int64{1000, 3 << 20} { // in its record, and in data
		data := randomBytes(uint64(size), int(size))
		d := p.put(data)
		for _, r := range []struct{ off, limit, end int64 }{
			{0, 0, size}, {0, 1, 1}, {10, 0, size}, {10, 5, 15}, {size - 1, 1, size}, {size - 1, 99, size}, {size, 0, size}, {5, size, size}, {1, size - 2, size - 1},
		} {
			got, err := p.read(&pb.BlobsReadRequest{Digest: d, Offset: r.off, Limit: r.limit})
			if err != nil || !bytes.Equal(got, data[r.off:r.end]) {
				t.Errorf("%d bytes from %d of %d: got %d, %v", r.limit, r.off, size, len(got), err)
			}
		}
		_, err := p.read(&pb.BlobsReadRequest{Digest: d, Offset: size + 1})
		refused(t, err, codes.OutOfRange, "RANGE_INVALID")
		_, err = p.read(&pb.BlobsReadRequest{Digest: d, Offset: -1})
		refused(t, err, codes.OutOfRange, "RANGE_INVALID")
		_, err = p.read(&pb.BlobsReadRequest{Digest: d, Limit: -1})
		refused(t, err, codes.InvalidArgument, "ARGUMENT_INVALID")
	}
}

func TestFindMissing(t *testing.T) {
	p := pushTo(t, start(t, nil).Conn)
	var ask, want []string
	for i := range 1000 {
		if i%250 == 7 {
			ask = append(ask, p.put(fmt.Appendf(nil, "blob %d", i)))
			continue
		}
		d := digest.FromString(strconv.Itoa(i)).String()
		ask, want = append(ask, d), append(want, d)
	}
	in := &pb.BlobsFindMissingRequest{Repository: p.repo, Digests: ask}
	out, err := p.client.FindMissing(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(out.Missing, " ") != strings.Join(want, " ") {
		t.Errorf("%d missing, want %d in the order in which they were asked for", len(out.Missing), len(want))
	}
	if left := time.Until(out.PromisedUntil.AsTime()); left < 53*time.Hour {
		t.Errorf("promised for %v", left)
	}

	in.Repository, in.MountFrom = "other/app", []string{"no/such", p.repo}
	if out, err = p.client.FindMissing(t.Context(), in); err != nil || len(out.Missing) != len(want) {
		t.Errorf("with mount_from: %d missing, %v", len(out.GetMissing()), err)
	}
	in.MountFrom = nil
	if out, err = p.client.FindMissing(t.Context(), in); err != nil || len(out.Missing) != len(want) {
		t.Errorf("once taken over: %d missing, %v", len(out.GetMissing()), err)
	}

	in.Digests = append(in.Digests, absent)
	_, err = p.client.FindMissing(t.Context(), in)
	refused(t, err, codes.InvalidArgument, "LIMIT_EXCEEDED")
	in.Digests, in.MountFrom = nil, strings.Split(strings.Repeat("a ", 9), " ")[:9]
	_, err = p.client.FindMissing(t.Context(), in)
	refused(t, err, codes.InvalidArgument, "ARGUMENT_INVALID")
}

func TestBlobsRefuseBadNames(t *testing.T) {
	s := start(t, nil)
	c := pb.NewBlobsClient(s.Conn)
	ctx := t.Context()
	calls := map[string]func(repo, d string) error{
		"Stat": func(repo, d string) error {
			_, err := c.Stat(ctx, &pb.BlobsStatRequest{Repository: repo, Digest: d})
			return err
		},
		"FindMissing": func(repo, d string) error {
			_, err := c.FindMissing(ctx, &pb.BlobsFindMissingRequest{Repository: repo, Digests: []string{d}})
			return err
		},
		"mount": func(repo, d string) error {
			_, err := c.FindMissing(ctx, &pb.BlobsFindMissingRequest{Repository: "a", MountFrom: []string{repo}, Digests: []string{d}})
			return err
		},
		"Read": func(repo, d string) error {
			p := pushTo(t, s.Conn)
			p.repo = repo
			_, err := p.read(&pb.BlobsReadRequest{Digest: d})
			return err
		},
		"Write": func(repo, d string) error {
			p := pushTo(t, s.Conn)
			p.repo = repo
			_, _, err := p.open(&pb.BlobsWriteRequest{Digest: d})
			return err
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			for _, repo := range []string{"", "Upper", "a/../b", "..", "/a", "a//b", "a/", strings.Repeat("a", 256), "a b"} {
				refused(t, call(repo, absent), codes.InvalidArgument, "NAME_INVALID")
			}
			for _, d := range []string{"sha256", "sha256:", "sha256:abc", "sha256:" + strings.Repeat("G", 64), "../../x", absent + "0"} {
				refused(t, call("a", d), codes.InvalidArgument, "DIGEST_INVALID")
			}
			for _, d := range []string{"md5:d41d8cd98f00b204e9800998ecf8427e", "sha384:" + strings.Repeat("a", 96)} {
				refused(t, call("a", d), codes.InvalidArgument, "DIGEST_UNSUPPORTED")
			}
		})
	}
	_, err := c.Stat(ctx, &pb.BlobsStatRequest{Repository: "a", Digest: absent})
	if info := refused(t, err, codes.NotFound, "BLOB_UNKNOWN"); info.Metadata["subject"] != absent {
		t.Errorf("metadata %v", info.Metadata)
	}
	for _, id := range []string{"", "x", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "../uploads", strings.Repeat("0", 26)} {
		_, err := c.Status(ctx, &pb.BlobsStatusRequest{Repository: "a", UploadId: id})
		refused(t, err, codes.NotFound, "UPLOAD_UNKNOWN")
		_, err = c.Abort(ctx, &pb.BlobsAbortRequest{Repository: "a", UploadId: id})
		refused(t, err, codes.NotFound, "UPLOAD_UNKNOWN")
		if id != "" {
			_, _, err = pushTo(t, s.Conn).open(&pb.BlobsWriteRequest{UploadId: id})
			refused(t, err, codes.NotFound, "UPLOAD_UNKNOWN")
		}
	}
}

func TestBucketFull(t *testing.T) {
	// Room for what a server writes beside, and not for the blob.
	p := pushTo(t, start(t, memory.New(memory.Options{Capacity: 12 << 20})).Conn)
	data := randomBytes(1, 24<<20)
	d := digest.FromBytes(data).String()
	_, err := p.write(&pb.BlobsWriteRequest{Digest: d}, data)
	refused(t, err, codes.ResourceExhausted, "BUCKET_FULL")
	_, err = p.read(&pb.BlobsReadRequest{Digest: d})
	refused(t, err, codes.NotFound, "BLOB_UNKNOWN")
}

// ended is a log that tells when a call of a method has ended.
type ended struct {
	slog.Handler
	method string
	calls  chan struct{}
}

func (e *ended) Handle(ctx context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "method" && a.Value.String() == e.method {
			e.calls <- struct{}{}
		}
		return true
	})
	return e.Handler.Handle(ctx, r)
}

// A client that takes nothing does not keep a read open for ever.
func TestClientThatStopsReading(t *testing.T) {
	reads := &ended{slog.NewTextHandler(t.Output(), nil), pb.Blobs_Read_FullMethodName, make(chan struct{}, 1)}
	s := servertest.Start(t, servertest.Options{Config: server.Config{Idle: 2 * time.Second, Logger: slog.New(reads)}})
	p := pushTo(t, s.Conn)
	data := randomBytes(1, 40<<20)
	d := p.put(data)
	stream, err := p.client.Read(t.Context(), &pb.BlobsReadRequest{Repository: p.repo, Digest: d})
	if err != nil {
		t.Fatal(err)
	}
	<-reads.calls
	var got bytes.Buffer
	for err == nil {
		var m *pb.BlobsReadResponse
		if m, err = stream.Recv(); err == nil {
			got.Write(m.Data)
		}
	}
	refused(t, err, codes.DeadlineExceeded, "READ_IDLE")
	if got.Len() == 0 || !bytes.HasPrefix(data, got.Bytes()) || got.Len() == len(data) {
		t.Errorf("%d bytes came before", got.Len())
	}
}
