package blobstore

import (
	"slices"

	"github.com/opencontainers/go-digest"
)

// leftover is what the upload leaves that has become the blob d, or was given up
// if that is "". used is the data that the blob's record names ("" for none), and
// certain says that it does and that the record has nothing else to lead to.
func (ss *session) leftover(d digest.Digest, used dataID, certain bool) leftover {
	r := &ss.record
	others := slices.DeleteFunc(slices.Concat(r.Tail, r.Left), func(p piece) bool { return p.Data == used })
	l := leftover{id: ss.id, at: ss.version, data: r.Data, blob: d}
	var all bool
	l.pieces, all = deletable(others)
	// Another server may be finishing what this one gives up: look, then.
	look := ss.shared || d == ""
	for _, id := range []dataID{r.First, r.Next} {
		known := id == used || slices.ContainsFunc(others, func(p piece) bool { return p.Data == id })
		if look && !known {
			l.look = append(l.look, id)
		}
	}
	if used != r.Data {
		l.multipart = r.Multipart
	}
	l.list = look && (r.Multipart != "" || ss.shared && len(r.Parts) > 0)
	l.stays = !certain || !all || ss.doubt ||
		ss.nextTried && r.Next != used ||
		r.Digest != "" && r.Data != used // the parts may have been joined
	return l
}
