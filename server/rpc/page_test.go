package rpc

import (
	"errors"
	"strings"
	"testing"

	"github.com/laminastore/lamina/reference"
)

type place struct{ Repository string }

func (p place) check() error {
	_, err := reference.ParseRepository(p.Repository)
	return err
}

func TestTokenComesBack(t *testing.T) {
	of := callKey("List", "demo/", true)
	s, err := encodeToken(of, place{"demo/app"})
	if err != nil {
		t.Fatal(err)
	}
	at, ok, err := decodeToken(s, of, place.check)
	if err != nil || !ok || at.Repository != "demo/app" {
		t.Errorf("%v %v %v", at, ok, err)
	}
	if _, ok, err = decodeToken("", of, place.check); ok || err != nil {
		t.Errorf("no token: %v %v", ok, err)
	}
}

func TestForeignTokensAreRefused(t *testing.T) {
	of := callKey("List", "a", "b")
	token := func(of string, p any) string {
		s, err := encodeToken(of, p)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for name, s := range map[string]string{
		"no base64":        "*",
		"no JSON":          "YWJj",
		"other filters":    token(callKey("List", "a b"), place{"x"}),
		"other call":       token(callKey("Get", "a", "b"), place{"x"}),
		"invalid place":    token(of, place{"../x"}),
		"other kind":       token(of, 7),
		"endless":          strings.Repeat("A", maxToken+1),
		"padding appended": token(of, place{"x"}) + "==",
	} {
		if _, ok, err := decodeToken(s, of, place.check); ok || !errors.Is(err, errArgument) {
			t.Errorf("%s: %v %v", name, ok, err)
		}
	}
}

func TestPageSize(t *testing.T) {
	for n, want := range map[int32]int{0: defaultPage, 1: 1, maxPage: maxPage} {
		if got, err := pageSize(n); got != want || err != nil {
			t.Errorf("%d: %d %v", n, got, err)
		}
	}
	for _, n := range []int32{-1, maxPage + 1} {
		if _, err := pageSize(n); !errors.Is(err, errArgument) {
			t.Errorf("%d: %v", n, err)
		}
	}
}

// Whatever comes back is either refused or a valid place.
func FuzzPageToken(f *testing.F) {
	of := callKey("List")
	for _, p := range []string{"demo/app", "", "a/../b"} {
		s, _ := encodeToken(of, place{p})
		f.Add(s)
	}
	f.Add("eyJvZiI6IiJ9")
	f.Fuzz(func(t *testing.T, s string) {
		at, ok, err := decodeToken(s, of, place.check)
		if ok && (err != nil || at.check() != nil) {
			t.Errorf("%q: accepted %q, %v", s, at.Repository, err)
		}
		if err != nil && !errors.Is(err, errArgument) {
			t.Errorf("%q: %v", s, err)
		}
	})
}
