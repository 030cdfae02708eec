package bucket

import (
	"context"
	"io"
)

// A Spooler is a Bucket on a disk of its own. Bytes can wait there for their
// name, which in other buckets they would do in memory.
type Spooler interface {
	// Spool begins a spool, empty, which the caller closes. What is in it is
	// nobody else's to see, and goes with the process.
	// Errors: ErrFull, ErrUnavailable.
	Spool(ctx context.Context) (Spool, error)
}

// A Spool takes bytes in one after the other, and then gives them a name as
// they are, without moving them: that of an object, or those of parts of a
// multipart upload. It is for one goroutine.
type Spool interface {
	// Write appends b. Nothing is durable by it. After an error the bytes from
	// where this call began are not there. Errors: ErrFull, ErrUnavailable;
	// ErrNoUpload and ErrPart as Parts.
	io.Writer

	// ReadAt reads what has been written.
	io.ReaderAt

	// Put makes the bytes the object at key if cond holds, as Writer.Put does,
	// with its errors. After one of these it may be called again, and after
	// success or Parts neither it nor Write nor Parts may.
	Put(ctx context.Context, key string, cond Condition) (Info, error)

	// Parts makes of all bytes that are not parts yet, but fewer than size
	// behind the last of them, parts of size bytes of a multipart upload to key,
	// which the first call begins; with last, those behind are a part too, and
	// nothing may be written any more. It returns the upload's id and the new
	// parts, which are durable: as if by Multiparter.PutPart, and others may go
	// on with them. size and key are the same in all calls.
	//
	// Errors: ErrFull, ErrUnavailable; ErrNoUpload when somebody has ended the
	// upload; ErrPart when there are too many parts, or somebody else has put
	// one of these numbers. After the first call to succeed the upload is the
	// caller's to complete or abort, once the spool is closed.
	Parts(ctx context.Context, key string, size int64, last bool) (id string, parts []Part, err error)

	// Close frees the bytes that have got no name. They need not be closed to
	// be freed when the process ends.
	io.Closer
}
