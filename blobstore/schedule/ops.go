package schedule

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/reference"
)

// What clients do through one process. Each operation tells the judge what it is
// about, and what was acknowledged.

// expected says whether an operation may end with err; what else it may not.
func (p *Process) expected(what string, err error, may ...error) {
	if err == nil || cut(err) || errors.Is(err, bucket.ErrTooLate) { // servers say "try again" for these
		return
	}
	for _, e := range may {
		if errors.Is(err, e) {
			return
		}
	}
	p.world.judge.wrong("%s on %s: %v", what, p.Name, err)
}

// Upload stores a blob in a repository.
func (p *Process) Upload(ctx context.Context, repo reference.Repository, b libraryBlob) error {
	began := time.Now()
	j := p.world.judge
	done := j.comesBy(repo, b.digest)
	defer done()
	got, err := p.Store.Put(ctx, repo, b.digest, int64(len(b.bytes)), bytes.NewReader(b.bytes))
	if err == nil {
		j.promise(p, got, false)
		j.holds(repo, got)
	}
	p.uploaded("upload of "+b.name, err, began)
	return err
}

// uploaded judges the end of an upload that began at that time. One that may no
// longer be published may find its pieces deleted.
func (p *Process) uploaded(what string, err error, began time.Time) {
	if errors.Is(err, bucket.ErrNotExist) && time.Since(began) > PublishWithin {
		return
	}
	if errors.Is(err, blobstore.ErrUploadUnknown) {
		p.world.judge.count("publishing refused")
	}
	p.expected(what, err, blobstore.ErrUploadUnknown, blobstore.ErrBlobUnknown, blobstore.ErrConflict, blobstore.ErrUploadOffset)
}

// UploadByTwo begins an upload here and ends it on another server.
func (p *Process) UploadByTwo(ctx context.Context, other *Process, repo reference.Repository, b libraryBlob, cutAt int) error {
	began := time.Now()
	j := p.world.judge
	done := j.comesBy(repo, b.digest)
	defer done()
	u, err := p.Store.StartUpload(ctx, repo, blobstore.UploadOptions{Size: int64(len(b.bytes))})
	if err == nil {
		_, err = u.Append(ctx, 0, bytes.NewReader(b.bytes[:cutAt]))
	}
	if err != nil {
		p.uploaded("append to "+b.name, err, began)
		return err
	}
	for range 2 { // a client whose request was cut off sends it again
		var v *blobstore.Upload
		var off int64
		if v, err = other.Store.ResumeUpload(ctx, repo, u.ID()); err == nil {
			if off, err = v.Refresh(ctx); err == nil {
				var got blobstore.Blob
				got, err = v.Finish(ctx, off, bytes.NewReader(b.bytes[off:]), b.digest)
				if err == nil {
					j.promise(other, got, false)
					j.holds(repo, got)
				}
			}
		}
		if err == nil || !cut(err) || ctx.Err() != nil {
			break
		}
	}
	other.uploaded("end of the upload of "+b.name, err, began)
	return err
}

// Abandon begins an upload and gives it up, or leaves it.
func (p *Process) Abandon(ctx context.Context, repo reference.Repository, b libraryBlob, abort bool) {
	began := time.Now()
	u, err := p.Store.StartUpload(ctx, repo, blobstore.UploadOptions{})
	if err == nil {
		_, err = u.Append(ctx, 0, bytes.NewReader(b.bytes))
	}
	if err == nil && abort {
		err = u.Abort(ctx)
	}
	p.uploaded("upload that is given up", err, began)
}

// Push is what a client does: asks for each blob, sends what is missing, and
// puts the manifest.
func (p *Process) Push(ctx context.Context, repo reference.Repository, i libraryImage, tags ...reference.Tag) error {
	for _, b := range i.blobs {
		err := p.Stat(ctx, repo, b.digest)
		if errors.Is(err, blobstore.ErrBlobUnknown) {
			err = p.Upload(ctx, repo, b)
		}
		if err != nil {
			return err
		}
	}
	return p.Put(ctx, repo, i, tags...)
}

// Put stores a manifest.
func (p *Process) Put(ctx context.Context, repo reference.Repository, i libraryImage, tags ...reference.Tag) error {
	j := p.world.judge
	var dones []func(digest.Digest, bool)
	for _, tag := range tags {
		dones = append(dones, j.writes(repo, tag))
	}
	ended := j.puts(repo, i.digest)
	_, err := p.Images.Put(ctx, repo, images.PutOptions{MediaType: i.mediaType, Bytes: i.bytes, Tags: tags})
	ended(err)
	for _, done := range dones {
		done(i.digest, err == nil)
	}
	p.expected("put of "+i.name, err, blobstore.ErrManifestBlobUnknown, blobstore.ErrConflict, blobstore.ErrUploadUnknown)
	if errors.Is(err, blobstore.ErrManifestBlobUnknown) {
		j.count("manifest refused")
	}
	return err
}

