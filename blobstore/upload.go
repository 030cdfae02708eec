package blobstore

import (
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/record"
	"github.com/laminastore/lamina/reference"
)

// An Upload is a blob on its way in. It lives in the bucket: any server goes on
// with it by its ID, for Options.PublishWithin. Its methods may be called by
// several goroutines; they take turns.
type Upload struct {
	store   *Store
	session *session
}

// UploadOptions say what is known when an upload starts. All may be zero.
type UploadOptions struct {
	// Digest the bytes will have.
	Digest digest.Digest
	// Algorithm of the digest, if only that is known: sha256 by default. An
	// upload that ends with a digest of another algorithm is read back once.
	Algorithm digest.Algorithm
	// Size in bytes, if known.
	Size int64
}

// StartUpload begins an upload to repo.
// Errors: ErrDigestUnsupported, ErrTooLarge, bucket.ErrFull, bucket.ErrUnavailable.
func (s *Store) StartUpload(ctx context.Context, repo reference.Repository, o UploadOptions) (*Upload, error) {
	if o.Digest != "" {
		o.Algorithm = o.Digest.Algorithm()
	}
	if o.Algorithm == "" {
		o.Algorithm = digest.SHA256
	}
	h, err := newHash(o.Algorithm)
	if err != nil {
		return nil, err
	}
	if err := s.tooLarge(o.Digest, o.Size); err != nil {
		return nil, err
	}
	ss := newSession(s.NewID())
	ss.hash = h
	r := uploadRecord{
		Repository: repo, Algorithm: o.Algorithm, Size: o.Size,
		First: s.NewID(), Data: s.NewID(),
	}
	if err := s.save(ctx, ss, r); err != nil {
		return nil, err
	}
	uploadCreated.Hit()
	s.uploads.Put(ss.id, ss, 1)
	return &Upload{s, ss}, nil
}

// tooLarge says whether subject may not have size bytes.
func (s *Store) tooLarge(subject any, size int64) error {
	if most := s.options.MaxBlob; most > 0 && size > most {
		return fail(ErrTooLarge, subject, "more than the %d bytes that a blob may have here", most).remedy("whoever runs the server sets --max-blob")
	}
	return nil
}

// ResumeUpload finds an upload that any server has started in repo. Offset may
// be behind what another server has stored since; Refresh asks.
// Errors: ErrUploadUnknown, bucket.ErrUnavailable.
func (s *Store) ResumeUpload(ctx context.Context, repo reference.Repository, id string) (*Upload, error) {
	if _, err := ulid.ParseStrict(id); err != nil {
		return nil, unknownUpload(id)
	}
	ss, ok := s.uploads.Get(id)
	if !ok {
		ss = newSession(id)
		if err := s.load(ctx, ss); err != nil {
			return nil, err
		}
		s.uploads.Put(id, ss, 1)
	}
	if err := s.lock(ctx, ss); err != nil {
		return nil, err
	}
	defer ss.unlock()
	if ss.record.Repository != repo {
		return nil, unknownUpload(id)
	}
	return &Upload{s, ss}, nil
}

// ID names the upload: a ULID.
func (u *Upload) ID() string { return u.session.id }

// Started is when the upload began, and Expires until when it must be finished.
func (u *Upload) Started() time.Time {
	t, _ := idTime(u.session.id)
	return t
}

// Expires is the time after which the upload can no longer be finished.
func (u *Upload) Expires() time.Time { return u.Started().Add(u.store.options.PublishWithin) }

// Refresh asks the bucket how far the upload has come, on whatever server, and
// returns the bytes that are durable. Errors: ErrUploadUnknown, ErrUploadBusy,
// bucket.ErrUnavailable.
func (u *Upload) Refresh(ctx context.Context) (int64, error) {
	if err := u.store.lock(ctx, u.session); err != nil {
		return 0, err
	}
	defer u.session.unlock()
	err := u.store.load(ctx, u.session)
	return u.session.record.Offset, err
}

// CatchUp is Refresh for a caller that has been told offset: the bucket is asked
// only if this server does not know of as many bytes. Another one has then
// stored what came last, and bytes that belong "where the upload is" would be
// taken for earlier ones. Errors: as Refresh.
func (u *Upload) CatchUp(ctx context.Context, offset int64) error {
	if err := u.store.lock(ctx, u.session); err != nil {
		return err
	}
	defer u.session.unlock()
	if offset <= u.session.record.Offset {
		return nil
	}
	return u.store.load(ctx, u.session)
}

