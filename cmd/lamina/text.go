package main

import (
	"strconv"
	"strings"
)

func itoa(n int) string { return strconv.Itoa(n) }

func list(words []string) string { return strings.Join(words, ", ") }

// hasTag says whether a reference has a tag written out.
func hasTag(ref string) bool {
	return strings.Contains(ref[strings.LastIndexByte(ref, '/')+1:], ":")
}
