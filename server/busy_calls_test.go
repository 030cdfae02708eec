package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/oklog/ulid/v2"
	"github.com/opencontainers/go-digest"
	"google.golang.org/grpc"

	"github.com/laminastore/lamina/blobstore/storetest"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/server/servertest"
)

// A world is a repository with an image, and with things that requests take away.
type world struct {
	image     storetest.Image
	doomed    []digest.Digest // manifests with a tag "doomed-N"
	uploads   []string        // ids
	blob      []byte          // large enough to be data
	gone      digest.Digest   // a blob to be deleted
	snapshots []*pb.Snapshot  // the last is not registered yet
}

const manifestType = "application/vnd.oci.image.manifest.v1+json"

func prepare(t *testing.T, s *servertest.Server) *world {
	t.Helper()
	w := &world{blob: storetest.Bytes(300_000, "blob")}
	w.image = storetest.Build{Tars: [][]byte{storetest.Tar(100_000, "a"), storetest.Tar(1000, "b")}}.Image()
	send := func(r request) http.Header {
		t.Helper()
		resp, body := r.do(t, r.path, s.HTTP)
		if resp.StatusCode/100 != 2 {
			t.Fatalf("%s %s: %d %s", r.method, r.path, resp.StatusCode, body)
		}
		return resp.Header
	}
	push := func(b []byte) {
		send(request{method: "POST", path: path("blobs/uploads/?digest=%s", digest.FromBytes(b)), body: b})
	}
	for _, b := range w.image.Blobs {
		push(b)
	}
	push(w.blob)
	gone := storetest.Bytes(100, "gone")
	w.gone = digest.FromBytes(gone)
	push(gone)
	send(request{method: "PUT", path: path("manifests/1"), body: w.image.Manifest, header: "Content-Type: " + manifestType})
	for n := range 2 {
		i := storetest.Build{Annotated: map[string]string{"n": fmt.Sprint(n)}}.Image()
		for _, b := range i.Blobs {
			push(b)
		}
		send(request{method: "PUT", path: path("manifests/doomed-%d", n), body: i.Manifest, header: "Content-Type: " + manifestType})
		w.doomed = append(w.doomed, i.Digest)
	}
	for range 7 {
		h := send(request{method: "POST", path: path("blobs/uploads/")})
		id := h.Get("Docker-Upload-UUID")
		send(request{method: "PATCH", path: path("blobs/uploads/%s", id), body: w.blob[:100_000]})
		w.uploads = append(w.uploads, id)
	}
	for n := range 3 {
		snap := &pb.Snapshot{
			Id: ulid.Make().String(), Repository: "demo/app", Tag: "1", NodeId: "node-1",
			Image:         &pb.Descriptor{Digest: string(w.image.Digest), Size: int64(len(w.image.Manifest)), MediaType: manifestType},
			ParentDiffIds: []string{string(w.image.DiffIDs[0])}, DiffId: string(w.image.DiffIDs[1]),
			Diff: &pb.Descriptor{
				Digest: string(w.image.Layers[1]), Size: int64(len(w.image.Blobs[w.image.Layers[1]])),
				MediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
			},
			Container: &pb.Container{Namespace: "default", Id: "web-1", State: pb.ContainerState_CONTAINER_STATE_RUNNING},
		}
		if n < 2 {
			if _, err := pb.NewSnapshotsClient(s.Conn).Register(t.Context(), &pb.SnapshotsRegisterRequest{Snapshot: snap}); err != nil {
				t.Fatal(err)
			}
		}
		w.snapshots = append(w.snapshots, snap)
	}
	return w
}