// Append stores what r delivers at offset off; -1 means where the upload is. It
// returns the new offset, up to which all is durable; that is so too when it
// fails, be it because r did or the bucket.
//
// Errors: ErrUploadOffset, with the offset to go on at in the fact "offset";
// ErrUploadUnknown; ErrUploadBusy; ErrTooLarge; ErrSizeMismatch when the upload
// grows beyond its announced size; bucket.ErrFull; bucket.ErrUnavailable;
// whatever r returns.
func (u *Upload) Append(ctx context.Context, off int64, r io.Reader) (int64, error) {
	if err := u.store.lock(ctx, u.session); err != nil {
		return 0, err
	}
	defer u.session.unlock()
	if err := u.at(ctx, off); err != nil {
		return u.session.record.Offset, err
	}
	a, err := newAppender(u.store, u.session)
	if err != nil {
		return u.session.record.Offset, err
	}
	defer a.close()
	if off < 0 { // who sends an upload in chunks says where each belongs
		a.firstMost = checkpoint * u.store.options.PartSize
	}
	err = a.readFrom(ctx, r)
	if serr := a.store(ctx, err); err == nil || errors.Is(serr, bucket.ErrPrecondition) {
		err = serr
	}
	if errors.Is(err, bucket.ErrPrecondition) {
		err = u.overtaken(ctx)
	}
	err = u.vanished(ctx, err)
	u.doubt(err)
	if u.session.ended {
		return 0, err
	}
	return u.session.record.Offset, err
}

// vanished looks why something of the upload is not in the bucket any more, if that
// is what err says: a sweep has given up an upload that has become too old while
// its bytes came.
func (u *Upload) vanished(ctx context.Context, err error) error {
	if !errors.Is(err, bucket.ErrNoUpload) && !gone(err) || errors.Is(err, ErrUploadUnknown) || u.session.ended {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	if lerr := u.store.load(ctx, u.session); errors.Is(lerr, ErrUploadUnknown) {
		return lerr
	}
	if xerr := u.store.expired(u.session); xerr != nil {
		return xerr
	}
	return err
}

// doubt forgets what this process knows of an upload after an error that may be
// the fault of that: the next request reads it anew.
func (u *Upload) doubt(err error) {
	if errors.Is(err, errPieceChanged) {
		u.store.uploads.Remove(u.session.id)
	}
}

// at checks that the upload is at off, asking the bucket before it says no.
func (u *Upload) at(ctx context.Context, off int64) error {
	if off < 0 || off == u.session.record.Offset {
		return nil
	}
	if err := u.store.load(ctx, u.session); err != nil {
		return err
	}
	if off != u.session.record.Offset {
		return u.offsetError(off)
	}
	return nil
}

func (u *Upload) offsetError(off int64) error {
	have := u.session.record.Offset
	e := fail(ErrUploadOffset, u.session.id, "got bytes from %d, have %d", off, have).remedy("go on at " + strconv.FormatInt(have, 10))
	e.Facts = map[string]string{"offset": strconv.FormatInt(have, 10)}
	return e
}

// overtaken is the error for a write that another server's came before.
func (u *Upload) overtaken(ctx context.Context) error {
	before := u.session.record.Offset
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	if err := u.store.load(ctx, u.session); err != nil {
		return err
	}
	return u.offsetError(before)
}

// Abort gives the upload up. Errors: ErrUploadUnknown, ErrUploadBusy,
// bucket.ErrUnavailable.
func (u *Upload) Abort(ctx context.Context) error {
	s, ss := u.store, u.session
	if err := s.lock(ctx, ss); err != nil {
		return err
	}
	defer ss.unlock()
	return s.abort(ctx, ss)
}

func (s *Store) abort(ctx context.Context, ss *session) error {
	before := ss.version
	r, v, err := record.Update(ctx, s.records, uploadKey(ss.id), time.Time{}, func(r *uploadRecord, exists bool) (bool, error) {
		if !exists || r.Aborted || r.Ended {
			return false, unknownUpload(ss.id)
		}
		ss.shared = ss.shared || r.Rev != before.Rev
		r.Aborted = true
		return true, nil
	})
	if err != nil {
		return err
	}
	uploadAborted.Hit()
	// What this session knows of, and what the record says by now.
	r.Tail, r.Left = slices.Concat(r.Tail, ss.record.Tail), slices.Concat(r.Left, ss.record.Left)
	ss.record, ss.version = r, v
	l := ss.leftover("", "", true)
	if l.multipart != "" { // its parts take room that somebody may wait for
		if err := s.bucket.AbortMultipart(ctx, dataKey(r.Data), r.Multipart); err != nil {
			s.log.Warn("parts of an upload stay until the next collection", "upload", ss.id, "error", err)
			l.stays = true
		}
		l.multipart = ""
	}
	s.end(ss, l)
	return nil
}
