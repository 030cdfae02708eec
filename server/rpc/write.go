package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/reference"
)

// Write takes a blob in, as blobs.proto has it. The bytes go from the message
// that brought them into a part for the bucket, and are nowhere else, so what a
// stream takes does not grow with the blob.
func (s *blobs) Write(stream writeStream) error {
	from := receive(stream, s.idle, s.minRate, s.streams)
	m, err := from.next()
	if err == io.EOF {
		return argument("repository", "the stream ended before its first message")
	}
	if err != nil {
		return err
	}
	w := &write{store: s.store, stream: stream, ctx: stream.Context()}
	if err := w.begin(m); err != nil {
		return err
	}
	if done, err := w.known(m.UploadId); done || err != nil {
		return err
	}
	if m.UploadId == "" && m.Finish {
		return w.whole(m)
	}
	if err := w.open(m.UploadId); err != nil {
		return err
	}
	in := &uploadReader{from: from, upload: w.upload.ID(), offset: w.offset, finished: w.finished}
	if err := in.take(m); err != nil {
		return err
	}
	return w.take(in)
}

// A write is one stream of Write.
type write struct {
	store  *blobstore.Store
	stream writeStream
	ctx    context.Context // the stream's

	repo   reference.Repository
	digest digest.Digest // "" until it is known
	size   int64         // 0: not known

	upload *blobstore.Upload
	offset int64
}

// begin checks the first message.
func (w *write) begin(m *pb.BlobsWriteRequest) (err error) {
	if w.repo, err = reference.ParseRepository(m.Repository); err != nil {
		return err
	}
	return w.learn(m)
}

// learn takes digest and size from the first message, and from the last.
func (w *write) learn(m *pb.BlobsWriteRequest) error {
	if m.Digest != "" {
		d, err := reference.ParseDigest(m.Digest)
		if err != nil {
			return err
		}
		if w.digest != "" && d != w.digest {
			return argument("digest", "%s in the last message, %s in the first", d, w.digest)
		}
		w.digest = d
	}
	switch {
	case m.Size < 0:
		return argument("size", "%d is negative", m.Size)
	case m.Size > 0 && w.size > 0 && m.Size != w.size:
		return argument("size", "%d in the last message, %d in the first", m.Size, w.size)
	case m.Size > 0:
		w.size = m.Size
	}
	return nil
}

// known ends the stream if the repository has the blob. An upload that was to
// bring it is over then: perhaps only the answer to it was lost.
func (w *write) known(uploadID string) (bool, error) {
	if w.digest == "" {
		return false, nil
	}
	b, err := w.store.Stat(w.ctx, w.repo, w.digest)
	if errors.Is(err, blobstore.ErrBlobUnknown) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if uploadID != "" {
		if u, err := w.store.ResumeUpload(w.ctx, w.repo, uploadID); err == nil {
			_ = u.Abort(w.ctx) // what stays is collected
		}
	}
	return true, w.done(b)
}

// whole stores a blob that came in its first message.
func (w *write) whole(m *pb.BlobsWriteRequest) error {
	switch {
	case len(m.Data) > maxData:
		return argument("data", "%d bytes in one message, at most %d", len(m.Data), maxData)
	case m.Offset != 0:
		return offsetError("", m.Offset, 0)
	case w.digest == "":
		return errNoDigest
	case w.size > 0 && w.size != int64(len(m.Data)):
		return w.sizeError(int64(len(m.Data)))
	}
	b, err := w.store.Put(w.ctx, w.repo, w.digest, int64(len(m.Data)), bytes.NewReader(m.Data))
	if err != nil {
		return err
	}
	return w.done(b)
}

// open starts an upload or finds the one to go on with, and tells the client
// where to go on.
func (w *write) open(id string) (err error) {
	if id == "" {
		w.upload, err = w.store.StartUpload(w.ctx, w.repo, blobstore.UploadOptions{Digest: w.digest, Size: w.size})
	} else if w.upload, err = w.store.ResumeUpload(w.ctx, w.repo, id); err == nil {
		w.offset, err = w.upload.Refresh(w.ctx)
	}
	if err != nil {
		return err
	}
	return w.stream.Send(&pb.BlobsWriteResponse{UploadId: w.upload.ID(), Offset: w.offset})
}

// take stores what the client sends and, if it says so, ends the upload. When
// it only stops sending the upload stays, and the answer says how far it came.
//
// With the digest known beforehand the store can do both at once, which saves
// it a record.
func (w *write) take(in *uploadReader) error {
	var b blobstore.Blob
	var err error
	if w.digest != "" {
		in.parked = errParked
		b, err = w.upload.Finish(w.ctx, w.offset, in, w.digest)
	} else if _, err = w.upload.Append(w.ctx, w.offset, in); err == nil {
		if err = errParked; in.finish != nil {
			b, err = w.upload.Commit(w.ctx, w.digest)
		}
	}
	switch {
	case err == nil:
		return w.done(b)
	case errors.Is(err, errParked):
		offset, err := w.upload.Refresh(w.ctx)
		if err != nil {
			return err
		}
		return w.stream.Send(&pb.BlobsWriteResponse{UploadId: w.upload.ID(), Offset: offset})
	case errors.Is(err, errUploadIdle):
		return w.idle(err)
	}
	return err
}

// errParked is how an upload's bytes end when the client has said no finish.
var errParked = fmt.Errorf("upload is parked")

// finished checks what the last message says of the whole.
func (w *write) finished(m *pb.BlobsWriteRequest, total int64) error {
	if err := w.learn(m); err != nil {
		return err
	}
	switch {
	case w.digest == "":
		return errNoDigest
	case w.size > 0 && w.size != total:
		return w.sizeError(total)
	}
	return nil
}

func (w *write) done(b blobstore.Blob) error {
	out := &pb.BlobsWriteResponse{Offset: b.Size, Blob: blobDescriptor(b)}
	if w.upload != nil {
		out.UploadId = w.upload.ID()
	}
	return w.stream.Send(out)
}

// idle adds to an error of a client that has stopped sending which upload it was
// and from where it can be resumed.
func (w *write) idle(err error) error {
	var e *blobstore.Error
	offset, rerr := w.upload.Refresh(w.ctx)
	if rerr != nil || !errors.As(err, &e) {
		return err
	}
	located := *e
	located.Subject = w.upload.ID()
	located.Facts = map[string]string{"offset": strconv.FormatInt(offset, 10)}
	return &located
}

var errNoDigest = argument("digest", "missing; give it in the first message or in the one with finish set")

func (w *write) sizeError(got int64) error {
	return &blobstore.Error{
		Class: blobstore.ErrSizeMismatch, Subject: w.digest.String(),
		Detail: strconv.FormatInt(got, 10) + " bytes came, " + strconv.FormatInt(w.size, 10) + " were announced",
		Facts:  map[string]string{"actual": strconv.FormatInt(got, 10)},
	}
}

func offsetError(upload string, got, have int64) error {
	o := strconv.FormatInt(have, 10)
	return &blobstore.Error{
		Class: blobstore.ErrUploadOffset, Subject: upload,
		Detail: "got bytes from " + strconv.FormatInt(got, 10) + ", have " + o, Remedy: "go on at " + o,
		Facts: map[string]string{"offset": o},
	}
}
