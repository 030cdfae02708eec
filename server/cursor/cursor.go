// Package cursor hides from a caller where a list goes on.
//
// A list that shows a caller only what it may see must end a page after a
// bounded amount of work, and so, now and then, at something that the caller may
// not see. The next page begins there, but the name must not be told: it is
// sealed. The key is a record in the bucket, made by whichever server needs it
// first, so that any other goes on with the list. It is kept from nobody who can
// read the bucket, where the names are.
package cursor

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/laminastore/lamina/blobstore/record"
)

// ErrInvalid: what should be a sealed place is none.
var ErrInvalid = errors.New("not a place in a list that this server gave")

const (
	keyRecord = "cursors/key"
	// MaxPlace is the longest place in bytes. All are sealed at this length, so
	// that it tells nothing.
	MaxPlace = 255
)

type key struct {
	record.Header
	AES []byte `json:"aes256gcm"`
}

// A Sealer seals and opens places. Safe for concurrent use.
type Sealer struct {
	records *record.Store

	mu   sync.Mutex
	aead cipher.AEAD // nil until it is needed
}

// New returns a Sealer whose key is in the bucket of r.
func New(r *record.Store) *Sealer { return &Sealer{records: r} }

// Seal returns place in letters that a URL takes as they are.
// Errors: bucket.ErrUnavailable.
func (s *Sealer) Seal(ctx context.Context, place string) (string, error) {
	if len(place) > MaxPlace {
		return "", fmt.Errorf("place %.40q… has %d bytes, at most %d", place, len(place), MaxPlace)
	}
	aead, err := s.key(ctx)
	if err != nil {
		return "", err
	}
	plain := make([]byte, 1+MaxPlace)
	plain[0] = byte(len(place))
	copy(plain[1:], place)
	nonce := make([]byte, aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	return base64.RawURLEncoding.EncodeToString(aead.Seal(nonce, nonce, plain, nil)), nil
}

// Open returns the place in what Seal returned. Errors: ErrInvalid,
// bucket.ErrUnavailable.
func (s *Sealer) Open(ctx context.Context, sealed string) (string, error) {
	if base64.RawURLEncoding.DecodedLen(len(sealed)) > 1024 {
		return "", ErrInvalid
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(sealed)
	if err != nil {
		return "", ErrInvalid
	}
	aead, err := s.key(ctx)
	if err != nil {
		return "", err
	}
	n := aead.NonceSize()
	if len(raw) < n {
		return "", ErrInvalid
	}
	plain, err := aead.Open(nil, raw[:n], raw[n:], nil)
	if err != nil || len(plain) != 1+MaxPlace {
		return "", ErrInvalid
	}
	return string(plain[1 : 1+int(plain[0])]), nil
}

// key reads the key, or makes one.
func (s *Sealer) key(ctx context.Context) (cipher.AEAD, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.aead != nil {
		return s.aead, nil
	}
	k := &key{AES: make([]byte, 32)}
	_, _ = rand.Read(k.AES)
	now, at, _, err := record.Swap(ctx, s.records, keyRecord, record.Version{}, k, time.Time{})
	if err == nil && at == (record.Version{}) {
		err = errors.New("somebody removed it")
	}
	if err != nil {
		return nil, fmt.Errorf("record %s: %w", keyRecord, err)
	}
	block, err := aes.NewCipher(now.AES)
	if err != nil {
		return nil, fmt.Errorf("record %s: %w", keyRecord, err)
	}
	s.aead, err = cipher.NewGCM(block)
	return s.aead, err
}
