package registry

import (
	"errors"
	"strconv"
	"strings"
)

// maxRanges is how many ranges one request may ask for. Lazy-pulling clients
// ask for dozens at a time.
const maxRanges = 256

// A byteRange is a part of a blob that is there: length is at least 1.
type byteRange struct {
	start, length int64
}

func (r byteRange) end() int64 { return r.start + r.length }

// contentRange is the value of the header that describes r.
func (r byteRange) contentRange(size int64) string {
	return "bytes " + strconv.FormatInt(r.start, 10) + "-" + strconv.FormatInt(r.end()-1, 10) + "/" + strconv.FormatInt(size, 10)
}

var (
	errRangeSyntax  = errors.New("use bytes=FIRST-LAST, bytes=FIRST- or bytes=-COUNT")
	errRangeOutside = errors.New("no byte of it is in the blob")
	errRangeMany    = errors.New("at most " + strconv.Itoa(maxRanges) + " ranges are served at once")
)

// parseRange reads a Range header (RFC 9110 section 14.2) for a blob of size
// bytes. It returns no ranges when the header is to be ignored: it is empty, in
// a unit other than bytes, or the ranges together are more than the blob.
// Ranges that lie outside the blob are left out when others do not; those that
// touch or overlap the one before are joined with it.
func parseRange(header string, size int64) ([]byteRange, error) {
	unit, set, ok := strings.Cut(header, "=")
	if !ok && header != "" {
		return nil, errRangeSyntax
	}
	if !strings.EqualFold(strings.TrimSpace(unit), "bytes") {
		return nil, nil
	}
	var (
		out     []byteRange
		total   int64
		seen    int
		outside bool
	)
	for spec := range strings.SplitSeq(set, ",") {
		if spec = strings.Trim(spec, " \t"); spec == "" {
			continue // RFC 9110 section 5.6.1: empty elements are ignored
		}
		if seen++; seen > maxRanges {
			return nil, errRangeMany
		}
		r, err := parseRangeSpec(spec, size)
		switch {
		case err != nil:
			return nil, err
		case r.length == 0:
			outside = true
			continue
		}
		if n := len(out); n > 0 && r.start <= out[n-1].end() && r.start >= out[n-1].start {
			out[n-1].length = max(out[n-1].length, r.end()-out[n-1].start)
		} else {
			out = append(out, r)
		}
	}
	if seen == 0 {
		return nil, errRangeSyntax
	}
	if len(out) == 0 && outside && size > 0 {
		return nil, errRangeOutside
	}
	for _, r := range out {
		total += r.length
	}
	if total > size {
		return nil, nil
	}
	return out, nil
}

// parseRangeSpec reads one range. Its length is 0 when it lies outside.
func parseRangeSpec(spec string, size int64) (byteRange, error) {
	first, last, ok := strings.Cut(spec, "-")
	if !ok {
		return byteRange{}, errRangeSyntax
	}
	if first == "" {
		n, err := parseNumber(last)
		if err != nil {
			return byteRange{}, errRangeSyntax
		}
		n = min(n, size)
		return byteRange{size - n, n}, nil
	}
	start, err := parseNumber(first)
	if err != nil {
		return byteRange{}, errRangeSyntax
	}
	end := size - 1
	if last != "" {
		n, err := parseNumber(last)
		if err != nil || n < start {
			return byteRange{}, errRangeSyntax
		}
		end = min(end, n)
	}
	if start > end {
		return byteRange{}, nil
	}
	return byteRange{start, end - start + 1}, nil
}

var errNumber = errors.New("not a number")

// parseNumber reads digits only. What does not fit into an int64 is the largest.
func parseNumber(s string) (int64, error) {
	if s == "" {
		return 0, errNumber
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, errNumber
		}
	}
	n, _ := strconv.ParseInt(s, 10, 64) // too large: it is clamped
	return n, nil
}

var errContentRange = errors.New("use FIRST-LAST, both counted from 0 and inclusive")

// parseContentRange reads the Content-Range of a chunk that is uploaded:
// "FIRST-LAST" as the distribution specification has it, or "bytes
// FIRST-LAST/SIZE" as RFC 9110 has it, whose size says nothing here.
func parseContentRange(header string) (byteRange, error) {
	s, full := strings.CutPrefix(header, "bytes ")
	if full {
		var size string
		if s, size, full = strings.Cut(s, "/"); !full {
			return byteRange{}, errContentRange
		}
		if _, err := parseNumber(size); err != nil && size != "*" {
			return byteRange{}, errContentRange
		}
	}
	first, last, ok := strings.Cut(s, "-")
	if !ok {
		return byteRange{}, errContentRange
	}
	start, err1 := parseNumber(first)
	end, err2 := parseNumber(last)
	if err1 != nil || err2 != nil || end < start || end > 1<<62 {
		return byteRange{}, errContentRange
	}
	return byteRange{start, end - start + 1}, nil
}
