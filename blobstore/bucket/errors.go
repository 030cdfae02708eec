package bucket

import (
	"errors"
	"fmt"
	"strings"
)

// The classes of error a bucket returns, always wrapped with the operation, the
// key and the cause; tell them apart with errors.Is.
var (
	ErrNotExist     = errors.New("no such object")
	ErrPrecondition = errors.New("object has changed or exists already")
	ErrTooLate      = errors.New("write arrived after its deadline")
	ErrRange        = errors.New("range begins behind the end of the object")
	ErrSize         = errors.New("more bytes than announced")
	ErrNoUpload     = errors.New("no such multipart upload")
	ErrPart         = errors.New("part is missing or differs")
	ErrFull         = errors.New("bucket is full")
	ErrUnavailable  = errors.New("bucket does not answer")
	ErrKey          = errors.New("invalid key")
)

// ErrBusy is the class of a bucket that asks for fewer requests, and has gone on
// doing so while the call was made again. It is an ErrUnavailable too, with the
// difference that trying again at once makes matters worse.
var ErrBusy error = subclass{"bucket asks for fewer requests", ErrUnavailable}

// A subclass is a class of error that is also one of another class.
type subclass struct {
	text string
	of   error
}

func (c subclass) Error() string { return c.text }
func (c subclass) Unwrap() error { return c.of }

// CheckKey returns an error of class ErrKey that says what is wrong with key,
// or nil. Every implementation calls it before anything else.
func CheckKey(key string) error {
	if key == "" || len(key) > MaxKeyLength {
		return fmt.Errorf("%w: %d bytes long, allowed are 1 to %d", ErrKey, len(key), MaxKeyLength)
	}
	for seg := range strings.SplitSeq(key, "/") {
		if seg == "" || seg[0] == '.' {
			return fmt.Errorf("%w %q: a segment is empty or begins with a dot", ErrKey, key)
		}
		if len(seg) > MaxSegmentLength {
			return fmt.Errorf("%w %q: segment %q has %d bytes, allowed are %d", ErrKey, key, seg, len(seg), MaxSegmentLength)
		}
	}
	return CheckPrefix(key)
}

// CheckPrefix is CheckKey for the prefix of a listing: any string that valid
// keys could begin with, the empty one included.
func CheckPrefix(prefix string) error {
	for i := range len(prefix) {
		c := prefix[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("/._-:=+~", c) >= 0:
		default:
			return fmt.Errorf("%w %q: character %q is not allowed", ErrKey, prefix, c)
		}
	}
	return nil
}
