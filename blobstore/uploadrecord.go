package blobstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/record"
	"github.com/laminastore/lamina/reference"
)

// uploadRecord is what uploads/<ulid> holds: all that another server needs to
// go on with the upload.
//
// It names Next, where the next short piece goes, before anything is written
// there. Only a short piece at offset 0 goes to First, and that needs no change
// of the record at all: whoever finds an upload at offset 0 looks there, and so
// an upload that comes in one short piece costs a call less. The sweep of orphans
// finds the record of the blob that a piece may be by hashing it; data made of
// parts is published only after Digest is set here.
type uploadRecord struct {
	record.Header
	Repository reference.Repository `json:"repository"`
	Aborted    bool                 `json:"aborted,omitempty"`
	Ended      bool                 `json:"ended,omitempty"` // it has become a blob; the rest is for a sweep
	Algorithm  digest.Algorithm     `json:"algorithm"`
	Digest     digest.Digest        `json:"digest,omitempty"` // set when the parts are joined
	Size       int64                `json:"size,omitempty"`   // announced; 0: not known
	Offset     int64                `json:"offset"`
	Hash       []byte               `json:"hash,omitempty"` // state at Offset
	First      dataID               `json:"first"`
	Next       dataID               `json:"next"`
	// Data is what the parts make.
	Data      dataID        `json:"data"`
	Multipart string        `json:"multipart,omitempty"` // the bucket's id
	Parts     []bucket.Part `json:"parts,omitempty"`
	// Tail follows the parts: pieces that are too short for a part, together
	// shorter than one. Only a piece that is all there is may be longer.
	Tail []piece `json:"tail,omitempty"`
	// Left is what the upload has no use for any more: pieces that are in a part
	// by now, and names at which somebody was before us.
	Left []piece `json:"left,omitempty"`
}

// A piece is a data object, or bytes in the record itself.
//
// A piece at the beginning of an upload without parts may become a blob's data as
// it is, on any server that knows of it and whatever has become of the upload
// since: only the sweep deletes it. Any other never does.
type piece struct {
	Data   dataID `json:"data,omitempty"`
	Inline []byte `json:"inline,omitempty"`
	Size   int64  `json:"size"`
	Alone  bool   `json:"alone,omitempty"` // nothing is before it
	// Check is the CRC-32C of the data, plus 1 so that 0 means: not known. The
	// bytes were hashed for the blob's digest when they came, and are read
	// again to become part of it: what is read must be what came.
	Check uint64 `json:"check,omitempty"`
	// From is where in Data the piece begins: what is before it has been copied
	// into parts.
	From int64 `json:"from,omitempty"`

	tags []byte // the voucher's, of all of Data, if this process has written it
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errPieceChanged says that a piece does not have the bytes that were hashed.
var errPieceChanged = errors.New("the bytes are not those that were written")

func checkOf(b []byte) uint64 { return uint64(crc32.Checksum(b, castagnoli)) + 1 }

func tailSize(tail []piece) (n int64) {
	for _, p := range tail {
		n += p.Size
	}
	return n
}

// deletable returns the data of those pieces that go with the upload, and whether
// these are all that have any.
func deletable(pieces []piece) (ids []dataID, all bool) {
	all = true
	for _, p := range pieces {
		switch {
		case p.Data == "":
		case p.Alone:
			all = false
		default:
			ids = append(ids, p.Data)
		}
	}
	return ids, all
}

// leave notes that these pieces are of no use any more.
func (r *uploadRecord) leave(pieces []piece) {
	r.Left = slices.Clip(r.Left)
	for _, p := range pieces {
		if p.Data != "" {
			r.Left = append(r.Left, piece{Data: p.Data, Size: p.Size, Alone: p.Alone})
		}
	}
}

// names are all data objects that the record names, each once.
func (r *uploadRecord) names() []dataID {
	ids := []dataID{r.First, r.Next, r.Data}
	for _, p := range slices.Concat(r.Tail, r.Left) {
		ids = append(ids, p.Data)
	}
	slices.Sort(ids)
	return slices.DeleteFunc(slices.Compact(ids), func(id dataID) bool { return id == "" })
}

// untouched says whether the record has not been changed since the start.
func (r *uploadRecord) untouched() bool {
	return r.Offset == 0 && r.Multipart == "" && len(r.Tail) == 0
}

// readPiece reads a piece into b, which has its size. Errors: bucket.ErrUnavailable
// also when the bytes have changed, be it on the way or where they are.
func (s *Store) readPiece(ctx context.Context, p piece, b []byte) error {
	if p.Inline != nil {
		copy(b, p.Inline)
		return nil
	}
	if recent, ok := s.recent.Get(p.Data); ok && int64(len(recent)) >= p.From+p.Size {
		copy(b, recent[p.From:])
		return nil
	}
	src, _, err := s.bucket.Get(ctx, dataKey(p.Data), p.From, p.Size)
	if err != nil {
		return err
	}
	defer src.Close()
	if _, err = io.ReadFull(src, b); err != nil {
		return err
	}
	if p.Check != 0 && checkOf(b) != p.Check || p.tags != nil && !s.voucher.vouchesAll(p.tags, p.From/chunkSize, b) {
		return fmt.Errorf("read %s: %w: %w", dataKey(p.Data), bucket.ErrUnavailable, errPieceChanged)
	}
	return nil
}

// remember keeps a copy of data that was just written, for whoever needs it at
// once, and returns it; nil when it is too large for that.
func (s *Store) remember(id dataID, b []byte) []byte {
	if int64(len(b)) > s.mostRemembered() {
		return nil
	}
	b = bytes.Clone(b)
	s.recent.Put(id, b, int64(len(b)))
	return b
}

func (s *Store) mostRemembered() int64 { return s.options.RecentBytes / 3 }

// readTail reads all pieces into b, which has their size.
func (s *Store) readTail(ctx context.Context, tail []piece, b []byte) error {
	for _, p := range tail {
		if err := s.readPiece(ctx, p, b[:p.Size]); err != nil {
			return err
		}
		b = b[p.Size:]
	}
	return nil
}

// deadline is until when what the upload stores may be published.
func (s *Store) deadline(id dataID) (time.Time, error) {
	t, err := idTime(id)
	return t.Add(s.options.PublishWithin), err
}
