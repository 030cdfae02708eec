package retain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/laminastore/lamina/internal/reload"
	"github.com/laminastore/lamina/internal/tomlfile"
	"github.com/laminastore/lamina/reference/pattern"
)

// ErrConfig is the class of errors of a file of rules that cannot be used. The
// text says in which line, and what to do.
var ErrConfig = errors.New("retention rules are not usable")

// Limits of a file of rules.
const (
	maxFileSize = 1 << 20 // bytes
	maxRules    = 500
	maxList     = 1000 // entries in one list
	maxKeepLast = 1_000_000
	maxName     = 64
)

// ruleFile is the file as it is written.
type ruleFile struct {
	Rules []struct {
		Name          string   `toml:"name"`
		Repositories  []string `toml:"repositories"`
		KeepLast      *int     `toml:"keep-last"`
		KeepYounger   *string  `toml:"keep-younger"`
		KeepTags      []string `toml:"keep-tags"`
		UntaggedAfter *string  `toml:"untagged-after"`
	} `toml:"rules"`
}

// ParseRules reads the text of the file called name. Errors: ErrConfig, with the
// line of each mistake.
func ParseRules(name string, text []byte) (Rules, error) {
	var f ruleFile
	src, err := tomlfile.Decode(name, text, &f, "docs/retention.md")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	var rules Rules
	if len(f.Rules) > maxRules {
		src.Fail("rules", "there are %d, allowed are %d", len(f.Rules), maxRules)
		f.Rules = nil
	}
	for i, x := range f.Rules {
		path := fmt.Sprintf("rules[%d].", i)
		r := Rule{Name: x.Name, KeepTags: x.KeepTags}
		switch {
		case x.Name == "":
			r.Name = fmt.Sprint(i + 1)
		case len(x.Name) > maxName || slices.ContainsFunc([]byte(x.Name), func(c byte) bool { return c < ' ' || c == 0x7f }):
			src.Fail(path+"name", "%.70q is longer than %d characters, or has some that cannot be seen", x.Name, maxName)
		}
		r.Repositories = patterns(src, path+"repositories", x.Repositories)
		if x.KeepLast != nil {
			if r.KeepLast = *x.KeepLast; r.KeepLast < 1 || r.KeepLast > maxKeepLast {
				src.Fail(path+"keep-last", "%d is not from 1 to %d; leave it out to keep none for that", r.KeepLast, maxKeepLast)
			}
		}
		r.KeepYounger = age(src, path+"keep-younger", x.KeepYounger)
		r.UntaggedAfter = age(src, path+"untagged-after", x.UntaggedAfter)
		globs(src, path+"keep-tags", x.KeepTags)
		rules = append(rules, r)
	}
	if err := src.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return rules, nil
}

func patterns(src *tomlfile.Source, path string, texts []string) (out []pattern.Pattern) {
	if len(texts) == 0 || len(texts) > maxList {
		src.Fail(path, `it has %d entries, and needs from 1 to %d, such as "ci/**"`, len(texts), maxList)
		return nil
	}
	for _, text := range texts {
		p, err := pattern.Parse(text)
		if err != nil {
			src.Fail(path, "%w", err)
		}
		out = append(out, p)
	}
	return out
}

func globs(src *tomlfile.Source, path string, globs []string) {
	if globs != nil && (len(globs) == 0 || len(globs) > maxList) {
		src.Fail(path, "it has %d entries, and needs from 1 to %d; leave it out to keep none for that", len(globs), maxList)
		return
	}
	for _, g := range globs {
		if wrong := checkGlob(g); wrong != "" {
			src.Fail(path, "%.130q: %s", g, wrong)
		}
	}
}

func age(src *tomlfile.Source, path string, text *string) time.Duration {
	if text == nil {
		return 0
	}
	d, err := parseAge(*text)
	if err != nil {
		src.Fail(path, "%w", err)
	}
	return d
}

// A Policy is the rules of a file, which is read again when it has changed. Safe
// for concurrent use.
type Policy struct {
	file string
	log  *slog.Logger

	mu    sync.Mutex
	files *reload.Files // as the last attempt read it, whatever came of it
	rules Rules
	err   error // why the rules are not to be used
}

// Open reads the rules in file. Errors: ErrConfig.
func Open(file string, log *slog.Logger) (*Policy, error) {
	if log == nil {
		log = slog.Default()
	}
	p := &Policy{file: file, log: log}
	p.load()
	return p, p.err
}

// Fixed returns a Policy of rules that are in no file.
func Fixed(rules Rules) *Policy { return &Policy{rules: rules} }

func (p *Policy) load() {
	p.files = &reload.Files{}
	text, err := p.files.Read(p.file, maxFileSize)
	if err != nil {
		p.rules, p.err = nil, fmt.Errorf("%w: %w", ErrConfig, err)
		return
	}
	p.rules, p.err = ParseRules(p.file, text)
}

// Rules returns the rules as the file has them now. One that has become wrong
// does not leave the old rules in force: what these would remove, the new ones
// may have been to keep. Errors: ErrConfig.
func (p *Policy) Rules() (Rules, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.look()
	return p.rules, p.err
}

// look reads the file again if it has changed, and logs what came of it.
func (p *Policy) look() {
	if p.files == nil || !p.files.Changed() {
		return
	}
	if p.load(); p.err != nil {
		p.log.Error("the changed retention rules cannot be used, and nothing is removed by the old ones either: mend them", "file", p.file, "error", p.err)
		return
	}
	p.log.Info("retention rules were read again", "file", p.file, "rules", len(p.rules))
}

// Watch looks every so often whether the file has changed, until ctx ends, so
// that whoever changes it is told at once what is wrong with it.
func (p *Policy) Watch(ctx context.Context, every time.Duration) {
	reload.Poll(ctx, every, func(context.Context) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.look()
	})
}
