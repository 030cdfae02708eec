package access

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/singleflight"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/lru"
	"github.com/laminastore/lamina/blobstore/record"
)

const (
	// keyLife is how long a key is used to sign, and what it signed is accepted.
	keyLife = 24 * time.Hour
	// lookAgain is how long the key of another server is trusted before its
	// record is read again: to delete the record is to take the key back.
	lookAgain = 5 * time.Minute
	// askWithin is how long the bucket may take.
	askWithin = 10 * time.Second

	maxForeign = 256  // keys of other servers that are kept
	maxMissing = 1024 // ids of keys that are known not to be there
	// maxLookups is how many ids a second are looked up in the bucket: whoever
	// makes up ids costs no more than that.
	maxLookups = 50
)

// A keyRecord is the public half of a server's key: keys/<ULID>. It is written
// once.
type keyRecord struct {
	record.Header
	Key      jose.JSONWebKey `json:"key"`
	NotAfter time.Time       `json:"notAfter"`
}

func keyKey(id string) string { return "keys/" + id }

// A keyring has this server's own key for tokens, and the public ones of the
// other servers of the bucket. Safe for concurrent use.
type keyring struct {
	bucket  bucket.Bucket
	records *record.Store
	now     func() time.Time
	fresh   func(context.Context) // called after a key was made
	one     singleflight.Group

	mu      sync.Mutex
	own     ownKey
	foreign *lru.Cache[string, foreignKey]
	missing *lru.Cache[string, time.Time] // when it was looked for
	second  time.Time                     // in which lookups are counted
	lookups int
}

type ownKey struct {
	id       string
	secret   *ecdsa.PrivateKey
	notAfter time.Time
}

type foreignKey struct {
	public          *ecdsa.PublicKey
	notAfter, again time.Time
}

func newKeyring(b bucket.Bucket, now func() time.Time, fresh func(context.Context)) *keyring {
	return &keyring{
		bucket: b, records: record.New(b), now: now, fresh: fresh,
		foreign: lru.New[string, foreignKey](maxForeign), missing: lru.New[string, time.Time](maxMissing),
	}
}

// signer returns a key that may sign a token that expires at the time given. It
// makes one when there is none yet, or the one that there is ends too soon.
// Errors: ErrUnavailable; ctx's.
func (k *keyring) signer(ctx context.Context, expires time.Time) (ownKey, error) {
	k.mu.Lock()
	own := k.own
	k.mu.Unlock()
	if own.secret != nil && !expires.After(own.notAfter) {
		return own, nil
	}
	done := k.one.DoChan("own", func() (any, error) { return k.renew(context.WithoutCancel(ctx), expires) })
	select {
	case r := <-done:
		if r.Err != nil {
			return ownKey{}, r.Err
		}
		return r.Val.(ownKey), nil
	case <-ctx.Done():
		return ownKey{}, ctx.Err()
	}
}

// renew makes a key. Its record is there before anything is signed with it.
func (k *keyring) renew(ctx context.Context, expires time.Time) (ownKey, error) {
	k.mu.Lock()
	own := k.own
	k.mu.Unlock()
	if own.secret != nil && !expires.After(own.notAfter) {
		return own, nil // by one who came before
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return ownKey{}, err
	}
	now := k.now()
	own = ownKey{id: ulid.MustNew(ulid.Timestamp(now), rand.Reader).String(), secret: secret, notAfter: now.Add(keyLife).Round(0).UTC()}
	rec := &keyRecord{
		Key:      jose.JSONWebKey{Key: secret.Public(), KeyID: own.id, Algorithm: string(jose.ES256), Use: "sig"},
		NotAfter: own.notAfter,
	}
	if _, err := record.Create(ctx, k.records, keyKey(own.id), rec, time.Time{}); err != nil {
		return ownKey{}, fmt.Errorf("%w: the key for tokens cannot be written: %w", ErrUnavailable, err)
	}
	k.mu.Lock()
	k.own = own
	k.mu.Unlock()
	k.fresh(ctx)
	return own, nil
}

