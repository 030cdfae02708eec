package access

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/laminastore/lamina/blobstore/lru"
)

const (
	// atOnce is how many passwords are compared at a time: each takes a
	// processor for 50 to 1,000 ms.
	atOnce = 2
	// maxWaiting is how many wait for that.
	maxWaiting  = 128
	maxPassword = 1024 // bytes; bcrypt looks at the first 72
	// rememberFor is how long a password that was right is known to be so.
	rememberFor = 10 * time.Minute
	remembered  = 4096
)

// Passwords compares passwords, and remembers which were right, so that a pull
// of fifty blobs does not cost fifty comparisons. Safe for concurrent use.
type passwords struct {
	now     func() time.Time
	key     [32]byte // what is remembered is of no use outside of this process
	turn    chan struct{}
	waiting atomic.Int64
	right   *lru.Cache[[sha256.Size]byte, time.Time]
	compare func(hash, password []byte) error // bcrypt's
}

func newPasswords(now func() time.Time) *passwords {
	p := &passwords{
		now: now, turn: make(chan struct{}, atOnce),
		right: lru.New[[sha256.Size]byte, time.Time](remembered), compare: bcrypt.CompareHashAndPassword,
	}
	_, _ = rand.Read(p.key[:]) // never fails
	return p
}

// check says whether password is that of user. For a user who does not exist it
// compares with somebody's hash all the same, always the same one for a name, so
// that the time taken is that of a wrong password.
// Errors: ErrCredentials, ErrUnavailable when too many wait; ctx's.
func (p *passwords) check(ctx context.Context, u *users, user, password string) error {
	if u == nil || len(u.sorted) == 0 || password == "" || len(password) > maxPassword {
		return ErrCredentials
	}
	hash, known := u.hashes[user]
	if !known {
		n := p.mac("nobody", user, "")
		hash = u.sorted[binary.BigEndian.Uint64(n[:8])%uint64(len(u.sorted))]
	}
	// The hash is part of it: a new password makes the old one wrong at once.
	mark := p.mac(user, password, string(hash))
	if known && p.remembers(mark) {
		return nil
	}
	if p.waiting.Add(1) > maxWaiting {
		p.waiting.Add(-1)
		return fmt.Errorf("%w: %d passwords are being checked already", ErrUnavailable, maxWaiting)
	}
	defer p.waiting.Add(-1)
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if known && p.remembers(mark) { // by one that waited before
		return nil
	}
	err := p.compare(hash, []byte(password))
	if !known || err != nil {
		return ErrCredentials
	}
	p.right.Put(mark, p.now().Add(rememberFor), 1)
	return nil
}

func (p *passwords) remembers(mark [sha256.Size]byte) bool {
	until, ok := p.right.Get(mark)
	return ok && p.now().Before(until)
}

// mac is a keyed hash of the three, which cannot be moved into one another.
func (p *passwords) mac(a, b, c string) (sum [sha256.Size]byte) {
	m := hmac.New(sha256.New, p.key[:])
	for _, s := range []string{a, b, c} {
		_ = binary.Write(m, binary.BigEndian, uint64(len(s)))
		m.Write([]byte(s))
	}
	m.Sum(sum[:0])
	return sum
}