// requests are one for each route.
func (w *world) requests() map[string]request {
	rest, whole := w.blob[100_000:], digest.FromBytes(w.blob)
	return map[string]request{
		"catalog":         {method: "GET", path: "/v2/_catalog", want: 200},
		"blob-pull":       {method: "GET", path: path("blobs/%s", whole), want: 200},
		"blob-delete":     {method: "DELETE", path: path("blobs/%s", w.gone), want: 202},
		"upload-start":    {method: "POST", path: path("blobs/uploads/"), want: 202},
		"upload-status":   {method: "GET", path: path("blobs/uploads/%s", w.uploads[0]), want: 204},
		"upload-append":   {method: "PATCH", path: path("blobs/uploads/%s", w.uploads[1]), body: rest, want: 202},
		"upload-finish":   {method: "PUT", path: path("blobs/uploads/%s?digest=%s", w.uploads[2], whole), body: rest, want: 201},
		"upload-cancel":   {method: "DELETE", path: path("blobs/uploads/%s", w.uploads[3]), want: 204},
		"manifest-pull":   {method: "GET", path: path("manifests/1"), want: 200},
		"manifest-push":   {method: "PUT", path: path("manifests/2"), body: w.image.Manifest, header: "Content-Type: " + manifestType, want: 201},
		"manifest-delete": {method: "DELETE", path: path("manifests/%s", w.doomed[0]), want: 202},
		"tags":            {method: "GET", path: path("tags/list"), want: 200},
		"referrers":       {method: "GET", path: path("referrers/%s", w.image.Digest), want: 200},
	}
}

