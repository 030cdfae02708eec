package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/reference"
)

// appendUpload is end-5: PATCH adds bytes to an upload, at its end or, with a
// Content-Range, only where that says.
func (h *handler) appendUpload(c *call) error {
	at, r, err := c.chunk()
	if err != nil {
		return err
	}
	u, err := h.resumeUpload(c)
	if err != nil {
		return err
	}
	offset, err := u.Append(c.lasting(), at, r)
	if err != nil {
		return c.uploadError(u, offset, err)
	}
	c.describeUpload(u.ID(), offset)
	c.w.Header().Set("Content-Length", "0")
	c.w.setStatus(http.StatusAccepted)
	return nil
}

// finishUpload is end-6: PUT ends an upload, with or without a last chunk.
func (h *handler) finishUpload(c *call) error {
	want := c.URL.Query().Get("digest")
	if want == "" {
		return failure(reference.ErrDigest, "", "the parameter digest is missing", "end an upload with a PUT to its Location and digest=sha256:… as one more parameter")
	}
	d, err := reference.ParseDigest(want)
	if err != nil {
		return err
	}
	at, r, err := c.chunk()
	if err != nil {
		return err
	}
	u, err := h.resumeUpload(c)
	if err != nil {
		return err
	}
	b, err := u.Finish(c.lasting(), at, r, d)
	if err != nil {
		return c.uploadError(u, -1, err)
	}
	return c.created(b)
}

// lasting is the context of what takes bytes in. The server cancels a request's
// own as soon as its client is gone, and with it the parts that are on their way
// to the bucket; but what has come shall be there when the client comes back.
// Reading the body fails at that moment, and that ends the request.
func (c *call) lasting() context.Context { return context.WithoutCancel(c.Context()) }

// chunk returns where the body belongs (-1: at the end, wherever that is) and
// the body, nil when there is none. Errors: errHeader, errLength.
func (c *call) chunk() (at int64, r io.Reader, err error) {
	header := c.Header.Get("Content-Range")
	if header == "" {
		if c.ContentLength == 0 {
			return -1, nil, nil
		}
		return -1, c.Body, nil
	}
	cr, err := parseContentRange(header)
	if err != nil {
		e := failure(errHeader, "Content-Range: "+clipQuote(header), "", "")
		e.Err = err
		return 0, nil, e
	}
	switch {
	case c.ContentLength < 0:
		return cr.start, &exactReader{src: c.Body, left: cr.length, header: header}, nil
	case c.ContentLength != cr.length:
		return 0, nil, lengthFailure(header, "Content-Length is "+itoa(c.ContentLength))
	}
	return cr.start, c.Body, nil
}

// uploadError adds to err how far the upload has come, so that the client can
// go on from there; offset is -1 when that is only in err, if anywhere.
func (c *call) uploadError(u *blobstore.Upload, offset int64, err error) error {
	var e *blobstore.Error
	if errors.As(err, &e) && e.Facts["offset"] != "" {
		if n, perr := strconv.ParseInt(e.Facts["offset"], 10, 64); perr == nil {
			offset = n
		}
	}
	// An upload that is gone has no status.
	if offset >= 0 && !errors.Is(err, blobstore.ErrUploadUnknown) {
		c.describeUpload(u.ID(), offset)
	}
	return c.readError(err)
}

func lengthFailure(header, detail string) error {
	return failure(errLength, "Content-Range: "+clipQuote(header), detail, "send exactly the bytes of the range")
}

// An exactReader is a body of unknown length that must have the length of its
// Content-Range.
type exactReader struct {
	src    io.Reader
	left   int64
	header string
}

func (r *exactReader) Read(p []byte) (int, error) {
	if r.left == 0 { // one byte more, or the end
		n, err := r.src.Read(make([]byte, 1))
		if n > 0 {
			err = lengthFailure(r.header, "the body is longer")
		}
		return 0, err
	}
	n, err := r.src.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	if err == io.EOF && r.left > 0 {
		err = lengthFailure(r.header, "the body is "+itoa(r.left)+" bytes shorter")
	}
	return n, err
}
