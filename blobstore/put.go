package blobstore

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/record"
	"github.com/laminastore/lamina/reference"
)

// Put stores what r delivers as blob d of repo. size is its length in bytes, -1
// if it is not known. A blob of at most MaxInline bytes takes two calls to the
// bucket.
// Errors: ErrDigestMismatch, ErrSizeMismatch, ErrDigestUnsupported, ErrTooLarge,
// bucket.ErrFull, bucket.ErrUnavailable, whatever r returns.
func (s *Store) Put(ctx context.Context, repo reference.Repository, d digest.Digest, size int64, r io.Reader) (Blob, error) {
	if _, err := newHash(d.Algorithm()); err != nil {
		return Blob{}, err
	}
	first := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(first)
	n, err := 0, error(nil)
	for n <= MaxInline && err == nil { // io.ReadFull would hide that r was cut off
		var k int
		k, err = r.Read(first[n : MaxInline+1])
		n += k
	}
	switch {
	case err == io.EOF && n <= MaxInline:
		if size >= 0 && int64(n) != size {
			return Blob{}, fail(ErrSizeMismatch, d, "%d bytes came, %d were announced", n, size).remedy("send all of it")
		}
		m, err := small(d, first[:n])
		if err != nil {
			return Blob{}, err
		}
		b, _, err := s.publish(ctx, repo, d, m)
		return b, err
	case err != nil && err != io.EOF:
		return Blob{}, err
	}
	u, err := s.StartUpload(ctx, repo, UploadOptions{Digest: d, Size: max(size, 0)})
	if err != nil {
		return Blob{}, err
	}
	b, err := u.Finish(ctx, 0, io.MultiReader(bytes.NewReader(first[:n]), r), d)
	if err != nil && !errors.Is(err, ErrUploadUnknown) {
		// Nobody knows this upload's name to go on with it.
		if aerr := u.Abort(context.WithoutCancel(ctx)); aerr != nil && !errors.Is(aerr, ErrUploadUnknown) {
			s.log.Warn("an upload that failed stays until the next collection", "upload", u.ID(), "error", aerr)
		}
	}
	return b, err
}

func small(d digest.Digest, b []byte) (made, error) {
	if got := d.Algorithm().FromBytes(b); got != d {
		return made{}, mismatch(d, got, int64(len(b)))
	}
	b = bytes.Clone(b)
	return made{size: int64(len(b)), inline: b, bytes: b}, nil
}

// PutSmall stores b, a manifest, as blob d and promises it. It makes no
// repository hold it: the link of a manifest does that.
// Errors: ErrDigestMismatch, bucket.ErrFull, bucket.ErrUnavailable.
func (s *Store) PutSmall(ctx context.Context, d digest.Digest, b []byte) (Blob, error) {
	m, err := small(d, b)
	if err != nil {
		return Blob{}, err
	}
	var own leftover // of a record that leads to the data
	if len(b) > MaxInline {
		m.inline, m.data = nil, s.NewID()
		if own, err = s.announce(ctx, m.data, d); err != nil {
			return Blob{}, err
		}
		if err := s.putData(ctx, m.data, b); err != nil {
			return Blob{}, err
		}
	}
	r, err := s.publishRecord(ctx, "", d, m)
	if err != nil {
		return Blob{}, err
	}
	if own.stays = !r.settled(m); own.id != "" {
		s.reaper.add(own)
	}
	return s.Promise(ctx, d)
}

// announce writes an upload's record for data that comes in one piece and will
// be the blob d. Nobody goes on with such an upload; it leads a sweep to the data.
func (s *Store) announce(ctx context.Context, data dataID, d digest.Digest) (leftover, error) {
	l := leftover{id: s.NewID(), blob: d}
	deadline, err := s.deadline(data)
	if err != nil {
		return l, err
	}
	r := uploadRecord{Algorithm: d.Algorithm(), Digest: d, Data: data}
	l.at, err = record.Create(ctx, s.records, uploadKey(l.id), &r, deadline)
	return l, err
}
