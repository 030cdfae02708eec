package rpc

import (
	"strings"
	"testing"

	"github.com/laminastore/lamina/reference"
)

// No name is lost or listed needlessly where a prefix begins.
func TestJustBefore(t *testing.T) {
	var names []string
	chars := "-./019_amz"
	for _, a := range chars {
		for _, b := range " " + chars {
			for _, c := range " " + chars {
				names = append(names, strings.ReplaceAll(string(a)+string(b)+string(c), " ", ""))
			}
		}
	}
	for _, prefix := range names {
		if strings.Contains("-./_", prefix[:1]) {
			continue
		}
		after := justBefore(prefix)
		for _, name := range names {
			if _, err := reference.ParseRepository(name); err != nil {
				continue
			}
			if listed := name > after; listed != (name >= prefix) {
				t.Fatalf("%q after %q: %v, but the prefix is %q", name, after, listed, prefix)
			}
		}
	}
}
