package access

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// comparing returns passwords that count what is compared with what.
func comparing(t *testing.T, lines ...string) (p *passwords, u *users, compared *[]string) {
	t.Helper()
	u, err := parseHtpasswd("htpasswd", []byte(strings.Join(lines, "")))
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	compared = new([]string)
	p = newPasswords(time.Now)
	p.compare = func(hash, password []byte) error {
		mu.Lock()
		*compared = append(*compared, string(hash))
		mu.Unlock()
		return bcrypt.CompareHashAndPassword(hash, password)
	}
	return p, u, compared
}

func TestPasswords(t *testing.T) {
	long := strings.Repeat("x", 72)
	p, u, _ := comparing(t, hashOf(t, "alice", "one"), hashOf(t, "bob", "two:three"), hashOf(t, "carol", long))
	for _, c := range []struct {
		user, password string
		right          bool
	}{
		{"alice", "one", true}, {"bob", "two:three", true}, {"carol", long, true},
		{"alice", "two:three", false}, {"alice", "", false}, {"alice", "One", false}, {"Alice", "one", false},
		{"nobody", "one", false}, {"", "one", false}, {"", "", false}, {"alice", strings.Repeat("x", maxPassword+1), false},
	} {
		for range 2 { // what is remembered too
			err := p.check(t.Context(), u, c.user, c.password)
			if c.right && err != nil || !c.right && err != ErrCredentials {
				t.Errorf("%s, %.20s: %v", c.user, c.password, err)
			}
		}
	}
	if err := p.check(t.Context(), nil, "alice", "one"); err != ErrCredentials {
		t.Errorf("without a file of users: %v", err)
	}
}

func TestWhoIsUnknownCostsWhatAWrongPasswordCosts(t *testing.T) {
	p, u, compared := comparing(t, hashOf(t, "alice", "one"), hashOf(t, "bob", "two"))
	first := map[string]string{}
	for range 3 {
		for _, user := range []string{"alice", "nobody", "somebody", "x"} {
			err := p.check(t.Context(), u, user, "wrong")
			if err != ErrCredentials { // the very same error
				t.Errorf("%s: %v", user, err)
			}
			if len(*compared) != 1 {
				t.Fatalf("%s: %d comparisons", user, len(*compared))
			}
			if hash := (*compared)[0]; first[user] == "" {
				first[user] = hash
			} else if first[user] != hash {
				t.Errorf("%s is compared with another hash, which may have another cost", user)
			}
			*compared = nil
		}
	}
	// The password of whose hash stands in is not the unknown user's.
	for _, password := range []string{"one", "two"} {
		if err := p.check(t.Context(), u, "nobody", password); err != ErrCredentials {
			t.Errorf("nobody, %s: %v", password, err)
		}
	}
}

func TestAPullOfManyBlobsCostsOneComparison(t *testing.T) {
	p, u, compared := comparing(t, hashOf(t, "alice", "one"))
	var now atomic.Int64
	p.now = func() time.Time { return time.Unix(now.Load(), 0) }
	right := func() {
		t.Helper()
		if err := p.check(t.Context(), u, "alice", "one"); err != nil {
			t.Error(err)
		}
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(right)
	}
	wg.Wait()
	if n := len(*compared); n > atOnce {
		t.Errorf("%d comparisons", n)
	}
	*compared = nil
	now.Add(int64(rememberFor / time.Second))
	right()
	if n := len(*compared); n != 1 {
		t.Errorf("once it is forgotten: %d comparisons", n)
	}
	// A changed password makes the old one wrong at once.
	other, err := parseHtpasswd("htpasswd", []byte(hashOf(t, "alice", "two")))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.check(t.Context(), other, "alice", "one"); err != ErrCredentials {
		t.Errorf("the old password: %v", err)
	}
}

func TestPasswordsAreComparedTwoAtATime(t *testing.T) {
	p, u, _ := comparing(t, hashOf(t, "alice", "one"))
	var running, most atomic.Int64
	begun, end := make(chan struct{}, maxWaiting), make(chan struct{})
	p.compare = func([]byte, []byte) error {
		for n := running.Add(1); ; {
			if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		begun <- struct{}{}
		<-end
		running.Add(-1)
		return errors.New("wrong")
	}
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() { _ = p.check(t.Context(), u, "alice", "wrong") })
	}
	for range atOnce {
		<-begun
	}
	// Who waits may give up.
	gone, stop := context.WithCancel(t.Context())
	stop()
	if err := p.check(gone, u, "alice", "wrong"); !errors.Is(err, context.Canceled) {
		t.Errorf("one who is gone: %v", err)
	}
	// And only so many wait.
	p.waiting.Add(maxWaiting - atOnce)
	if err := p.check(t.Context(), u, "alice", "wrong"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("one too many: %v", err)
	}
	p.waiting.Add(atOnce - maxWaiting)
	for range 3 {
		wg.Go(func() { _ = p.check(t.Context(), u, "alice", "wrong") })
	}
	close(end)
	wg.Wait()
	if most.Load() > atOnce {
		t.Errorf("%d at a time", most.Load())
	}
	if p.waiting.Load() != 0 {
		t.Errorf("%d are counted as waiting", p.waiting.Load())
	}
}
