package link_test

import (
	"errors"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/link"
)

// One server removes what nothing names; another comes in between.
func TestALinkThatIsLeaving(t *testing.T) {
	for name, c := range map[string]struct {
		between func(t *testing.T, other *link.Store, l link.Link) error
		removed bool
	}{
		"nobody comes": {func(*testing.T, *link.Store, link.Link) error { return nil }, true},
		"a reader": {func(t *testing.T, other *link.Store, l link.Link) error {
			got, err := other.Get(t.Context(), key)
			if got.Generation != l.Generation || got.Leaving == "" {
				t.Errorf("it reads %+v", got)
			}
			return err
		}, true},
		"it stays": {func(t *testing.T, other *link.Store, l link.Link) error {
			got, err := other.Stay(t.Context(), key, l.Generation)
			if got.Generation != l.Generation || got.Leaving != "" || !got.Since.After(l.Since) || string(got.Payload) != "1" {
				t.Errorf("it stays as %+v", got)
			}
			return err
		}, false},
		"another says the same": {func(t *testing.T, other *link.Store, l link.Link) error {
			_, err := other.Leave(t.Context(), key, l.Generation)
			return err
		}, false},
		"it is removed and made again": {func(t *testing.T, other *link.Store, _ link.Link) error {
			err := other.Remove(t.Context(), key)
			_, _, merr := other.Make(t.Context(), key, nil, time.Time{})
			return errors.Join(err, merr)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			clock, s := servers(2)
			l, _, err := s[0].Make(t.Context(), key, []byte("1"), time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			token, err := s[0].Leave(t.Context(), key, l.Generation)
			if err != nil {
				t.Fatal(err)
			}
			if err := s[0].Settle(t.Context()); err != nil || clock.slept != time.Second {
				t.Fatalf("slept %v, %v", clock.slept, err)
			}
			if err := c.between(t, s[1], l); err != nil {
				t.Fatal(err)
			}
			removed, err := s[0].RemoveLeaving(t.Context(), key, l.Generation, token)
			if err != nil || removed != c.removed {
				t.Errorf("removed: %v, %v", removed, err)
			}
			if _, err := s[0].Fresh(t.Context(), key); errors.Is(err, bucket.ErrNotExist) != c.removed {
				t.Errorf("then: %v", err)
			}
		})
	}
}

func TestALinkThatLeavesNoMore(t *testing.T) {
	_, s := servers(1)
	l, _, err := s[0].Make(t.Context(), key, nil, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	token, err := s[0].Leave(t.Context(), key, l.Generation)
	if err != nil {
		t.Fatal(err)
	}
	if err := s[0].Unleave(t.Context(), key, l.Generation, "another"); !errors.Is(err, link.ErrChanged) {
		t.Errorf("by another token: %v", err)
	}
	if err := s[0].Unleave(t.Context(), key, l.Generation, token); err != nil {
		t.Error(err)
	}
	got, err := s[0].Look(t.Context(), key)
	if err != nil || got.Gone || got.Leaving != "" || !got.Since.Equal(l.Since) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := s[0].Leave(t.Context(), key, "of another life"); !errors.Is(err, bucket.ErrNotExist) {
		t.Errorf("another generation: %v", err)
	}
}
