// Package reference has the names of things in a registry: repositories, tags,
// and the references that people type. The rules are those of the OCI
// distribution specification 1.1, "Pulling manifests".
package reference

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	_ "crypto/sha256" // the algorithms whose digests are accepted
	_ "crypto/sha512"

	"github.com/opencontainers/go-digest"
)

// The classes of error; tell them apart with errors.Is.
var (
	ErrRepository        = errors.New("invalid repository name")
	ErrTag               = errors.New("invalid tag")
	ErrDigest            = errors.New("invalid digest")
	ErrDigestUnsupported = errors.New("digest algorithm is not supported")
	ErrReference         = errors.New("invalid reference")
)

const (
	// MaxRepositoryLength is the longest repository name in bytes; clients
	// limit the name with the host to 255.
	MaxRepositoryLength = 255
	// MaxPartLength is the longest part of one between slashes: what a folder
	// of a file system may be called, less a few.
	MaxPartLength = 240
	// MaxTagLength is the longest tag in bytes.
	MaxTagLength = 128
)

var (
	repositoryRE = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagRE        = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]*$`)
	hostRE       = regexp.MustCompile(`^([a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?$`)
)

// A Repository is the valid name of a repository, as in "demo/node-app".
type Repository string

// ParseRepository checks s. Errors: ErrRepository.
func ParseRepository(s string) (Repository, error) {
	switch {
	case len(s) > MaxRepositoryLength:
		return "", fmt.Errorf("%w: %q… has %d characters, allowed are %d", ErrRepository, s[:32], len(s), MaxRepositoryLength)
	case !repositoryRE.MatchString(s):
		return "", fmt.Errorf("%w %q: use lower-case letters, digits and single separators (. _ __ -), with / between parts", ErrRepository, s)
	}
	for part := range strings.SplitSeq(s, "/") {
		if len(part) > MaxPartLength {
			return "", fmt.Errorf("%w: its part %q… has %d characters, allowed are %d", ErrRepository, part[:32], len(part), MaxPartLength)
		}
	}
	return Repository(s), nil
}

// A Tag is a valid tag, as in "1.2".
type Tag string

// ParseTag checks s. Errors: ErrTag.
func ParseTag(s string) (Tag, error) {
	switch {
	case len(s) > MaxTagLength:
		return "", fmt.Errorf("%w: %q… has %d characters, allowed are %d", ErrTag, s[:32], len(s), MaxTagLength)
	case !tagRE.MatchString(s):
		return "", fmt.Errorf("%w %q: use letters, digits, _ . and -, not beginning with . or -", ErrTag, s)
	}
	return Tag(s), nil
}

// ParseDigest checks s. Errors: ErrDigest when s is no digest,
// ErrDigestUnsupported when it is one of an algorithm other than sha256 and
// sha512.
func ParseDigest(s string) (digest.Digest, error) {
	d := digest.Digest(s)
	switch err := d.Validate(); {
	case errors.Is(err, digest.ErrDigestUnsupported):
		return "", fmt.Errorf("%w: %q; use sha256 or sha512", ErrDigestUnsupported, d.Algorithm())
	case err != nil:
		return "", fmt.Errorf("%w %.100q: %v", ErrDigest, s, err)
	case d.Algorithm() != digest.SHA256 && d.Algorithm() != digest.SHA512:
		return "", fmt.Errorf("%w: %q; use sha256 or sha512", ErrDigestUnsupported, d.Algorithm())
	}
	return d, nil
}

// A Reference names an image: a repository, where it is, and in it a tag or a
// digest (or both: then the digest counts).
type Reference struct {
	Host       string // "localhost:5000"; empty when none was given
	Repository Repository
	Tag        Tag
	Digest     digest.Digest
}

// Parse reads "[HOST[:PORT]/]REPOSITORY[:TAG][@DIGEST]". As everywhere in the
// field, the part before the first slash is a host when it has a dot or a
// colon or is "localhost". Without tag and digest the tag is "latest".
// Errors: ErrReference, with the class of the part that is wrong.
func Parse(s string) (Reference, error) {
	var r Reference
	fail := func(err error) (Reference, error) {
		return Reference{}, fmt.Errorf("%w %.300q: %w", ErrReference, s, err)
	}
	rest := s
	if first, after, ok := strings.Cut(rest, "/"); ok && (first == "localhost" || strings.ContainsAny(first, ".:")) {
		if !hostRE.MatchString(first) {
			return fail(fmt.Errorf("%q is no host", first))
		}
		r.Host, rest = first, after
	}
	var err error
	if name, d, ok := strings.Cut(rest, "@"); ok {
		if r.Digest, err = ParseDigest(d); err != nil {
			return fail(err)
		}
		rest = name
	}
	if name, tag, ok := strings.Cut(rest, ":"); ok {
		if r.Tag, err = ParseTag(tag); err != nil {
			return fail(err)
		}
		rest = name
	}
	if r.Repository, err = ParseRepository(rest); err != nil {
		return fail(err)
	}
	if r.Tag == "" && r.Digest == "" {
		r.Tag = "latest"
	}
	return r, nil
}

// Locator is the part that comes after the repository: what a registry's
// manifest URL ends with.
func (r Reference) Locator() Locator { return Locator{Tag: r.Tag, Digest: r.Digest} }

// String is the reference as Parse reads it.
func (r Reference) String() string {
	var b strings.Builder
	if r.Host != "" {
		b.WriteString(r.Host + "/")
	}
	b.WriteString(string(r.Repository))
	if r.Tag != "" {
		b.WriteString(":" + string(r.Tag))
	}
	if r.Digest != "" {
		b.WriteString("@" + string(r.Digest))
	}
	return b.String()
}

// A Locator finds a manifest in a repository: by its digest if that is set,
// else by the tag.
type Locator struct {
	Tag    Tag
	Digest digest.Digest
}

// ParseLocator reads a tag or a digest. Errors: ErrTag, ErrDigest,
// ErrDigestUnsupported.
func ParseLocator(s string) (Locator, error) {
	if strings.Contains(s, ":") {
		d, err := ParseDigest(s)
		return Locator{Digest: d}, err
	}
	t, err := ParseTag(s)
	return Locator{Tag: t}, err
}

func (l Locator) String() string {
	if l.Digest != "" {
		return string(l.Digest)
	}
	return string(l.Tag)
}
