package rpc

import (
	"context"
	"errors"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/images"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/reference"
	"github.com/laminastore/lamina/server/access"
	"github.com/laminastore/lamina/server/cursor"
)

// An imagePlace is an entry of a list of images: a tag, or a manifest that no
// tag names. In a repository tags come first.
type imagePlace struct {
	Repository reference.Repository `json:"r"`
	Tag        reference.Tag        `json:"t,omitempty"`
	Digest     digest.Digest        `json:"d,omitempty"`
	// Sealed, in place of all that, is a repository that the caller may not see.
	Sealed string `json:"s,omitempty"`
}

func (p imagePlace) check() error {
	if p.Sealed != "" {
		return nil // opening it shows
	}
	if _, err := reference.ParseRepository(string(p.Repository)); err != nil {
		return err
	}
	if p.Digest != "" {
		_, err := reference.ParseDigest(string(p.Digest))
		return err
	}
	_, err := reference.ParseTag(string(p.Tag))
	return err
}

// pageFull ends a listing.
type pageFull struct{}

func (pageFull) Error() string { return "page is full" }

// An imageList is one page on its way.
type imageList struct {
	images   *images.Images
	caller   *access.Caller
	untagged bool
	size     int

	found  []*pb.Image
	last   imagePlace // where the next page goes on
	hidden int        // repositories that were looked at and are not the caller's
}

func (s *imageService) List(ctx context.Context, in *pb.ImagesListRequest) (*pb.ImagesListResponse, error) {
	size, err := pageSize(in.PageSize)
	if err != nil {
		return nil, err
	}
	if len(in.Prefix) > reference.MaxRepositoryLength || strings.Trim(in.Prefix, nameChars[1:]) != "" || strings.IndexAny(in.Prefix, "-./_") == 0 {
		return nil, argument("prefix", "no repository's name begins with %q", clip(in.Prefix, 64))
	}
	of := callKey(pb.Images_List_FullMethodName, in.Prefix, in.Untagged)
	at, resume, err := decodeToken(in.PageToken, of, imagePlace.check)
	if err != nil {
		return nil, err
	}
	l := &imageList{images: s.images, caller: access.From(ctx), untagged: in.Untagged, size: size}
	after := justBefore(in.Prefix)
	switch {
	case !resume:
	case at.Sealed != "":
		if after, err = s.cursors.Open(ctx, at.Sealed); errors.Is(err, cursor.ErrInvalid) {
			err = argument("page_token", "%v", err)
		}
	case !l.caller.Lists(at.Repository): // taken away since
		after = string(at.Repository)
	default:
		if err = l.repository(ctx, at.Repository, at); err == nil {
			after = string(at.Repository)
		}
	}
	if err == nil {
		err = l.repositories(ctx, in.Prefix, after)
	}
	out := &pb.ImagesListResponse{Images: l.found}
	if err == (pageFull{}) {
		if l.last, err = s.sealed(ctx, l.last); err != nil {
			return nil, err
		}
		out.NextPageToken, err = encodeToken(of, l.last)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// sealed is a place as it may be told.
func (s *imageService) sealed(ctx context.Context, p imagePlace) (imagePlace, error) {
	if p.Sealed == "" {
		return p, nil
	}
	sealed, err := s.cursors.Seal(ctx, p.Sealed)
	return imagePlace{Sealed: sealed}, err
}

// nameChars are what names are made of, in the order of their bytes, after one
// that comes before them all.
const nameChars = "+-./0123456789_abcdefghijklmnopqrstuvwxyz"

// justBefore is a string that is less than prefix, which has only nameChars,
// and greater than every name that is: '~' comes after all that names are made
// of.
func justBefore(prefix string) string {
	if prefix == "" || prefix == "0" { // no name begins with less than a 0
		return ""
	}
	last := len(prefix) - 1
	return prefix[:last] + string(nameChars[strings.IndexByte(nameChars, prefix[last])-1]) + "~"
}

func (l *imageList) repositories(ctx context.Context, prefix, after string) error {
	for repo, err := range l.images.Repositories(ctx, after) {
		if err != nil {
			return err
		}
		if !strings.HasPrefix(string(repo), prefix) {
			break
		}
		if !l.caller.Lists(repo) {
			if l.hidden++; l.hidden == maxLooked {
				l.last = imagePlace{Sealed: string(repo)}
				return pageFull{}
			}
			continue
		}
		if err := l.repository(ctx, repo, imagePlace{}); err != nil {
			return err
		}
	}
	return nil
}

// repository lists what comes after a place in repo. One that has been deleted
// meanwhile has nothing.
func (l *imageList) repository(ctx context.Context, repo reference.Repository, after imagePlace) error {
	tagged := map[digest.Digest]bool{}
	var from reference.Tag
	if !l.untagged { // else all tags are looked at, to know what none names
		from = after.Tag
	}
	for t, err := range l.images.Tags(ctx, repo, from) {
		if errors.Is(err, blobstore.ErrRepositoryUnknown) {
			return nil
		}
		if err != nil {
			return err
		}
		tagged[t.Digest] = l.untagged
		if after.Digest != "" || t.Tag <= after.Tag {
			continue
		}
		if err := l.add(imagePlace{Repository: repo, Tag: t.Tag}, t.Summary); err != nil {
			return err
		}
	}
	if !l.untagged {
		return nil
	}
	for m, err := range l.images.Manifests(ctx, repo, after.Digest) {
		if errors.Is(err, blobstore.ErrRepositoryUnknown) {
			return nil
		}
		if err != nil {
			return err
		}
		if tagged[m.Digest] {
			continue
		}
		s, err := l.images.Summary(ctx, repo, reference.Locator{Digest: m.Digest})
		if errors.Is(err, blobstore.ErrManifestUnknown) {
			continue // deleted meanwhile
		}
		if err != nil {
			return err
		}
		if err := l.add(imagePlace{Repository: repo, Digest: m.Digest}, s); err != nil {
			return err
		}
	}
	return nil
}

// add adds an entry, or says that there is no room and so another page.
func (l *imageList) add(p imagePlace, s images.Summary) error {
	if len(l.found) == l.size {
		return pageFull{}
	}
	l.found = append(l.found, &pb.Image{
		Repository: string(p.Repository), Tag: string(p.Tag), Manifest: descriptor(s.Descriptor),
		Layers: int32(s.Layers), LayersSize: s.LayersSize, Platforms: s.Platforms,
		CreatedAt: timestamp(s.Created), PushedAt: timestamp(s.Pushed),
	})
	l.last = p
	return nil
}
