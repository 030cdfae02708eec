package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"crypto/rand"
)

var idRE = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,127}$`)

// nodeID returns the node's id, chosen at the first start and kept in root:
// host names come and go, and two hosts may have the same.
func nodeID(root string) (string, error) {
	path := filepath.Join(root, "node-id")
	raw, err := os.ReadFile(path)
	if err == nil {
		id := strings.TrimSpace(string(raw))
		if !idRE.MatchString(id) {
			return "", fmt.Errorf("%s holds %.40q, which is no node id; delete the file, and the node gets a new one", path, id)
		}
		return id, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("node id: %w", err)
	}
	id := strings.ToLower(rand.Text()[:16])
	if host, err := os.Hostname(); err == nil {
		if h := strings.ToLower(strings.SplitN(host, ".", 2)[0]); idRE.MatchString(h) && len(h) <= 63 {
			id = h + "-" + id[:8]
		}
	}
	if err := writeDurably(path, []byte(id+"\n")); err != nil {
		return "", fmt.Errorf("keep the node id: %w", err)
	}
	return id, nil
}

// writeDurably replaces a file: after a loss of power it has the old bytes or
// the new ones.
func writeDurably(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
