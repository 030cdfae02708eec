package transfer

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// A Kind is a kind of place.
type Kind string

const (
	OCI           Kind = "oci"
	OCIArchive    Kind = "oci-archive"
	DockerArchive Kind = "docker-archive"
	Registry      Kind = "docker"
)

// Forms shows how places are written, for people.
const Forms = "oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME] or docker://REF"

// maxLocation is the longest place in bytes: what a path may have, and a name.
const maxLocation = 4096 + 512

// What the OCI image-spec allows in the annotation that names an image in a
// layout ("Pre-Defined Annotation Keys").
var refNameRE = regexp.MustCompile(`^[A-Za-z0-9]+((--|[-._:@+])[A-Za-z0-9]+)*(/[A-Za-z0-9]+((--|[-._:@+])[A-Za-z0-9]+)*)*$`)

// A Location is a place that holds images.
type Location struct {
	Kind Kind
	Path string // of the folder or file; for Registry, the reference
	Name string // the image in it: a tag or a name; may be empty
}

// ParseLocation reads one of the Forms. As in other tools the first colon ends
// the path, so a path cannot have one. Errors: ErrLocation.
func ParseLocation(s string) (Location, error) {
	if len(s) > maxLocation {
		return Location{}, fmt.Errorf("%w %.40q…: it is %d characters long", ErrLocation, s, len(s))
	}
	kind, rest, ok := strings.Cut(s, ":")
	if !ok {
		return Location{}, fmt.Errorf("%w %q: no kind before it (%s)", ErrLocation, s, suggest(s))
	}
	l := Location{Kind: Kind(kind)}
	switch l.Kind {
	case Registry:
		ref, ok := strings.CutPrefix(rest, "//")
		if !ok || ref == "" {
			return Location{}, fmt.Errorf("%w %q: a registry is written docker://HOST/REPOSITORY:TAG", ErrLocation, s)
		}
		l.Path = ref
		return l, nil
	case OCI, OCIArchive, DockerArchive:
		l.Path, l.Name, ok = strings.Cut(rest, ":")
	default:
		return Location{}, fmt.Errorf("%w %q: %q is no kind of place (%s)", ErrLocation, s, kind, suggest(s))
	}
	switch {
	case l.Path == "" || strings.ContainsRune(l.Path, 0):
		return Location{}, fmt.Errorf("%w %q: no path (write it as %s)", ErrLocation, s, Forms)
	case ok && l.Name == "":
		return Location{}, fmt.Errorf("%w %q: nothing after the second colon (leave the colon out, or name the image)", ErrLocation, s)
	case l.Name != "" && (len(l.Name) > 512 || !refNameRE.MatchString(l.Name)):
		return Location{}, fmt.Errorf("%w %q: %q cannot name an image", ErrLocation, s, l.Name)
	}
	return l, nil
}

// String is the location as ParseLocation reads it.
func (l Location) String() string {
	if l.Kind == Registry {
		return "docker://" + l.Path
	}
	s := string(l.Kind) + ":" + l.Path
	if l.Name != "" {
		s += ":" + l.Name
	}
	return s
}

// suggest says what somebody who wrote s may have meant.
func suggest(s string) string {
	if fi, err := os.Stat(s); err == nil && !strings.Contains(s, ":") {
		switch {
		case !fi.IsDir():
			return fmt.Sprintf("did you mean docker-archive:%s or oci-archive:%s?", s, s)
		case exists(filepath.Join(s, "index.json")):
			return fmt.Sprintf("did you mean oci:%s?", s)
		}
	}
	if looksLikeReference(s) {
		return fmt.Sprintf("did you mean docker://%s?", s)
	}
	return "write it as " + Forms
}

func looksLikeReference(s string) bool {
	host, rest, ok := strings.Cut(s, "/")
	return ok && rest != "" && host != "" && host[0] != '.' && strings.ContainsAny(host, ".:")
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
