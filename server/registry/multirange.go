package registry

import (
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
)

// ifRange says whether a Range header counts: If-Range names the blob, or is
// not there. A date never does, for blobs have none (RFC 9110 section 13.1.5).
func (c *call) ifRange(d digest.Digest) bool {
	v := c.Header.Get("If-Range")
	return v == "" || strings.TrimSpace(v) == etag(d)
}

// sendRanges answers with the parts of b that the Range header asks for. Parts
// of a blob cannot be checked against its digest; a client checks the whole.
func (h *handler) sendRanges(c *call, b blobstore.Blob) error {
	header := c.Header.Get("Range")
	ranges, err := parseRange(header, b.Size)
	if err != nil {
		return rangeFailure(header, b.Size, err)
	}
	switch len(ranges) {
	case 0:
		return h.sendRange(c, b, byteRange{0, b.Size})
	case 1:
		r := ranges[0]
		c.w.Header().Set("Content-Range", r.contentRange(b.Size))
		c.w.Header().Set("Content-Length", itoa(r.length))
		c.w.setStatus(http.StatusPartialContent)
		return h.sendRange(c, b, r)
	}
	return h.sendParts(c, b, ranges)
}

func (h *handler) sendRange(c *call, b blobstore.Blob, r byteRange) error {
	rd, err := h.store.Open(c.Context(), c.repo, b.Digest, r.start, r.length)
	if err != nil {
		return err
	}
	return c.send(rd)
}

// sendParts answers with several ranges as multipart/byteranges (RFC 9110
// section 14.6).
func (h *handler) sendParts(c *call, b blobstore.Blob, ranges []byteRange) error {
	part := func(r byteRange) textproto.MIMEHeader {
		return textproto.MIMEHeader{
			"Content-Type":  {"application/octet-stream"},
			"Content-Range": {r.contentRange(b.Size)},
		}
	}
	// Written once without the bytes to learn the length.
	var frame countingWriter
	counted := multipart.NewWriter(&frame)
	length := int64(0)
	for _, r := range ranges {
		if _, err := counted.CreatePart(part(r)); err != nil {
			return err
		}
		length += r.length
	}
	if err := counted.Close(); err != nil {
		return err
	}
	parts := multipart.NewWriter(c.w)
	if err := parts.SetBoundary(counted.Boundary()); err != nil {
		return err
	}
	head := c.w.Header()
	head.Set("Content-Type", "multipart/byteranges; boundary="+parts.Boundary())
	head.Set("Content-Length", itoa(length+int64(frame)))
	c.w.setStatus(http.StatusPartialContent)
	for _, r := range ranges {
		rd, err := h.store.Open(c.Context(), c.repo, b.Digest, r.start, r.length)
		if err != nil {
			return err
		}
		_, err = parts.CreatePart(part(r))
		if err == nil {
			_, err = rd.WriteTo(c.w) // what a part's writer does, with our buffers
		}
		if cerr := rd.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
	}
	return parts.Close()
}

// countingWriter counts what would be written.
type countingWriter int64

func (n *countingWriter) Write(p []byte) (int, error) {
	*n += countingWriter(len(p))
	return len(p), nil
}