// Tag points a tag at a manifest.
func (p *Process) Tag(ctx context.Context, repo reference.Repository, tag reference.Tag, i libraryImage) error {
	done := p.world.judge.writes(repo, tag)
	err := p.Images.Tag(ctx, repo, tag, i.digest, images.Expect{})
	done(i.digest, err == nil)
	p.expected("tag of "+i.name, err, blobstore.ErrManifestUnknown, blobstore.ErrConflict)
	return err
}

// Untag removes a tag.
func (p *Process) Untag(ctx context.Context, repo reference.Repository, tag reference.Tag) error {
	done := p.world.judge.writes(repo, tag)
	err := p.Images.Untag(ctx, repo, tag)
	done("", false)
	p.expected("untag", err, blobstore.ErrManifestUnknown, blobstore.ErrConflict)
	return err
}

// Delete removes a manifest.
func (p *Process) Delete(ctx context.Context, repo reference.Repository, i libraryImage) error {
	done := p.world.judge.deletes(repo, i.digest)
	err := p.Images.Delete(ctx, repo, i.digest)
	done(err)
	p.expected("delete of "+i.name, err, blobstore.ErrManifestUnknown)
	if err == nil {
		p.world.judge.count("manifest deleted")
	}
	return err
}

// Stat asks for a blob, and is promised it.
func (p *Process) Stat(ctx context.Context, repo reference.Repository, d digest.Digest) error {
	before := p.world.judge.life(d)
	b, err := p.Store.Stat(ctx, repo, d)
	if err == nil {
		p.world.judge.wall(repo, d, before)
		p.world.judge.promise(p, b, true)
	}
	p.expected("stat", err, blobstore.ErrBlobUnknown)
	return err
}

// Mount makes a repository hold what another one holds.
func (p *Process) Mount(ctx context.Context, repo, from reference.Repository, b libraryBlob) error {
	// Only if the other one holds it: which the mount finds out.
	holds, err := p.Store.HoldsBlob(ctx, from, b.digest)
	if err != nil || !holds {
		return err
	}
	done := p.world.judge.comesBy(repo, b.digest)
	defer done()
	got, err := p.Store.Mount(ctx, repo, from, b.digest)
	if err == nil {
		p.world.judge.promise(p, got, false)
		p.world.judge.holds(repo, got)
	}
	p.expected("mount of "+b.name, err, blobstore.ErrBlobUnknown)
	return err
}

// Unlink makes a repository hold a blob no longer.
func (p *Process) Unlink(ctx context.Context, repo reference.Repository, b libraryBlob) error {
	defer p.world.judge.unlinks(repo, b.digest)()
	err := p.Store.Unlink(ctx, repo, b.digest)
	p.expected("unlink of "+b.name, err, blobstore.ErrBlobUnknown)
	return err
}

// Read reads a blob to its end.
func (p *Process) Read(ctx context.Context, repo reference.Repository, b libraryBlob) error {
	began := time.Now()
	ctx = context.WithValue(ctx, readingKey{}, began)
	r, err := p.Store.Open(ctx, repo, b.digest, 0, -1)
	if err == nil {
		_, err = io.Copy(io.Discard, r)
		r.Close()
	}
	p.read("read of "+b.name, err, began, blobstore.ErrBlobUnknown)
	return err
}

// read judges the end of a read. One that took longer than the drain may have
// met what was deleted meanwhile.
func (p *Process) read(what string, err error, began time.Time, may ...error) {
	if damage(err) && time.Since(began) > longestRead {
		p.world.judge.count("read slower than the drain")
		return
	}
	p.expected(what, err, may...)
	if err == nil {
		p.world.judge.count("blob read")
	}
}

// Pull reads an image by its digest, with all that it names.
func (p *Process) Pull(ctx context.Context, repo reference.Repository, i libraryImage) error {
	began := time.Now()
	m, err := p.Images.Get(ctx, repo, reference.Locator{Digest: i.digest})
	p.read("pull of "+i.name, err, began, blobstore.ErrManifestUnknown)
	if err != nil {
		return err
	}
	if !bytes.Equal(m.Bytes, i.bytes) {
		p.world.judge.wrong("pull of %s: other bytes came", i.name)
	}
	for _, b := range i.blobs {
		began := time.Now()
		ctx := context.WithValue(ctx, readingKey{}, began)
		rd, err := p.Store.OpenAny(ctx, b.digest, 0, -1)
		if err == nil {
			_, err = io.Copy(io.Discard, rd)
			rd.Close()
		}
		// The manifest may be deleted meanwhile, and then what it named goes.
		p.read("pull of "+b.name, err, began, blobstore.ErrBlobUnknown)
		if err != nil {
			return err
		}
	}
	return nil
}
