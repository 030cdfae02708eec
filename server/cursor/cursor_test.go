package cursor_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/blobstore/record"
	"github.com/laminastore/lamina/server/cursor"
)

func TestWhatOneServerSealsAnotherOpens(t *testing.T) {
	b := memory.New(memory.Options{})
	one, two := cursor.New(record.New(b)), cursor.New(record.New(b))
	size := 0
	for _, place := range []string{"", "a", "team/secret", strings.Repeat("x", cursor.MaxPlace)} {
		sealed, err := one.Seal(t.Context(), place)
		if err != nil {
			t.Fatal(err)
		}
		if size == 0 {
			size = len(sealed)
		}
		if len(sealed) != size || len(place) > 5 && strings.Contains(sealed, place) {
			t.Errorf("%q is told by %q", place, sealed)
		}
		if got, err := two.Open(t.Context(), sealed); err != nil || got != place {
			t.Errorf("%q came back as %q, %v", place, got, err)
		}
		again, err := one.Seal(t.Context(), place)
		if err != nil || again == sealed {
			t.Errorf("the same twice: %v", err)
		}
	}
	if _, err := one.Seal(t.Context(), strings.Repeat("x", cursor.MaxPlace+1)); err == nil {
		t.Error("a place that is too long is sealed")
	}
}

func FuzzOpen(f *testing.F) {
	s := cursor.New(record.New(memory.New(memory.Options{})))
	good, err := s.Seal(f.Context(), "team/secret")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good + "A")
	f.Add("A" + good[1:])
	f.Add("")
	f.Add("====")
	f.Fuzz(func(t *testing.T, sealed string) {
		got, err := s.Open(t.Context(), sealed)
		if sealed == good && (err != nil || got != "team/secret") || sealed != good && !errors.Is(err, cursor.ErrInvalid) {
			t.Errorf("%q: %q, %v", sealed, got, err)
		}
	})
}
