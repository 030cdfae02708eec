package capture

import "strings"

// MatchForTest matches a path part by part, as a walk does.
func MatchForTest(patterns []string, path string) error {
	x, err := newExclusions(patterns)
	if err != nil {
		return err
	}
	var info matched
	for i := range path + "/" {
		if i < len(path) && path[i] != '/' || strings.Trim(path[:i], "/") == "" {
			continue
		}
		if _, info, err = x.match(path[:i], info); err != nil {
			return err
		}
	}
	return nil
}
