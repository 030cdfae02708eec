package bucket

import (
	"context"
	"io"
	"iter"
	"time"
)

// A Part is one part of a multipart upload, as the bucket acknowledged it.
type Part struct {
	Number int    `json:"n"` // from 1
	Size   int64  `json:"size"`
	ETag   ETag   `json:"etag"`
	Check  string `json:"check,omitempty"` // what the bucket wants back on completion (S3: CRC32C, base64)
}

// A MultipartInfo describes a multipart upload that has been neither completed
// nor aborted.
type MultipartInfo struct {
	ID string
	// Started is when it was created, by the bucket's clock.
	Started time.Time
}

// A Multiparter writes an object in parts, which may be sent in any order, at
// once, by several processes. Nothing is visible under the key until Complete.
type Multiparter interface {
	// CreateMultipart begins an upload to key and returns its id, which is
	// valid with this key, in any process, until Complete or Abort.
	// Errors: ErrFull, ErrUnavailable.
	CreateMultipart(ctx context.Context, key string) (id string, err error)

	// PutPart stores exactly size bytes from r as part number n (1 to
	// Features.MaxParts), replacing what that number had. It is durable when
	// acknowledged. Errors: ErrNoUpload, ErrPart when n is out of range,
	// ErrFull, ErrUnavailable, and about r as in Writer.Put.
	PutPart(ctx context.Context, key, id string, n int, r io.ReadSeeker, size int64) (Part, error)

	// CompleteMultipart joins the parts, given in ascending order, to the
	// object at key if cond holds. NotAfter is not enforced here: an object
	// made of parts is data, and data names are never used twice. A completed
	// upload is gone; but some stores (S3) let the same completion succeed
	// again for a while, which changes nothing.
	// Errors: ErrNoUpload (it may have been completed by an earlier attempt
	// whose answer was lost: Stat the key), ErrPrecondition, ErrFull,
	// ErrUnavailable, ErrPart when a part is missing, is not the one named, or
	// is smaller than Features.MinPart and not the last. After all of these but
	// ErrNoUpload and ErrUnavailable the upload is as it was.
	CompleteMultipart(ctx context.Context, key, id string, parts []Part, cond Condition) (Info, error)

	// AbortMultipart gives up an upload and frees its parts; one that is not
	// there is no error. Errors: ErrUnavailable.
	AbortMultipart(ctx context.Context, key, id string) error

	// ListMultiparts yields the uploads of this very key, in no order. One that
	// is open throughout is yielded once; one created, completed or aborted
	// meanwhile may or may not be. After an error the sequence ends.
	// Errors: ErrUnavailable.
	ListMultiparts(ctx context.Context, key string) iter.Seq2[MultipartInfo, error]
}