// public returns the key with an id, this server's or another's.
// Errors: ErrCredentials when there is none that still counts, ErrUnavailable; ctx's.
func (k *keyring) public(ctx context.Context, id string) (*ecdsa.PublicKey, error) {
	if u, err := ulid.ParseStrict(id); err != nil || u.String() != id {
		return nil, errNoToken
	}
	key, known, err := k.known(id)
	if known || err != nil {
		return key, err
	}
	done := k.one.DoChan(id, func() (any, error) { return k.lookUp(context.WithoutCancel(ctx), id) })
	select {
	case r := <-done:
		key, _ := r.Val.(*ecdsa.PublicKey)
		return key, r.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// known looks for the key in memory.
func (k *keyring) known(id string) (key *ecdsa.PublicKey, known bool, err error) {
	now := k.now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if id == k.own.id && now.Before(k.own.notAfter.Add(leeway)) {
		return &k.own.secret.PublicKey, true, nil
	}
	if f, ok := k.foreign.Get(id); ok && now.Before(f.again) {
		if now.After(f.notAfter.Add(leeway)) {
			return nil, false, errKeyGone
		}
		return f.public, true, nil
	}
	if at, ok := k.missing.Get(id); ok && now.Sub(at) < askAgain {
		return nil, false, errKeyGone
	}
	return nil, false, nil
}

var errKeyGone = fmt.Errorf("%w: the key that signed the token is not in use", ErrCredentials)

// lookUp reads the record of a key.
func (k *keyring) lookUp(ctx context.Context, id string) (*ecdsa.PublicKey, error) {
	if key, known, err := k.known(id); known || err != nil {
		return key, err // found by one who came before
	}
	if !k.mayLookUp() {
		return nil, fmt.Errorf("%w: too many tokens of unknown servers at once", ErrUnavailable)
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	rec, _, err := record.Read[keyRecord](ctx, k.records, keyKey(id))
	public, ok := rec.Key.Key.(*ecdsa.PublicKey)
	now := k.now()
	switch {
	case errors.Is(err, bucket.ErrNotExist), errors.Is(err, record.ErrInvalid),
		err == nil && (!ok || public.Curve != elliptic.P256() || rec.Key.KeyID != id || now.After(rec.NotAfter.Add(leeway))):
		k.foreign.Remove(id)
		k.missing.Put(id, now, 1)
		return nil, errKeyGone
	case err != nil:
		return nil, fmt.Errorf("%w: the key that signed the token cannot be read: %w", ErrUnavailable, err)
	}
	k.foreign.Put(id, foreignKey{public, rec.NotAfter, now.Add(lookAgain)}, 1)
	return public, nil
}

// mayLookUp counts what is looked up in each second.
func (k *keyring) mayLookUp() bool {
	now := k.now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if since := now.Sub(k.second); since >= time.Second || since < 0 {
		k.second, k.lookups = now, 0
	}
	k.lookups++
	return k.lookups <= maxLookups
}

// sweep deletes the records of keys that nothing valid was signed with for
// days. It reads none: an id tells when its key was made. An id is never used
// again, so a late delete hits nothing.
func (k *keyring) sweep(ctx context.Context) error {
	before := ulid.Timestamp(k.now().Add(-3 * keyLife))
	var old []string
	for info, err := range k.bucket.List(ctx, "keys/", "") {
		if err != nil {
			return err
		}
		id, err := ulid.ParseStrict(info.Key[len("keys/"):])
		if err != nil {
			continue
		}
		if id.Time() >= before || len(old) == 1000 {
			break // they come in the order of time
		}
		old = append(old, info.Key)
	}
	if len(old) == 0 {
		return nil
	}
	return k.bucket.Delete(ctx, old...)
}
