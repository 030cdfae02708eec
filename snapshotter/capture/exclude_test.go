package capture_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/laminastore/lamina/internal/treetest"
	"github.com/laminastore/lamina/snapshotter/capture"
)

// What is excluded keeps the state that it has in the image.
func TestExclude(t *testing.T) {
	for _, tt := range []struct {
		name    string
		exclude []string
		do      func(root string) error
		entries []string
	}{
		{
			"a new folder", []string{"/var/cache"},
			func(root string) error { return errors.Join(mkfile(root+"/var/cache/x"), mkfile(root+"/var/lib/y")) },
			[]string{"var/", "var/lib/", "var/lib/y"},
		},
		{
			"all that is new", []string{"var"},
			func(root string) error { return mkfile(root + "/var/cache/x") },
			nil,
		},
		{
			"a file that was written to", []string{"etc/passwd"},
			func(root string) error { return errors.Join(mkfile(root+"/etc/passwd"), mkfile(root+"/etc/new")) },
			[]string{"etc/", "etc/new"},
		},
		{
			"a file that was deleted", []string{"**/passwd"},
			func(root string) error { return errors.Join(os.Remove(root+"/etc/passwd"), os.Remove(root+"/bin/sh")) },
			[]string{"bin/", "bin/.wh.sh", "etc/"}, // of etc the time has changed
		},
		{
			"all but", []string{"*", "!srv/a/b"},
			func(root string) error {
				return errors.Join(mkfile(root+"/srv/a/b/new"), mkfile(root+"/srv/a/new"), mkfile(root+"/new"))
			},
			[]string{"srv/", "srv/a/", "srv/a/b/", "srv/a/b/new"},
		},
		{
			"all but something new", []string{"var", "!var/keep", "var/keep/not"},
			func(root string) error {
				return errors.Join(mkfile(root+"/var/keep/yes"), mkfile(root+"/var/keep/not"), mkfile(root+"/var/no"))
			},
			[]string{"var/", "var/keep/", "var/keep/yes"},
		},
		{
			"something in a folder that was deleted", []string{"srv/a/b/c"},
			func(root string) error { return os.RemoveAll(root + "/srv") },
			[]string{"srv/", "srv/a/", "srv/a/.wh.sibling"},
		},
		{
			"nothing in a folder that was deleted", []string{"srv/x"},
			func(root string) error { return os.RemoveAll(root + "/srv") },
			[]string{".wh.srv"},
		},
		{
			"something in a folder that was made again", []string{"etc/app/conf"},
			func(root string) error {
				return errors.Join(os.RemoveAll(root+"/etc"), mkfile(root+"/etc/app/other"))
			},
			[]string{"etc/", "etc/app/", "etc/app/.wh.extra", "etc/app/other", "etc/.wh.passwd"},
		},
		{
			"something that was made again", []string{"etc/passwd"},
			func(root string) error {
				return errors.Join(os.RemoveAll(root+"/etc"), mkfile(root+"/etc/passwd"), mkfile(root+"/etc/new"))
			},
			[]string{"etc/", "etc/.wh.app", "etc/new"},
		},
		{
			"a folder that was made again, but for a part", []string{"etc/app", "!etc/app/extra"},
			func(root string) error {
				return errors.Join(os.RemoveAll(root+"/etc/app"), mkfile(root+"/etc/app/new"))
			},
			[]string{"etc/", "etc/app/", "etc/app/.wh.extra"},
		},
		{
			"deletions but for a part", []string{"srv", "!srv/a/sibling"},
			func(root string) error { return os.RemoveAll(root + "/srv") },
			[]string{"srv/", "srv/a/", "srv/a/.wh.sibling"},
		},
		{
			"comments and blanks", []string{"", "  ", " /var ", "/"},
			func(root string) error { return mkfile(root + "/var/x") },
			nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStack(t)
			files(t, s.upper, image)
			s.push(t)
			root, unmount := s.mount(t)
			must(t, tt.do(root))
			view := treetest.Read(t, root)
			unmount()
			below, unmount := s.below(t)
			defer unmount()
			before := treetest.Read(t, below)

			layer, _ := s.write(t, capture.Options{Exclude: tt.exclude})
			if diff := cmp.Diff(tt.entries, entries(t, layer)); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
			// Every file is as in the image or as in the container, and the two ways
			// to unpack agree.
			applied := treetest.Read(t, s.applied(t, layer))
			for name, got := range applied {
				if got.Content != view[name].Content && got.Content != before[name].Content {
					t.Errorf("%s is neither the image's nor the container's", name)
				}
			}
			stacked, unmountStacked := s.stacked(t, layer)
			defer unmountStacked()
			if diff := cmp.Diff(applied, treetest.Read(t, stacked)); diff != "" {
				t.Errorf("(-unpacked onto a copy +unpacked as an upper):\n%s", diff)
			}
		})
	}
}

func mkfile(path string) error {
	if err := os.MkdirAll(path[:strings.LastIndex(path, "/")], 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte("the container's"), 0o644)
}

func TestBadPatterns(t *testing.T) {
	for _, patterns := range [][]string{
		{"!"}, {"! "}, {"[a"}, {"a", "x\\"}, {"\xff"}, {"a\x00"}, {strings.Repeat("a", 4097)}, make([]string, 1001), {"[b-a]"}, {"!/"},
	} {
		if err := capture.CheckPatterns(patterns); !errors.Is(err, capture.ErrPattern) {
			t.Errorf("%.20q: %v", patterns, err)
		}
	}
	if err := capture.CheckPatterns([]string{"**/node_modules", "!a/**/b?[c-d]*", "/tmp/", "é*"}); err != nil {
		t.Error(err)
	}
}

// Patterns come from whoever commits.
func FuzzPatterns(f *testing.F) {
	for _, p := range []string{"**/a", "a/**", "!b", "[a-z]?*", "\\*", "***", "a//b/../c", "(a|b)+", "!!a", "**", "{a,b}"} {
		f.Add(p, "a/b/c")
	}
	f.Fuzz(func(t *testing.T, pattern, path string) {
		s := strings.SplitN(pattern, "\n", 4)
		if err := capture.CheckPatterns(s); err != nil {
			if !errors.Is(err, capture.ErrPattern) {
				t.Fatal(err)
			}
			return
		}
		if err := capture.MatchForTest(s, path); err != nil {
			t.Errorf("%q against %q: %v", s, path, err)
		}
	})
}
