package collect

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/reference"
)

// What is sorted begins with a digest in a form whose order is that of the keys
// of blobs' records: by algorithm, then by hex digits.
const (
	sha256Key, sha256Size = 1, 32
	sha512Key, sha512Size = 2, 64
)

var errKey = errors.New("no digest")

// appendDigest appends d, which must be valid, in the form that is sorted.
func appendDigest(b []byte, d digest.Digest) ([]byte, error) {
	alg, size := byte(sha256Key), sha256Size
	switch d.Algorithm() {
	case digest.SHA256:
	case digest.SHA512:
		alg, size = sha512Key, sha512Size
	default:
		return b, errKey
	}
	sum, err := hex.DecodeString(d.Encoded())
	if err != nil || len(sum) != size {
		return b, errKey
	}
	return append(append(b, alg), sum...), nil
}

// cutDigest takes a digest from the beginning of b, and returns it as it is
// sorted too.
func cutDigest(b []byte) (d digest.Digest, key, rest []byte, err error) {
	alg, size := digest.SHA256, sha256Size
	switch {
	case len(b) > 0 && b[0] == sha256Key:
	case len(b) > 0 && b[0] == sha512Key:
		alg, size = digest.SHA512, sha512Size
	default:
		return "", nil, nil, errKey
	}
	if len(b) < 1+size {
		return "", nil, nil, errKey
	}
	return digest.NewDigestFromBytes(alg, b[1:1+size]), b[:1+size], b[1+size:], nil
}

// appendString appends s after its length.
func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// cutString takes what appendString has appended from the beginning of b.
func cutString(b []byte) (s string, rest []byte, err error) {
	n, w := binary.Uvarint(b)
	if w <= 0 || uint64(len(b)-w) < n {
		return "", nil, errKey
	}
	return string(b[w : w+int(n)]), b[w+int(n):], nil
}

// blobDigest is the digest whose record is at a key of the bucket.
func blobDigest(key string) (digest.Digest, error) {
	alg, rest, _ := strings.Cut(strings.TrimPrefix(key, "blobs/"), "/")
	_, hex, _ := strings.Cut(rest, "/")
	return reference.ParseDigest(alg + ":" + hex)
}

// A name is one that is kept in a repository, as its key in the bucket has it.
type name struct {
	repo reference.Repository
	kind string // "_manifests", "_tags", …
	rest string
}

// parseName reads "repos/<name>/<kind>/<rest>". No part of a repository's name
// begins with "_".
func parseName(key string) (name, bool) {
	path, ok := strings.CutPrefix(key, reposPrefix)
	i := strings.Index(path, "/_")
	if !ok || i <= 0 {
		return name{}, false
	}
	kind, rest, ok := strings.Cut(path[i+1:], "/")
	return name{reference.Repository(path[:i]), kind, rest}, ok
}

const reposPrefix = "repos/"
