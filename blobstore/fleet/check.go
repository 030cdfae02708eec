package fleet

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/reference"
)

// Limits of what a node says.
const (
	MaxContainers = 10_000
	MaxLabels     = 64 // of one container
	maxLabelSize  = 4096
)

var nodeIDRE = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$`)

// CheckNodeID says what is wrong with the id of a node.
// Errors: blobstore.ErrNodeInvalid.
func CheckNodeID(id string) error {
	if !nodeIDRE.MatchString(id) {
		return remedy(fail(blobstore.ErrNodeInvalid, fmt.Sprintf("%.128q", id), "no id of a node"),
			"use 1 to 128 letters, digits, - _ and ., not beginning with a dot")
	}
	return nil
}

func (n *Node) check() error {
	if err := CheckNodeID(n.ID); err != nil {
		return err
	}
	invalid := func(err error) error { return fail(blobstore.ErrNodeInvalid, n.ID, "%v", err) }
	if err := text("hostname", n.Hostname, 255); err != nil {
		return invalid(err)
	}
	if err := text("version", n.Version, 128); err != nil {
		return invalid(err)
	}
	if len(n.Containers) > MaxContainers {
		return fail(blobstore.ErrTooLarge, n.ID, "%d containers in one report, at most %d", len(n.Containers), MaxContainers)
	}
	seen := make(map[[2]string]bool, len(n.Containers))
	for i := range n.Containers {
		c := &n.Containers[i]
		if err := c.check(); err != nil {
			return invalid(fmt.Errorf("container %.80q: %w", c.ID, err))
		}
		key := [2]string{c.Namespace, c.ID}
		if seen[key] {
			return invalid(fmt.Errorf("container %s/%s is listed twice", c.Namespace, c.ID))
		}
		seen[key] = true
	}
	return nil
}

func (c *Container) check() error {
	for _, f := range []struct {
		name, value string
		max         int
		required    bool
	}{
		{"namespace", c.Namespace, 128, true}, {"id", c.ID, 256, true}, {"image", c.Image, 1024, false},
	} {
		if f.required && f.value == "" {
			return fmt.Errorf("it has no %s", f.name)
		}
		if err := text(f.name, f.value, f.max); err != nil {
			return err
		}
	}
	for _, d := range []digest.Digest{c.ImageDigest, c.ChainID} {
		if d != "" {
			if _, err := reference.ParseDigest(string(d)); err != nil {
				return err
			}
		}
	}
	switch c.State {
	case Unknown, Created, Running, Paused, Stopped:
	default:
		return fmt.Errorf("state %.40q is none", c.State)
	}
	if c.WrittenBytes < 0 || c.WrittenInodes < 0 {
		return fmt.Errorf("it has written %d bytes and %d inodes", c.WrittenBytes, c.WrittenInodes)
	}
	if len(c.Labels) > MaxLabels {
		return fmt.Errorf("it has %d labels, at most %d are kept", len(c.Labels), MaxLabels)
	}
	for k, v := range c.Labels {
		if len(k)+len(v) > maxLabelSize || !utf8.ValidString(k) || !utf8.ValidString(v) {
			return fmt.Errorf("label %.80q is longer than %d bytes or no text", k, maxLabelSize)
		}
	}
	return nil
}

// text checks what ends up on somebody's terminal.
func text(name, s string, max int) error {
	switch {
	case len(s) > max:
		return fmt.Errorf("%s has %d bytes, at most %d", name, len(s), max)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		return fmt.Errorf("%s %.80q is no printable text", name, s)
	}
	return nil
}
