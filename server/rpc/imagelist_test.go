package rpc

import (
	"strings"
	"testing"

	"github.com/laminastore/lamina/reference"
)

// No name is lost or listed needlessly where a prefix begins.
func TestJustBefore(t *testing.T) {
	var strs []string
	chars := "-./09_az"
	for _, a := range chars {
		for _, b := range " " + chars {
			for _, c := range " " + chars {
				strs = append(strs, strings.ReplaceAll(string(a)+string(b)+string(c), " ", ""))
			}
		}
	}
	var names []string
	for _, s := range strs {
		if _, err := reference.ParseRepository(s); err == nil {
			names = append(names, s)
		}
	}
	for _, prefix := range strs {
		if strings.Contains("-./_", prefix[:1]) {
			continue
		}
		after := justBefore(prefix)
		for _, name := range names {
			if listed := name > after; listed != (name >= prefix) {
				t.Fatalf("%q after %q: %v, but the prefix is %q", name, after, listed, prefix)
			}
		}
	}
}
