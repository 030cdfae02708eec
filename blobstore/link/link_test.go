package link_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/blobstore/link"
	"github.com/laminastore/lamina/blobstore/record"
)

// A clock whose Sleep lets the time pass at once.
type clock struct {
	mu    sync.Mutex
	now   time.Time
	slept time.Duration
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now, c.slept = c.now.Add(d), c.slept+d
	return ctx.Err()
}

func servers(n int) (*clock, []*link.Store) {
	c := &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	b := memory.New(memory.Options{Now: c.Now})
	var out []*link.Store
	for range n {
		out = append(out, link.New(b, record.New(b), c, time.Second))
	}
	return c, out
}

const key = "repos/a/_blobs/x"

func TestLinkHasAnotherGenerationInEachLife(t *testing.T) {
	_, s := servers(1)
	one, made, err := s[0].Make(t.Context(), key, []byte(`1`), time.Time{})
	if err != nil || !made {
		t.Fatal(made, err)
	}
	same, made, err := s[0].Make(t.Context(), key, []byte(`2`), time.Time{})
	if err != nil || made || same.Generation != one.Generation || string(same.Payload) != "1" {
		t.Fatal(same, made, err)
	}
	if err := s[0].Remove(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if _, err := s[0].Get(t.Context(), key); !errors.Is(err, bucket.ErrNotExist) {
		t.Fatal(err)
	}
	two, made, err := s[0].Make(t.Context(), key, []byte(`2`), time.Time{})
	if err != nil || !made || two.Generation == one.Generation || string(two.Payload) != "2" {
		t.Fatal(two, made, err)
	}
	if err := s[0].RemoveGeneration(t.Context(), key, one.Generation); !errors.Is(err, bucket.ErrNotExist) {
		t.Fatal("removed another generation:", err)
	}
	if _, err := s[0].Get(t.Context(), key); err != nil {
		t.Fatal(err)
	}
}

func TestRemovalOutlastsEveryLease(t *testing.T) {
	c, s := servers(2)
	if _, _, err := s[0].Make(t.Context(), key, nil, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s[1].Get(t.Context(), key); err != nil { // leases it
		t.Fatal(err)
	}
	if err := s[0].Remove(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if _, err := s[1].Get(t.Context(), key); !errors.Is(err, bucket.ErrNotExist) {
		t.Fatal("the other still relies on it:", err)
	}
	if c.slept < time.Second {
		t.Fatal("did not wait:", c.slept)
	}
	if err := s[1].Remove(t.Context(), key); !errors.Is(err, bucket.ErrNotExist) {
		t.Fatal(err)
	}
}

func TestManyMakersAgree(t *testing.T) {
	_, s := servers(8)
	var wg sync.WaitGroup
	got := make([]string, len(s))
	for i := range s {
		wg.Go(func() {
			l, _, err := s[i].Make(context.Background(), key, nil, time.Time{})
			if err != nil {
				t.Error(err)
			}
			got[i] = l.Generation
		})
	}
	wg.Wait()
	for _, g := range got {
		if g != got[0] {
			t.Fatal(got)
		}
	}
}

func TestListHasTheLiveOnes(t *testing.T) {
	_, s := servers(1)
	for i := range 10 {
		k := fmt.Sprintf("repos/a/_blobs/%d", i)
		if _, _, err := s[0].Make(t.Context(), k, nil, time.Time{}); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			if err := s[0].Remove(t.Context(), k); err != nil {
				t.Fatal(err)
			}
		}
	}
	var got []string
	for e, err := range s[0].List(t.Context(), "repos/a/_blobs/", "repos/a/_blobs/2") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Key[len(e.Key)-1:])
	}
	if fmt.Sprint(got) != "[4 5 7 8]" {
		t.Fatal(got)
	}
}
