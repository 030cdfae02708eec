package access

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
)

// Limits of the configuration.
const (
	maxConfigSize = 1 << 20 // bytes
	maxTables     = 500     // policies, roles, groups, issuers: of each
	maxList       = 1000    // entries in one list
	maxErrors     = 20      // that are told at once
)

// A configFile is the file as it is written. Pointers are tables that may be
// left out.
type configFile struct {
	Anonymous *struct {
		Repositories []string `toml:"repositories"`
		Actions      []string `toml:"actions"`
	} `toml:"anonymous"`
	Users *struct {
		Htpasswd string `toml:"htpasswd"`
	} `toml:"users"`
	Tokens struct {
		Lifetime string `toml:"lifetime"`
		Service  string `toml:"service"`
		Realm    string `toml:"realm"`
	} `toml:"tokens"`
	Issuers []struct {
		Issuer      string `toml:"issuer"`
		Audience    string `toml:"audience"`
		JWKS        string `toml:"jwks"`
		CA          string `toml:"ca"`
		Subject     string `toml:"subject"`
		Groups      string `toml:"groups"`
		GroupPrefix string `toml:"group-prefix"`
	} `toml:"issuers"`
	Certificates *struct {
		CA      string `toml:"ca"`
		Subject string `toml:"subject"`
		Nodes   string `toml:"nodes"`
	} `toml:"certificates"`
	Groups   map[string][]string `toml:"groups"`
	Policies []struct {
		Subjects     []string `toml:"subjects"`
		Repositories []string `toml:"repositories"`
		Actions      []string `toml:"actions"`
	} `toml:"policies"`
	Roles []struct {
		Role     string   `toml:"role"`
		Subjects []string `toml:"subjects"`
	} `toml:"roles"`
}

// A source is a file that is being checked. It collects what is wrong with it.
type source struct {
	name  string
	lines lineIndex
	errs  []error
}

// fail notes what is wrong with the value at a path such as "policies[2].subjects".
func (s *source) fail(path, format string, args ...any) {
	switch {
	case len(s.errs) < maxErrors:
		s.errs = append(s.errs, fmt.Errorf("%s:%d: %s: %w", s.name, s.lines.line(path), path, fmt.Errorf(format, args...)))
	case len(s.errs) == maxErrors:
		s.errs = append(s.errs, fmt.Errorf("%s: and more", s.name))
	}
}

// err is all that was noted; nil when that is nothing.
func (s *source) err() error {
	if len(s.errs) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrConfig, errors.Join(s.errs...))
}

// decode reads the text of the file called name. Keys that are not known are
// errors: one that is mistyped would leave out what it was to say.
func decode(name string, text []byte) (*configFile, *source, error) {
	src := &source{name: name}
	var f configFile
	md, err := toml.Decode(string(text), &f)
	if p, ok := errors.AsType[toml.ParseError](err); ok {
		return nil, nil, fmt.Errorf("%w: %s:%d: %s", ErrConfig, name, p.Position.Line, cmp.Or(p.Message, "it is no TOML"))
	} else if err != nil { // a value of another type; the text has the line
		return nil, nil, fmt.Errorf("%w: %s: %s", ErrConfig, name, strings.TrimPrefix(err.Error(), "toml: "))
	}
	src.lines = indexLines(string(text))
	for _, key := range md.Undecoded() {
		src.fail(src.lines.find(key), "there is no such key: see docs/access.md for those that there are")
	}
	return &f, src, src.err()
}
