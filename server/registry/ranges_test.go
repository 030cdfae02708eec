package registry

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestRange(t *testing.T) {
	const size = 2048
	for header, want := range map[string][]byteRange{
		"":                               nil,
		"items=0-1":                      nil, // another unit: ignored
		"bytes=0-0":                      {{0, 1}},
		"bytes=500-1499":                 {{500, 1000}},
		"Bytes=500-":                     {{500, 1548}},
		"bytes=-500":                     {{1548, 500}},
		"bytes=-9999":                    {{0, 2048}},
		"bytes=2000-5000":                {{2000, 48}},
		"bytes=0-":                       {{0, 2048}},
		"bytes= 0-1 ,\t5-6,":             {{0, 2}, {5, 2}},
		"bytes=0-1,2-3,4-4":              {{0, 5}},            // they touch
		"bytes=0-9,5-20":                 {{0, 21}},           // they overlap
		"bytes=10-19,0-9":                {{10, 10}, {0, 10}}, // order is the client's
		"bytes=0-9,5000-":                {{0, 10}},           // one is outside
		"bytes=0-,100-0100,0-":           {{0, 2048}},         // they overlap
		"bytes=0-9223372036854775808000": {{0, 2048}},
	} {
		got, err := parseRange(header, size)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %v, %v; want %v", header, got, err, want)
		}
	}
	many := "bytes=" + strings.Repeat("0-0,", maxRanges)
	if _, err := parseRange(many, size); err != nil {
		t.Errorf("%d ranges: %v", maxRanges, err)
	}
	for header, want := range map[string]error{
		"bytes":            errRangeSyntax,
		"bytes=":           errRangeSyntax,
		"bytes=,":          errRangeSyntax,
		"bytes=abc":        errRangeSyntax,
		"bytes=500-0":      errRangeSyntax,
		"bytes=-":          errRangeSyntax,
		"bytes=--1":        errRangeSyntax,
		"bytes=+1-2":       errRangeSyntax,
		"bytes=1-2-3":      errRangeSyntax,
		"bytes=2048-":      errRangeOutside,
		"bytes=5000-10000": errRangeOutside,
		"bytes=-0":         errRangeOutside,
		many + "0-0":       errRangeMany,
	} {
		if got, err := parseRange(header, size); !errors.Is(err, want) {
			t.Errorf("%.40q: got %v, %v; want %v", header, got, err, want)
		}
	}
	// An empty blob has no byte to serve: the header is ignored, as everywhere.
	if got, err := parseRange("bytes=0-", 0); err != nil || got != nil {
		t.Errorf("empty blob: %v, %v", got, err)
	}
}

func TestRangesThatAddUpToMoreThanTheBlobAreIgnored(t *testing.T) {
	if got, err := parseRange("bytes=5-9,0-9", 10); err != nil || got != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestContentRange(t *testing.T) {
	for header, want := range map[string]byteRange{
		"0-0":             {0, 1},
		"0-1023":          {0, 1024},
		"1024-2047":       {1024, 1024},
		"bytes 0-9/10":    {0, 10},
		"bytes 10-19/*":   {10, 10},
		"00-09":           {0, 10},
		"0-9007199254740": {0, 9007199254741},
	} {
		if got, err := parseContentRange(header); err != nil || got != want {
			t.Errorf("%q: got %v, %v; want %v", header, got, err, want)
		}
	}
	for _, header := range []string{"", "-", "0-", "-9", "9-0", "a-b", "0-9/10", "bytes 0-9", "bytes 0-9/x", "bytes */10", "bytes=0-9", "0 - 9", "0-9,10-19", "0-9223372036854775807"} {
		if got, err := parseContentRange(header); err == nil {
			t.Errorf("%q: got %v", header, got)
		}
	}
}

func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-", "bytes=-1", "bytes=1-2,3-4", "bytes=5-4", "bytes=,", "x=1-2"} {
		f.Add(s, int64(100))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}
		got, err := parseRange(header, size)
		if err != nil && got != nil {
			t.Fatal("ranges and an error")
		}
		var total int64
		for _, r := range got {
			if r.start < 0 || r.length < 1 || r.end() > size || r.end() < 0 {
				t.Fatalf("%q of %d: %v is outside", header, size, r)
			}
			total += r.length
		}
		if total > size || len(got) > maxRanges {
			t.Fatalf("%q of %d: %d bytes in %d ranges", header, size, total, len(got))
		}
	})
}

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"0-0", "5-4", "bytes 0-9/10", "bytes 0-9/*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		r, err := parseContentRange(header)
		if err != nil {
			return
		}
		if r.start < 0 || r.length < 1 || r.end() < r.start {
			t.Fatalf("%q: %v", header, r)
		}
		if again, err := parseContentRange(fmt.Sprintf("%d-%d", r.start, r.end()-1)); err != nil || again != r {
			t.Fatalf("%q: %v became %v, %v", header, r, again, err)
		}
	})
}
