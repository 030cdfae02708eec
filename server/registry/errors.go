package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/reference"
	"github.com/laminastore/lamina/server/access"
	"github.com/laminastore/lamina/server/limit"
)

// The error codes of the distribution specification, "Error Codes", and two
// for faults of the server, which it leaves open.
const (
	codeBlobUnknown         = "BLOB_UNKNOWN"
	codeUploadInvalid       = "BLOB_UPLOAD_INVALID"
	codeUploadUnknown       = "BLOB_UPLOAD_UNKNOWN"
	codeDigestInvalid       = "DIGEST_INVALID"
	codeManifestBlobUnknown = "MANIFEST_BLOB_UNKNOWN"
	codeManifestInvalid     = "MANIFEST_INVALID"
	codeManifestUnknown     = "MANIFEST_UNKNOWN"
	codeNameInvalid         = "NAME_INVALID"
	codeNameUnknown         = "NAME_UNKNOWN"
	codeSizeInvalid         = "SIZE_INVALID"
	codeDenied              = "DENIED"
	codeUnauthorized        = "UNAUTHORIZED"
	codeUnsupported         = "UNSUPPORTED"
	codeTooManyRequests     = "TOOMANYREQUESTS"
	codeUnavailable         = "UNAVAILABLE"
	codeUnknown             = "UNKNOWN"
)

// The classes of error that only HTTP has.
var (
	errPath       = errors.New("no such path")
	errMethod     = errors.New("method not allowed")
	errQuery      = errors.New("invalid query parameter")
	errHeader     = errors.New("invalid header")
	errManyTags   = errors.New("too many tags")
	errCondition  = errors.New("precondition failed")
	errClientIdle = errors.New("client stopped sending")
	errClientSlow = errors.New("client is too slow")
	errClientGone = errors.New("connection broke off")
	errLength     = errors.New("length does not match")
)

// statusClientGone is what the log says of a request whose client is gone; it
// is never sent. The number is the one that nginx made common.
const statusClientGone = 499

// A row says how a class of error reaches a client.
type row struct {
	class  error
	code   string
	status int
	// retry is after how many seconds the same request may succeed; 0: never.
	retry int
	// message, when set, is all that the client is told: what the bucket says
	// is for the log.
	message string
}

const (
	lookIntoLog = "the server's log says more under this request's X-Request-Id"
	bucketFull  = "the bucket is full: free space in it, or delete images, and push again"
	bucketBusy  = "the bucket asks for fewer requests: try again later, with fewer at once; what an upload's status says has arrived is safe"
	bucketGone  = "the bucket does not answer: try again in a few seconds; what an upload's status says has arrived is safe"
)

