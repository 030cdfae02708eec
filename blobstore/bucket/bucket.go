// Package bucket is the contract that Lamina's store has with an object store,
// and nothing more than the store uses: S3 and a folder on disk both fit it.
//
// A bucket maps keys to objects. An object is replaced whole or not at all: a
// reader sees the old bytes or the new ones, never a mixture, and once a write
// has been acknowledged it survives the loss of power and every later read,
// from any process, sees it (S3 has been strongly consistent since 2020).
//
// Keys are slash-separated segments of letters, digits and the characters
// ". _ - : = + ~"; no segment is empty, begins with a dot or has more than
// [MaxSegmentLength] bytes, and a key has at most [MaxKeyLength] bytes.
// [CheckKey] says what is wrong with a key; every call on an
// invalid key, and a listing of an invalid prefix, fails with ErrKey.
//
// No key is a folder of another: callers see to it that where there is an
// object "a/b" there is never one at "a". Some S3 servers keep folders, and
// refuse to store one of the two, or store it and do not list it. Package
// memory refuses it with ErrKey, so that tests find out.
//
// When its context ends a call returns soon, with an error that wraps the
// context's (context.Canceled, context.DeadlineExceeded); a write may or may
// not have happened then.
//
// Package buckettest proves an implementation or a decorator against this text.
package bucket

import (
	"context"
	"io"
	"iter"
	"time"
)

// MaxKeyLength is the longest key in bytes. S3 allows 1,024 with the prefix.
const MaxKeyLength = 900

// MaxSegmentLength is the longest segment of a key in bytes: what a file name
// may have, less a few.
const MaxSegmentLength = 250

// An ETag names one version of an object. It is opaque. Two versions with the
// same bytes may have the same ETag (S3 uses content hashes), so whoever needs
// to tell them apart puts something random into the bytes.
type ETag string

// Info describes an object.
type Info struct {
	Key  string
	Size int64 // bytes
	ETag ETag
	// Modified is when the bucket says the object was written, by the bucket's
	// clock. For a multipart upload some stores give its start.
	Modified time.Time
}

// A Condition must hold at the moment a write takes effect; the bucket checks
// it and the write as one step. The zero Condition always holds. At most one of
// IfAbsent and IfMatch is set.
type Condition struct {
	IfAbsent bool // no object has this key
	IfMatch  ETag // the object exists, at this version
	// NotAfter, when set, is the time after which the write must not take
	// effect, however late it arrives. Only a bucket whose Features say
	// RefusesLateWrites enforces it; others ignore it. Resolution: seconds.
	NotAfter time.Time
}

// Holds says whether the condition holds for a key at which there is an object
// of version at, or none. It does not look at NotAfter.
func (c Condition) Holds(exists bool, at ETag) bool {
	if c.IfAbsent {
		return !exists
	}
	return c.IfMatch == "" || exists && at == c.IfMatch
}

// A Reader reads objects. Safe for use by several goroutines at once.
type Reader interface {
	// Get opens n bytes of the object at key, beginning at byte off; n < 0
	// means up to the end, and a range that reaches past the end is cut there.
	// Info describes the whole object. The caller closes the reader, which may
	// be done early. The reader fails with an error, never with io.EOF, when
	// the bucket delivers fewer bytes than Info and the range promise.
	//
	// Errors: ErrNotExist; ErrRange when off is negative or lies behind the
	// end (off == size is an empty read, not an error); ErrUnavailable.
	Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, Info, error)

	// Stat describes the object at key without reading it.
	// Errors: ErrNotExist, ErrUnavailable.
	Stat(ctx context.Context, key string) (Info, error)
}

// A Writer writes objects whole. Safe for use by several goroutines at once.
type Writer interface {
	// Put stores exactly the size bytes that r has under key if cond holds. r
	// is sought to its beginning before it is read, which may happen several
	// times. On success the object is durable, and its Info is returned.
	//
	// Errors: ErrPrecondition when cond does not hold (with IfMatch, an absent
	// object is a mismatch too) — also possible when an earlier attempt of
	// this very call took effect and its answer was lost, so a caller that must
	// know reads the object again; ErrTooLate when NotAfter has passed;
	// ErrFull; ErrUnavailable, after which the write may or may not have
	// happened; io.ErrUnexpectedEOF when r is shorter than size, and ErrSize
	// when it is longer: nothing is stored then.
	Put(ctx context.Context, key string, r io.ReadSeeker, size int64, cond Condition) (Info, error)
}

// A Lister lists keys. Safe for use by several goroutines at once.
type Lister interface {
	// List yields the objects whose keys begin with prefix and are greater
	// than startAfter, in the order of their bytes, a page at a time. An object
	// that is there throughout is yielded once; one written or deleted
	// meanwhile may or may not be. After an error the sequence ends.
	// Errors: ErrUnavailable.
	List(ctx context.Context, prefix, startAfter string) iter.Seq2[Info, error]
}

// A Deleter deletes objects. Safe for use by several goroutines at once.
type Deleter interface {
	// Delete removes the objects at keys; one that is not there is no error.
	// Up to 1,000 keys are one call to the bucket. When some could not be
	// deleted the error names them, and the others are gone.
	// Errors: ErrUnavailable.
	Delete(ctx context.Context, keys ...string) error
}

// A Bucket is an object store. Features says which of the optional contracts
// [ConditionalDeleter], [Presigner], [Spooler] and NotAfter it keeps.
type Bucket interface {
	Reader
	Writer
	Lister
	Deleter
	Multiparter
	// Features never changes and does no I/O. What they are worth is for
	// package probe to find out.
	Features() Features
	// Clock returns the bucket's own time, to the second, as it was at some
	// moment during the call. Errors: ErrUnavailable.
	Clock(ctx context.Context) (time.Time, error)
	// String is the bucket's URL without credentials, for messages.
	String() string
}

// Features are the properties in which buckets differ.
type Features struct {
	// MinPart is the smallest size in bytes of a part of a multipart upload
	// other than the last; S3 says 5 MiB.
	MinPart int64
	// MaxParts is how many parts an upload may have; S3 says 10,000.
	MaxParts int
	// RefusesLateWrites says that Condition.NotAfter is enforced.
	RefusesLateWrites bool
	// Versioned says that the bucket keeps what is deleted or overwritten.
	Versioned bool
}

// A ConditionalDeleter is a Bucket that can delete one version of an object.
type ConditionalDeleter interface {
	// DeleteIf removes the object at key if it is at version etag. One that is
	// not there is no error: an earlier attempt of this call may have done it.
	// Errors: ErrPrecondition when it is at another version; ErrUnavailable,
	// after which it may or may not be gone.
	DeleteIf(ctx context.Context, key string, etag ETag) error
}

// A Presigner is a Bucket that lets others read without credentials.
type Presigner interface {
	// PresignGet returns a URL from which anyone may read the object at key
	// for the time given, at most 7 days. No I/O; the object need not exist.
	PresignGet(ctx context.Context, key string, expires time.Duration) (string, error)
}

// A LateWriter is a Bucket whose own server refuses late writes, so that a probe
// can send it one.
type LateWriter interface {
	// PrepareLate prepares to write data under key. What it returns sends the
	// write, whenever it is called and whatever the time is then. It fails with
	// ErrTooLate when the bucket refuses it because it arrived after notAfter.
	PrepareLate(ctx context.Context, key string, data []byte, notAfter time.Time) (send func(context.Context) error, err error)
}
