package blobstore

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"

	"github.com/laminastore/lamina/blobstore/lru"
)

// A voucher remembers of data that this process has seen to match its digest
// what it takes to check it again at a quarter of the cost: of every chunk a tag
// of AES-GMAC (NIST SP 800-38D), under a key that is made anew in each process
// and leaves it as little as the tags do. Hashing with SHA-256 was two thirds of
// the processor time of serving a blob.
//
// A change of the data, by accident or on purpose, goes unnoticed with a
// probability of about 2^-114 for a chunk: who would forge a tag has to guess the
// key, and is never told whether a guess came close.
type voucher struct {
	gmac  cipher.AEAD
	known *lru.Cache[dataID, []byte] // tags of all chunks, in order
}

const (
	tagSize = 16
	// vouchBytes bounds the tags: enough for 128 GiB of blobs.
	vouchBytes = 8 << 20
)

func newVoucher() *voucher {
	var key [16]byte
	rand.Read(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // the key has the right size
	}
	gmac, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // the block too
	}
	return &voucher{gmac: gmac, known: lru.New[dataID, []byte](vouchBytes)}
}

// append appends the tag of the chunk with that index to tags.
func (v *voucher) append(tags []byte, index int64, chunk []byte) []byte {
	var nonce [12]byte // tags of different chunks never meet
	binary.BigEndian.PutUint64(nonce[:], uint64(index))
	return v.gmac.Seal(tags, nonce[:], nil, chunk)
}

// tags returns the tags of b, which begins with the chunk of that index.
func (v *voucher) tags(b []byte, index int64) []byte {
	tags := make([]byte, 0, (len(b)+chunkSize-1)/chunkSize*tagSize)
	for ; len(b) > 0; index++ {
		n := min(len(b), chunkSize)
		tags = v.append(tags, index, b[:n])
		b = b[n:]
	}
	return tags
}

// vouches says whether the chunk is the one that had the tag.
func (v *voucher) vouches(tags []byte, index int64, chunk []byte) bool {
	var tag [tagSize]byte
	at := index * tagSize
	return at+tagSize <= int64(len(tags)) && bytes.Equal(v.append(tag[:0], index, chunk), tags[at:at+tagSize])
}

// vouchesAll is vouches for all chunks of b, which begins with the one of that
// index.
func (v *voucher) vouchesAll(tags []byte, index int64, b []byte) bool {
	for ; len(b) > 0; index++ {
		n := min(len(b), chunkSize)
		if !v.vouches(tags, index, b[:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}

// keep remembers the tags of data of that size whose digest has been checked.
// Tags that are not all there are of no use.
func (v *voucher) keep(id dataID, size int64, tags []byte) {
	if id != "" && int64(len(tags)) == (size+chunkSize-1)/chunkSize*tagSize {
		v.known.Put(id, tags, int64(len(tags))+200)
	}
}
