package registry

import (
	"errors"
	"net/http"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/reference"
)

// startUpload is end-4 and end-11: POST mounts a blob, takes one whole, or
// begins an upload.
func (h *handler) startUpload(c *call) error {
	q := c.URL.Query()
	var o blobstore.UploadOptions
	if mount := q.Get("mount"); mount != "" {
		d, err := reference.ParseDigest(mount)
		if err != nil {
			return err
		}
		b, err := h.mount(c, d, q.Get("from"))
		if err == nil {
			return c.created(b)
		}
		if !errors.Is(err, blobstore.ErrBlobUnknown) {
			return err
		}
		o.Digest = d // what the client goes on to send
	}
	if want := q.Get("digest"); want != "" {
		d, err := reference.ParseDigest(want)
		if err != nil {
			return err
		}
		b, err := h.store.Put(c.lasting(), c.repo, d, c.ContentLength, c.Body)
		if err != nil {
			return c.readError(err)
		}
		return c.created(b)
	}
	if alg := q.Get("digest-algorithm"); alg != "" {
		o.Algorithm = digest.Algorithm(alg)
		if o.Digest != "" && o.Digest.Algorithm() != o.Algorithm {
			o.Digest = ""
		}
	}
	u, err := h.store.StartUpload(c.Context(), c.repo, o)
	if err != nil {
		return err
	}
	c.describeUpload(u.ID(), 0)
	c.w.Header().Set("Content-Length", "0")
	c.w.setStatus(http.StatusAccepted)
	return nil
}

// mount lets the repository hold a blob of another, without bytes. With no
// other named, it is one from which the caller could pull the blob: knowing a
// digest gives no right to it. Errors: blobstore.ErrBlobUnknown,
// reference.ErrRepository.
func (h *handler) mount(c *call, d digest.Digest, from string) (blobstore.Blob, error) {
	if from == "" {
		return h.store.MountFromAny(c.Context(), c.repo, d, c.mayPull)
	}
	source, err := reference.ParseRepository(from)
	if err != nil {
		return blobstore.Blob{}, err
	}
	if !c.mayPull(source) { // it has nothing, for all that the caller is told
		return blobstore.Blob{}, failure(blobstore.ErrBlobUnknown, string(d), "", "")
	}
	return h.store.Mount(c.Context(), c.repo, source, d)
}

// created answers that the repository now holds b.
func (c *call) created(b blobstore.Blob) error {
	h := c.w.Header()
	h.Set("Location", blobPath(c.repo, b.Digest))
	h.Set("Docker-Content-Digest", string(b.Digest))
	h.Set("Content-Length", "0")
	c.w.setStatus(http.StatusCreated)
	return nil
}

// reachedParam is the parameter by which a client, who follows the Location that
// one server gave it, tells another how far the upload has come.
const reachedParam = "offset"

// resumeUpload finds the upload that a request goes on with, as far as the
// client knows that it has come.
func (h *handler) resumeUpload(c *call) (*blobstore.Upload, error) {
	u, err := h.store.ResumeUpload(c.Context(), c.repo, c.arg)
	if err != nil {
		return nil, err
	}
	// A client may have lost the parameter, or made up another: then the upload
	// is where this server thinks it is, and every write is conditional.
	if reached, perr := parseNumber(c.URL.Query().Get(reachedParam)); perr == nil {
		err = u.CatchUp(c.Context(), reached)
	}
	return u, err
}

// describeUpload sets the headers that say where an upload is and how far.
func (c *call) describeUpload(id string, offset int64) {
	h := c.w.Header()
	h.Set("Location", "/v2/"+string(c.repo)+"/blobs/uploads/"+id+"?"+reachedParam+"="+itoa(offset))
	h.Set("Docker-Upload-UUID", id)
	h.Set("Range", "0-"+itoa(max(offset-1, 0)))
	h.Set("Upload-Offset", itoa(offset))
}

// statUpload is end-13: how far an upload has come, on whatever server.
func (h *handler) statUpload(c *call) error {
	u, err := h.store.ResumeUpload(c.Context(), c.repo, c.arg)
	if err != nil {
		return err
	}
	offset, err := u.Refresh(c.Context())
	if err != nil {
		return err
	}
	c.describeUpload(u.ID(), offset)
	c.w.setStatus(http.StatusNoContent)
	return nil
}

// cancelUpload is end-14.
func (h *handler) cancelUpload(c *call) error {
	u, err := h.store.ResumeUpload(c.Context(), c.repo, c.arg)
	if err != nil {
		return err
	}
	if err := u.Abort(c.Context()); err != nil {
		return err
	}
	c.w.setStatus(http.StatusNoContent)
	return nil
}
