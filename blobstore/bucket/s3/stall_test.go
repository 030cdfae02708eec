package s3

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// A bucket that stops in the middle of an object, and neither sends nor ends the
// connection, does not hold a reader for ever; one that is only slow does.
func TestABodyThatStandsStill(t *testing.T) {
	done := make(chan struct{})
	defer close(done)
	b, _ := ask(t, func(w http.ResponseWriter, r *http.Request) {
		ok(w, r)
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "12345")
		_ = http.NewResponseController(w).Flush()
		<-done
	})
	b.stall = 50 * time.Millisecond
	r, _, err := b.Get(t.Context(), "a", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if string(got) != "12345" || !errors.Is(err, bucket.ErrUnavailable) || !strings.Contains(err.Error(), "sends nothing") {
		t.Errorf("%q, %v", got, err)
	}
}

// Whoever reads may take as long as he likes between two reads.
func TestAReaderThatIsSlow(t *testing.T) {
	b, _ := ask(t, func(w http.ResponseWriter, r *http.Request) {
		ok(w, r)
		w.Header().Set("Content-Length", strconv.Itoa(1<<20))
		_, _ = io.WriteString(w, strings.Repeat("x", 1<<20))
	})
	b.stall = time.Second
	r, _, err := b.Get(t.Context(), "a", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	<-time.After(b.stall + b.stall/2)
	if n, err := io.Copy(io.Discard, r); err != nil || n != 1<<20-1000 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestAnAnswerWithoutALength(t *testing.T) {
	b, _ := ask(t, func(w http.ResponseWriter, r *http.Request) {
		ok(w, r)
		_ = http.NewResponseController(w).Flush() // sends the headers as they are
		_, _ = io.WriteString(w, "12345")
	})
	r, _, err := b.Get(t.Context(), "a", 0, -1)
	if !errors.Is(err, bucket.ErrUnavailable) {
		t.Errorf("%v, %v", r, err)
	}
}