// calls are one for each RPC.
func (w *world) calls() map[string]func(grpc.ClientConnInterface) error {
	ctx, repo, manifest := context.Background(), "demo/app", string(w.image.Digest)
	whole := digest.FromBytes(w.blob).String()
	calls := map[string]func(grpc.ClientConnInterface) error{}
	blobs := func(name string, f func(pb.BlobsClient) error) {
		calls["lamina.v1.Blobs/"+name] = func(c grpc.ClientConnInterface) error { return f(pb.NewBlobsClient(c)) }
	}
	blobs("Stat", func(c pb.BlobsClient) error {
		return failed(c.Stat(ctx, &pb.BlobsStatRequest{Repository: repo, Digest: whole}))
	})
	blobs("FindMissing", func(c pb.BlobsClient) error {
		return failed(c.FindMissing(ctx, &pb.BlobsFindMissingRequest{Repository: repo, Digests: []string{whole}}))
	})
	blobs("Read", func(c pb.BlobsClient) error {
		s, err := c.Read(ctx, &pb.BlobsReadRequest{Repository: repo, Digest: whole})
		for err == nil {
			_, err = s.Recv()
		}
		return unlessEnded(err)
	})
	blobs("Write", func(c pb.BlobsClient) error { return w.write(ctx, c) })
	blobs("Status", func(c pb.BlobsClient) error {
		return failed(c.Status(ctx, &pb.BlobsStatusRequest{Repository: repo, UploadId: w.uploads[5]}))
	})
	blobs("Abort", func(c pb.BlobsClient) error {
		return failed(c.Abort(ctx, &pb.BlobsAbortRequest{Repository: repo, UploadId: w.uploads[6]}))
	})

	images := func(name string, f func(pb.ImagesClient) error) {
		calls["lamina.v1.Images/"+name] = func(c grpc.ClientConnInterface) error { return f(pb.NewImagesClient(c)) }
	}
	images("Resolve", func(c pb.ImagesClient) error {
		return failed(c.Resolve(ctx, &pb.ImagesResolveRequest{Repository: repo, Reference: "1"}))
	})
	images("GetManifest", func(c pb.ImagesClient) error {
		return failed(c.GetManifest(ctx, &pb.ImagesGetManifestRequest{Repository: repo, Reference: "1"}))
	})
	images("Get", func(c pb.ImagesClient) error {
		return failed(c.Get(ctx, &pb.ImagesGetRequest{Repository: repo, Reference: "1"}))
	})
	images("List", func(c pb.ImagesClient) error { return failed(c.List(ctx, &pb.ImagesListRequest{})) })
	images("Put", func(c pb.ImagesClient) error {
		return failed(c.Put(ctx, &pb.ImagesPutRequest{Repository: repo, Manifest: w.image.Manifest, MediaType: manifestType, Tags: []string{"3"}}))
	})
	images("Tag", func(c pb.ImagesClient) error {
		return failed(c.Tag(ctx, &pb.ImagesTagRequest{Repository: repo, Tag: "4", Digest: manifest}))
	})
	images("Delete", func(c pb.ImagesClient) error {
		return failed(c.Delete(ctx, &pb.ImagesDeleteRequest{Repository: repo, Reference: "doomed-1"}))
	})
	images("History", func(c pb.ImagesClient) error {
		return failed(c.History(ctx, &pb.ImagesHistoryRequest{Repository: repo, Reference: "1"}))
	})

	snapshots := func(name string, f func(pb.SnapshotsClient) error) {
		calls["lamina.v1.Snapshots/"+name] = func(c grpc.ClientConnInterface) error { return f(pb.NewSnapshotsClient(c)) }
	}
	snapshots("Report", func(c pb.SnapshotsClient) error {
		return failed(c.Report(ctx, &pb.SnapshotsReportRequest{Node: &pb.Node{Id: "node-1"}}))
	})
	snapshots("ListContainers", func(c pb.SnapshotsClient) error {
		return failed(c.ListContainers(ctx, &pb.SnapshotsListContainersRequest{}))
	})
	snapshots("Register", func(c pb.SnapshotsClient) error {
		return failed(c.Register(ctx, &pb.SnapshotsRegisterRequest{Snapshot: w.snapshots[2]}))
	})
	snapshots("List", func(c pb.SnapshotsClient) error { return failed(c.List(ctx, &pb.SnapshotsListRequest{})) })
	snapshots("Get", func(c pb.SnapshotsClient) error {
		return failed(c.Get(ctx, &pb.SnapshotsGetRequest{Id: w.snapshots[0].Id}))
	})
	snapshots("Delete", func(c pb.SnapshotsClient) error {
		return failed(c.Delete(ctx, &pb.SnapshotsDeleteRequest{Id: w.snapshots[1].Id}))
	})
	calls["lamina.v1.Usage/Get"] = func(c grpc.ClientConnInterface) error {
		return failed(pb.NewUsageClient(c).Get(ctx, &pb.UsageGetRequest{Refresh: true}))
	}
	maintenance := func(name string, f func(pb.MaintenanceClient) error) {
		calls["lamina.v1.Maintenance/"+name] = func(c grpc.ClientConnInterface) error { return f(pb.NewMaintenanceClient(c)) }
	}
	maintenance("Collect", func(c pb.MaintenanceClient) error {
		s, err := c.Collect(ctx, &pb.MaintenanceCollectRequest{Full: true, Findings: true})
		for err == nil {
			_, err = s.Recv()
		}
		return unlessEnded(err)
	})
	maintenance("Verify", func(c pb.MaintenanceClient) error {
		s, err := c.Verify(ctx, &pb.MaintenanceVerifyRequest{})
		for err == nil {
			_, err = s.Recv()
		}
		return unlessEnded(err)
	})
	maintenance("LastCollection", func(c pb.MaintenanceClient) error {
		return failed(c.LastCollection(ctx, &pb.MaintenanceLastCollectionRequest{}))
	})
	maintenance("LastVerification", func(c pb.MaintenanceClient) error {
		return failed(c.LastVerification(ctx, &pb.MaintenanceLastVerificationRequest{}))
	})
	return calls
}

// unlessEnded is the error of a stream that did not come to its end.
func unlessEnded(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// write goes on with an upload and ends it.
func (w *world) write(ctx context.Context, c pb.BlobsClient) error {
	s, err := c.Write(ctx)
	if err != nil {
		return err
	}
	if err := s.Send(&pb.BlobsWriteRequest{Repository: "demo/app", UploadId: w.uploads[4], Offset: 100_000}); err != nil && err != io.EOF {
		return err
	}
	if _, err := s.Recv(); err != nil {
		return err
	}
	data := w.blob[100_000:]
	m := &pb.BlobsWriteRequest{Offset: 100_000, Data: bytes.Clone(data), Digest: digest.FromBytes(w.blob).String(), Finish: true}
	if err := s.Send(m); err != nil && err != io.EOF {
		return err
	}
	_, err = s.Recv()
	return err
}

// failed is the error of a call.
func failed[T any](_ T, err error) error { return err }