// table is the one place where classes become codes. The first row that fits
// counts, so a class that is one of another too stands before it.
//
// A full bucket is 507: clients take 503 and 429 for an invitation to try again.
var table = []row{
	{blobstore.ErrBlobUnknown, codeBlobUnknown, http.StatusNotFound, 0, ""},
	{blobstore.ErrDigestMismatch, codeDigestInvalid, http.StatusBadRequest, 0, ""},
	{blobstore.ErrDigestUnsupported, codeDigestInvalid, http.StatusBadRequest, 0, ""},
	{blobstore.ErrSizeMismatch, codeSizeInvalid, http.StatusBadRequest, 0, ""},
	{blobstore.ErrRange, codeSizeInvalid, http.StatusRequestedRangeNotSatisfiable, 0, ""},
	{blobstore.ErrUploadUnknown, codeUploadUnknown, http.StatusNotFound, 0, ""},
	{blobstore.ErrUploadOffset, codeUploadInvalid, http.StatusRequestedRangeNotSatisfiable, 0, ""},
	{blobstore.ErrUploadBusy, codeUploadInvalid, http.StatusConflict, 1, ""},
	{blobstore.ErrTooLarge, codeSizeInvalid, http.StatusRequestEntityTooLarge, 0, ""},
	{blobstore.ErrRepositoryUnknown, codeNameUnknown, http.StatusNotFound, 0, ""},
	{blobstore.ErrManifestUnknown, codeManifestUnknown, http.StatusNotFound, 0, ""},
	{blobstore.ErrManifestInvalid, codeManifestInvalid, http.StatusBadRequest, 0, ""},
	{blobstore.ErrManifestBlobUnknown, codeManifestBlobUnknown, http.StatusBadRequest, 0, ""},
	{blobstore.ErrTagConflict, codeDenied, http.StatusPreconditionFailed, 0, ""},
	{blobstore.ErrLayerInvalid, codeManifestInvalid, http.StatusBadRequest, 0, ""},
	{blobstore.ErrConflict, codeTooManyRequests, http.StatusTooManyRequests, 1, ""},
	{blobstore.ErrCorrupt, codeUnknown, http.StatusInternalServerError, 0, "the stored bytes are damaged and are not served: push them again; " + lookIntoLog},

	{reference.ErrRepository, codeNameInvalid, http.StatusBadRequest, 0, ""},
	{reference.ErrTag, codeManifestInvalid, http.StatusBadRequest, 0, ""},
	{reference.ErrDigestUnsupported, codeDigestInvalid, http.StatusBadRequest, 0, ""},
	{reference.ErrDigest, codeDigestInvalid, http.StatusBadRequest, 0, ""},

	{access.ErrCredentials, codeUnauthorized, http.StatusUnauthorized, 0, ""},
	{access.ErrAnonymous, codeUnauthorized, http.StatusUnauthorized, 0, ""},
	{access.ErrScope, codeUnauthorized, http.StatusUnauthorized, 0, ""},
	{access.ErrDenied, codeDenied, http.StatusForbidden, 0, ""},
	{access.ErrUnavailable, codeUnavailable, http.StatusServiceUnavailable, 2, access.ErrUnavailable.Error() + ": try again in a few seconds; " + lookIntoLog},

	{errPath, codeUnsupported, http.StatusNotFound, 0, ""},
	{errMethod, codeUnsupported, http.StatusMethodNotAllowed, 0, ""},
	{errQuery, codeUnsupported, http.StatusBadRequest, 0, ""},
	{errHeader, codeUnsupported, http.StatusBadRequest, 0, ""},
	{errManyTags, codeUnsupported, http.StatusRequestURITooLong, 0, ""},
	{errCondition, codeDenied, http.StatusPreconditionFailed, 0, ""},
	{errClientIdle, codeUploadInvalid, http.StatusRequestTimeout, 0, ""},
	{errClientSlow, codeUploadInvalid, http.StatusRequestTimeout, 0, ""},
	{errClientGone, codeSizeInvalid, http.StatusBadRequest, 0, ""},
	{errLength, codeSizeInvalid, http.StatusBadRequest, 0, ""},

	{limit.ErrTooMany, codeTooManyRequests, http.StatusTooManyRequests, 1, ""},

	{bucket.ErrFull, codeUnavailable, http.StatusInsufficientStorage, 0, bucketFull},
	{bucket.ErrBusy, codeUnavailable, http.StatusServiceUnavailable, 5, bucketBusy},
	{bucket.ErrUnavailable, codeUnavailable, http.StatusServiceUnavailable, 2, bucketGone},
	{bucket.ErrTooLate, codeUnavailable, http.StatusServiceUnavailable, 2, bucketGone},
	{context.DeadlineExceeded, codeUnavailable, http.StatusServiceUnavailable, 2, bucketGone},
}

var internalError = row{code: codeUnknown, status: http.StatusInternalServerError, message: "internal error: " + lookIntoLog}

