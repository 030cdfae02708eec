package collect

import (
	"encoding/binary"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/reference"
)

// How a manifest was come by.
const (
	// linked: a repository has a live link to it.
	linked byte = iota
	// linkedSparse: so it has, but it was accepted without some of what it names.
	linkedSparse
	// registered: a snapshot's image.
	registered
	// named: an index names it that was pushed with all that it names.
	named
	// sparse: something else names it, and perhaps it is not here, or none.
	sparse
	// running: a node reports it, and perhaps it is not from here, or none.
	running
)

// An owner is one from whom a manifest is come by. A level of the mark is sorted
// by the manifest's digest, and then by repository.
type owner struct {
	digest    digest.Digest
	repo      reference.Repository // empty when only a node or a snapshot has it
	how       byte
	size      int64 // as it is said to be
	since     int64 // when it was linked, in seconds; 0 if it is not
	mediaType string
}

func (o *owner) encode(b []byte) ([]byte, error) {
	b, err := appendDigest(b, o.digest)
	b = appendString(b, string(o.repo))
	b = append(b, o.how)
	b = binary.AppendVarint(b, o.size)
	b = binary.AppendVarint(b, o.since)
	return append(b, o.mediaType...), err
}

// decodeOwner reads what encode has written. prefix is the part that is the same
// for all owners in one repository.
func decodeOwner(b []byte) (o owner, prefix []byte, err error) {
	d, _, rest, err := cutDigest(b)
	if err != nil {
		return o, nil, err
	}
	repo, rest, err := cutString(rest)
	if err != nil || len(rest) == 0 {
		return o, nil, errKey
	}
	prefix = b[:len(b)-len(rest)]
	o = owner{digest: d, repo: reference.Repository(repo), how: rest[0]}
	var n, m int
	o.size, n = binary.Varint(rest[1:])
	if n <= 0 {
		return o, nil, errKey
	}
	o.since, m = binary.Varint(rest[1+n:])
	if m <= 0 {
		return o, nil, errKey
	}
	o.mediaType = string(rest[1+n+m:])
	return o, prefix, nil
}

// held says that no repository's link leads to it.
func (o *owner) held() bool { return o.repo == "" }

// linked says that the repository has a link to it.
func (o *owner) linked() bool { return o.how == linked || o.how == linkedSparse }

// lenient says that it may be no manifest at all.
func (o *owner) lenient() bool { return o.how == sparse || o.how == running }

func (o *owner) created() time.Time {
	if o.since == 0 {
		return time.Time{}
	}
	return time.Unix(o.since, 0).UTC()
}

// child is the owner of a manifest that one of o names.
func (o *owner) child(d images.Descriptor) owner {
	c := owner{digest: d.Digest, repo: o.repo, how: named, size: d.Size, mediaType: d.MediaType}
	if o.how != linked && o.how != registered && o.how != named {
		c.how = sparse
	}
	return c
}

// String says whose it is, for messages.
func (o *owner) String() string {
	switch {
	case o.how == running:
		return "which a node reports that it runs"
	case o.how == registered:
		return "which a registered snapshot names"
	case o.linked():
		return "in repository " + string(o.repo)
	case o.repo == "":
		return "which an index names that a snapshot or a node has"
	default:
		return "which an index in repository " + string(o.repo) + " names"
	}
}
