package main

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1.00 kB", 1994: "1.99 kB", 9994: "9.99 kB", 9996: "10.0 kB", 99_949: "99.9 kB", 99_960: "100 kB",
		999_499: "999 kB", 999_600: "1.00 MB", 53_200_000: "53.2 MB", 1_500_000_000: "1.50 GB", 1 << 62: "4.61 EB",
	} {
		if got := size(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestAge(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		time.Second: "just now", 90 * time.Second: "90 seconds ago", 5 * time.Minute: "5 minutes ago", 3 * time.Hour: "3 hours ago",
		72 * time.Hour: "3 days ago", 20 * 24 * time.Hour: "2 weeks ago", 100 * 24 * time.Hour: "3 months ago", 1000 * 24 * time.Hour: "2 years ago",
		-time.Hour: "in the future",
	} {
		if got := age(now, timestamppb.New(now.Add(-d))); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	if got := age(now, timestamppb.New(time.Unix(0, 0))) + age(now, nil); got != "--" {
		t.Errorf("no time at all: %q", got)
	}
}

func TestShortDigestsStayDifferent(t *testing.T) {
	a, b := "sha256:"+strings.Repeat("a", 64), "sha256:"+strings.Repeat("a", 20)+strings.Repeat("b", 44)
	if s := newShortener(a); s.short(a) != strings.Repeat("a", 12) {
		t.Errorf("%q", s.short(a))
	}
	if s := newShortener(a, b, a); s.short(a) == s.short(b) || len(s.short(a)) != 21 {
		t.Errorf("%q %q", s.short(a), s.short(b))
	}
	if s := newShortener(); s.short("sha512:"+strings.Repeat("c", 128)) != "sha512:cccccccccccc" || s.short("") != "" {
		t.Error("other algorithms are said")
	}
}

func TestInstruction(t *testing.T) {
	for in, want := range map[string]string{
		"/bin/sh -c #(nop)  CMD [\"x\"]":        `CMD ["x"]`,
		"/bin/sh -c apt-get update":             "RUN apt-get update",
		"|1 A=b /bin/sh -c make":                "RUN make",
		"RUN /bin/sh -c npm install # buildkit": "RUN npm install",
		"COPY . . # buildkit":                   "COPY . .",
		"RUN |2 A=b C= /bin/sh -c x # buildkit": "RUN x",
		"bazel build":                           "bazel build",
		"":                                      "",
	} {
		if got := instruction(in, false); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// What others wrote into an image does not get to the terminal as commands.
func TestPrintable(t *testing.T) {
	if got := printable("a\x1b[31mb\x00\nc\td\u009bé"); got != "a[31mb c dé" {
		t.Errorf("%q", got)
	}
}
