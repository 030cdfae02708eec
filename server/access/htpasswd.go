package access

import (
	"bufio"
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// Limits of the file of users.
const (
	maxHtpasswdSize = 4 << 20 // bytes
	maxUsers        = 20_000
	// maxCost keeps a hash from taking more than about a second to compare.
	maxCost = 14
)

// userRE leaves out "_token", which stands for a token in place of a password.
var userRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}$`)

// Users are the names in the file, and the bcrypt hashes of their passwords.
type users struct {
	hashes map[string][]byte
	sorted [][]byte // all hashes, for comparing with one that is nobody's
}

// parseHtpasswd reads lines NAME:HASH as `htpasswd -B` writes them. What its
// errors say has no hash in it. Errors: ErrConfig, with the line.
func parseHtpasswd(name string, text []byte) (*users, error) {
	u := &users{hashes: make(map[string][]byte)}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		fail := func(format string, args ...any) (*users, error) {
			return nil, fmt.Errorf("%w: %s:%d: %s", ErrConfig, name, n, fmt.Sprintf(format, args...))
		}
		user, hash, ok := strings.Cut(line, ":")
		if !ok {
			return fail("it is not NAME:HASH: write it with `htpasswd -B`")
		}
		if !userRE.MatchString(user) {
			return fail("the name %.32q cannot be a user's: use 1 to 128 letters, digits and . _ @ + -, beginning with a letter or digit", user)
		}
		if u.hashes[user] != nil {
			return fail("user %s is there twice", user)
		}
		cost, err := bcrypt.Cost([]byte(hash))
		switch {
		case err != nil || len(hash) != 60:
			return fail("the password of %s is not hashed by bcrypt: write it with `htpasswd -B`", user)
		case cost > maxCost:
			return fail("the password of %s has a cost of %d, which would take seconds to check: allowed are at most %d", user, cost, maxCost)
		case len(u.hashes) == maxUsers:
			return fail("more than %d users", maxUsers)
		}
		u.hashes[user] = []byte(hash)
		u.sorted = append(u.sorted, []byte(hash))
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%w: %s: a line is too long: %w", ErrConfig, name, err)
	}
	return u, nil
}
