package blobstore

import (
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding"
	"fmt"
	"hash"

	"github.com/opencontainers/go-digest"
)

// sum is the digest of what h has hashed.
func sum(alg digest.Algorithm, h hash.Hash) digest.Digest {
	return digest.NewDigestFromBytes(alg, h.Sum(nil))
}

// newHash returns a hash whose state can be saved, or an error of class
// ErrDigestUnsupported.
func newHash(alg digest.Algorithm) (hash.Hash, error) {
	if alg != digest.SHA256 && alg != digest.SHA512 {
		return nil, fail(ErrDigestUnsupported, alg, "not an algorithm for uploads").remedy("use sha256 or sha512")
	}
	return alg.Hash(), nil
}

// saveHash returns h's state, with which another process can go on. The form is
// that of Go's standard library, which keeps it compatible.
func saveHash(h hash.Hash) ([]byte, error) {
	return h.(encoding.BinaryMarshaler).MarshalBinary()
}

// loadHash is the reverse of saveHash; no state means a new hash.
func loadHash(alg digest.Algorithm, state []byte) (hash.Hash, error) {
	h, err := newHash(alg)
	if err != nil || len(state) == 0 {
		return h, err
	}
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil {
		return nil, fmt.Errorf("state of a %s hash: %w", alg, err)
	}
	return h, nil
}