// classify finds the row of err. What a *blobstore.Error says of itself goes
// before what its cause is: an upload that is unknown because an object does
// not exist is an unknown upload.
func classify(err error) row {
	var e *blobstore.Error
	if errors.As(err, &e) {
		for _, r := range table {
			if errors.Is(e.Class, r.class) {
				return r
			}
		}
	}
	for _, r := range table {
		if errors.Is(err, r.class) {
			return r
		}
	}
	return internalError
}

// codeOf is err's code for metrics and traces; "" without an error.
func codeOf(status int, err error) string {
	switch {
	case err == nil:
		return ""
	case status == statusClientGone:
		return "CLIENT_GONE"
	}
	return classify(err).code
}

// An errorEntry is one error as the specification wants it.
type errorEntry struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Detail  any    `json:"detail,omitempty"`
}

// factMissing is the fact that lists the blobs which a manifest names and which
// are not there, separated by spaces.
const factMissing = "missing"

// Errors must stay readable, whatever was sent to provoke them.
const (
	maxMessage = 1024
	maxEntries = 32
)

// entries are what the client is told about err: one, or one for each blob that
// a manifest misses.
func (r row) entries(err error) []errorEntry {
	if r.message != "" {
		return []errorEntry{{Code: r.code, Message: r.message}}
	}
	message := err.Error()
	if len(message) > maxMessage {
		message = message[:maxMessage] + "…"
	}
	first := errorEntry{Code: r.code, Message: message}
	var e *blobstore.Error
	if !errors.As(err, &e) {
		return []errorEntry{first}
	}
	detail := map[string]string{}
	if e.Subject != "" {
		detail["subject"] = e.Subject
	}
	var missing []string
	for k, v := range e.Facts {
		if k == factMissing {
			missing = strings.Fields(v)
			continue
		}
		detail[k] = v
	}
	if len(missing) == 0 {
		if len(detail) > 0 {
			first.Detail = detail
		}
		return []errorEntry{first}
	}
	var out []errorEntry
	for _, d := range missing[:min(len(missing), maxEntries)] {
		one := blobstore.Error{Class: e.Class, Subject: d, Remedy: e.Remedy}
		out = append(out, errorEntry{r.code, one.Error(), map[string]string{"digest": d}})
	}
	return out
}

// entityHeaders describe a body that is not sent when there is an error.
var entityHeaders = []string{"Content-Length", "Content-Range", "Content-Type", "ETag", "Docker-Content-Digest", "Accept-Ranges"}

// writeError answers with err, unless the answer has begun.
func writeError(w *response, r *http.Request, to row, err error) {
	h := w.Header()
	for _, name := range entityHeaders {
		h.Del(name)
	}
	body, jerr := json.Marshal(map[string][]errorEntry{"errors": to.entries(err)})
	if jerr != nil { // cannot happen: strings only
		body = []byte(`{"errors":[{"code":"` + codeUnknown + `"}]}`)
	}
	if s := to.retryAfter(err); s > 0 {
		h.Set("Retry-After", strconv.Itoa(s))
	}
	if c := contentRangeOf(err); c != "" {
		h.Set("Content-Range", c)
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(to.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// failure makes an error of a class that this package has.
func failure(class error, subject, detail, remedy string) *blobstore.Error {
	return &blobstore.Error{Class: class, Subject: subject, Detail: detail, Remedy: remedy}
}

// rangeFailure is the error of a GET whose Range cannot be served; the answer
// says how large the blob is (RFC 9110 section 15.5.17).
func rangeFailure(header string, size int64, err error) error {
	e := failure(blobstore.ErrRange, fmt.Sprintf("%.100q", header), "of a blob of "+strconv.FormatInt(size, 10)+" bytes", "")
	e.Err = err
	e.Facts = map[string]string{"size": strconv.FormatInt(size, 10)}
	return e
}

func contentRangeOf(err error) string {
	var e *blobstore.Error
	if errors.As(err, &e) && e.Class == blobstore.ErrRange {
		if size := e.Facts["size"]; size != "" {
			return "bytes */" + size
		}
	}
	return ""
}
