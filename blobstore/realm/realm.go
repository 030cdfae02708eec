// Package realm says which repositories may share pieces of files.
//
// Repositories of one realm share what their layers have in common; those of
// two realms never do: whatever the store derives from a layer (its record, and
// the packs of its pieces) is kept for each realm by itself, under a key that
// has the realm's name in it. Whole blobs are stored once for all realms.
//
// A realm is a set of name prefixes, each of whole parts between slashes:
// "team" is the prefix of "team" and of "team/app", not of "teams/app". The
// longest prefix of a repository decides, and what no prefix covers is in the
// realm [Default].
//
// # Compatibility
//
// The name of a realm is part of keys in the bucket, and the map is kept there
// as a record: names and prefixes that are valid today stay so.
package realm

import (
	"maps"
	"slices"
	"strings"

	"github.com/laminastore/lamina/reference"
)

// A Name is the valid name of a realm, as in "team-a".
type Name string

// Default is the realm of every repository that no prefix covers.
const Default Name = "default"

// A Realm is a name and the prefixes of the repositories that are in it.
type Realm struct {
	Name     Name
	Prefixes []string
}

// A Map tells the realm of each repository. The zero Map has all of them in
// Default. It never changes, and is safe for concurrent use.
type Map struct {
	// at has for a prefix the realm of what is below it, where that is another
	// than without the prefix: so two maps that agree on all repositories are
	// the same.
	at map[string]Name
}

// Of returns the realm of repo.
func (m Map) Of(repo reference.Repository) Name {
	if len(m.at) == 0 {
		return Default
	}
	for p, ok := string(repo), true; ok; p, ok = above(p) {
		if n, ok := m.at[p]; ok {
			return n
		}
	}
	return Default
}

// above is the longest prefix of p that is shorter.
func above(p string) (string, bool) {
	i := strings.LastIndexByte(p, '/')
	if i < 0 {
		return "", false
	}
	return p[:i], true
}

// Equal says whether both maps have every repository in the same realm.
func (m Map) Equal(other Map) bool { return maps.Equal(m.at, other.at) }

// Realms lists the realms in the canonical form: ordered by name, each with its
// prefixes in order, without those that change nothing.
func (m Map) Realms() []Realm {
	prefixes := map[Name][]string{}
	for p, n := range m.at {
		prefixes[n] = append(prefixes[n], p)
	}
	var rs []Realm
	for _, n := range slices.Sorted(maps.Keys(prefixes)) {
		slices.Sort(prefixes[n])
		rs = append(rs, Realm{n, prefixes[n]})
	}
	return rs
}

// String is the canonical form as [Parse] reads it, "a=team/a,x b=team/b": equal
// for equal maps, and empty for the zero Map.
func (m Map) String() string {
	var b strings.Builder
	for i, r := range m.Realms() {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(string(r.Name) + "=" + strings.Join(r.Prefixes, ","))
	}
	return b.String()
}

// Has says whether there is a realm of this name; Default always is.
func (m Map) Has(n Name) bool {
	if n == Default {
		return true
	}
	for _, at := range m.at {
		if at == n {
			return true
		}
	}
	return false
}
