// Package tomlfile reads configuration files in TOML for people who make
// mistakes: every error names the file, the line and the key, keys that are not
// known are errors, and all that is wrong is told at once.
package tomlfile

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
)

// MaxErrors are told at once.
const MaxErrors = 20

// A Source is a file that is being checked. It collects what is wrong with it.
// One goroutine uses it.
type Source struct {
	name  string
	lines lineIndex
	errs  []error
}

// Decode reads the text of the file called name into the struct that into points
// to. The error is that it is no TOML, or that a value is of another type. Keys
// that the struct does not have are noted in the Source; documented says where
// those are that there are.
func Decode(name string, text []byte, into any, documented string) (*Source, error) {
	src := &Source{name: name}
	md, err := toml.Decode(string(text), into)
	if p, ok := errors.AsType[toml.ParseError](err); ok {
		return nil, fmt.Errorf("%s:%d: %s", name, p.Position.Line, cmp.Or(p.Message, "it is no TOML"))
	} else if err != nil { // a value of another type; the text has the line
		return nil, fmt.Errorf("%s: %s", name, strings.TrimPrefix(err.Error(), "toml: "))
	}
	src.lines = indexLines(string(text))
	for _, key := range md.Undecoded() {
		src.Fail(src.lines.find(key), "there is no such key: see %s for those that there are", documented)
	}
	return src, nil
}

// Fail notes what is wrong with the value at a path such as "policies[2].subjects".
func (s *Source) Fail(path, format string, args ...any) {
	switch {
	case len(s.errs) < MaxErrors:
		s.errs = append(s.errs, fmt.Errorf("%s:%d: %s: %w", s.name, s.lines.line(path), path, fmt.Errorf(format, args...)))
	case len(s.errs) == MaxErrors:
		s.errs = append(s.errs, fmt.Errorf("%s: and more", s.name))
	}
}

// Add notes an error that says itself where it is.
func (s *Source) Add(err error) { s.errs = append(s.errs, err) }

// Err is all that was noted; nil when that is nothing.
func (s *Source) Err() error { return errors.Join(s.errs...) }
