package node

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

func TestContainerIsFoundByWhatPeopleType(t *testing.T) {
	one := func(ns, id, name string) container {
		c := &pb.Container{Namespace: ns, Id: id}
		if name != "" {
			c.Labels = map[string]string{nameLabel: name}
		}
		return container{Container: c}
	}
	list := []container{
		one("default", "web-1", ""), one("default", "web-10", ""), one("k8s.io", "web-1", ""),
		one("default", "4f2a9c", "db"), one("default", "4f2b77", "cache"), one("default", "db-old", ""),
	}
	for name, want := range map[string]string{
		"web-10": "default/web-10", "4f2a": "default/4f2a9c", "db": "default/4f2a9c", "cache": "default/4f2b77", "db-": "default/db-old",
	} {
		if c, err := pick(list, "", name); err != nil || c.Namespace+"/"+c.Id != want {
			t.Errorf("%s: %v, %v", name, c.Container, err)
		}
	}
	if c, err := pick(list, "k8s.io", "web-1"); err != nil || c.Namespace != "k8s.io" {
		t.Errorf("in a namespace: %v, %v", c.Container, err)
	}
	for name, class := range map[string]error{"web-1": errAmbiguous, "4f2": errAmbiguous, "none": errNoContainer, "": errNoContainer} {
		_, err := pick(list, "", name)
		if !errors.Is(err, class) {
			t.Errorf("%q: %v", name, err)
		}
		if class == errAmbiguous && !strings.Contains(err.Error(), name) {
			t.Errorf("%q: it does not say which: %v", name, err)
		}
	}
}

func TestNodeKeepsItsName(t *testing.T) {
	root := t.TempDir()
	one, err := nodeID(root)
	if err != nil || !idRE.MatchString(one) {
		t.Fatal(one, err)
	}
	if two, err := nodeID(root); err != nil || two != one {
		t.Fatal(two, err)
	}
	if other, err := nodeID(t.TempDir()); err != nil || other == one {
		t.Fatal("two nodes have one name:", other, err)
	}
	path := filepath.Join(root, "node-id")
	if err := os.WriteFile(path, []byte("a b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := nodeID(root); err == nil || !strings.Contains(err.Error(), path) {
		t.Fatal(err)
	}
}
