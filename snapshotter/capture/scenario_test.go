package capture_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/laminastore/lamina/snapshotter/capture"
)

var image = map[string]string{
	"bin/sh":         "shell",
	"etc/app/conf":   "port=80",
	"etc/app/extra":  "x",
	"etc/passwd":     "root",
	"link":           "->etc/passwd",
	"srv/a/b/c/deep": "deep",
	"srv/a/sibling":  "s",
	"empty/":         "",
}

// What a container does, and what the layer and the list then have.
var scenarios = []struct {
	name    string
	do      func(t testing.TB, root string)
	list    []string
	entries []string
}{
	{"nothing", func(t testing.TB, root string) {}, nil, nil},
	{
		"a new file", func(t testing.TB, root string) { files(t, root, map[string]string{"etc/new": "new"}) },
		[]string{"C /etc", "A /etc/new"}, []string{"etc/", "etc/new"},
	},
	{
		"a new folder", func(t testing.TB, root string) { files(t, root, map[string]string{"var/log/app.log": "line"}) },
		[]string{"A /var", "A /var/log", "A /var/log/app.log"}, []string{"var/", "var/log/", "var/log/app.log"},
	},
	{
		"a file written to", func(t testing.TB, root string) {
			files(t, root, map[string]string{"srv/a/b/c/deep": "deeper"})
		},
		[]string{"C /srv", "C /srv/a", "C /srv/a/b", "C /srv/a/b/c", "C /srv/a/b/c/deep"},
		[]string{"srv/", "srv/a/", "srv/a/b/", "srv/a/b/c/", "srv/a/b/c/deep"},
	},
	{
		"a file deleted", func(t testing.TB, root string) { must(t, os.Remove(root+"/etc/passwd")) },
		[]string{"C /etc", "D /etc/passwd"}, []string{"etc/", "etc/.wh.passwd"},
	},
	{
		"a folder deleted", func(t testing.TB, root string) { must(t, os.RemoveAll(root+"/srv")) },
		[]string{"D /srv"}, []string{".wh.srv"},
	},
	{
		"a file deleted and created again", func(t testing.TB, root string) {
			must(t, os.Remove(root+"/etc/passwd"))
			files(t, root, map[string]string{"etc/passwd": "other"})
		},
		[]string{"C /etc", "C /etc/passwd"}, []string{"etc/", "etc/passwd"},
	},
	{
		"a folder deleted and created again", func(t testing.TB, root string) {
			must(t, os.RemoveAll(root+"/etc/app"))
			files(t, root, map[string]string{"etc/app/conf": "port=81", "etc/app/sub/new": "new"})
		},
		[]string{"C /etc", "C /etc/app", "C /etc/app/conf", "D /etc/app/extra", "A /etc/app/sub", "A /etc/app/sub/new"},
		[]string{"etc/", "etc/app/", "etc/app/.wh..wh..opq", "etc/app/conf", "etc/app/sub/", "etc/app/sub/new"},
	},
	{
		"a tree deleted and a part of it created again", func(t testing.TB, root string) {
			must(t, os.RemoveAll(root+"/srv"))
			files(t, root, map[string]string{"srv/a/b/other": "o"})
		},
		[]string{"C /srv", "C /srv/a", "C /srv/a/b", "D /srv/a/b/c", "A /srv/a/b/other", "D /srv/a/sibling"},
		[]string{"srv/", "srv/.wh..wh..opq", "srv/a/", "srv/a/b/", "srv/a/b/other"},
	},
	{
		"a file replaced by a folder", func(t testing.TB, root string) {
			must(t, os.Remove(root+"/etc/passwd"))
			files(t, root, map[string]string{"etc/passwd/root": "0"})
		},
		[]string{"C /etc", "C /etc/passwd", "A /etc/passwd/root"}, []string{"etc/", "etc/passwd/", "etc/passwd/root"},
	},
	{
		"a folder replaced by a file", func(t testing.TB, root string) {
			must(t, os.RemoveAll(root+"/srv"))
			files(t, root, map[string]string{"srv": "a file now"})
		},
		[]string{"C /srv"}, []string{"srv"},
	},
	{
		"a folder replaced by a symbolic link", func(t testing.TB, root string) {
			must(t, os.RemoveAll(root+"/srv"))
			files(t, root, map[string]string{"srv": "->etc"})
		},
		[]string{"C /srv"}, []string{"srv"},
	},
	{
		"a symbolic link replaced by a folder", func(t testing.TB, root string) {
			must(t, os.Remove(root+"/link"))
			files(t, root, map[string]string{"link/x": "x"})
		},
		[]string{"C /link", "A /link/x"}, []string{"link/", "link/x"},
	},
	{
		"a new file deleted again", func(t testing.TB, root string) {
			before := stat(t, root+"/etc")
			files(t, root, map[string]string{"etc/tmp/x": "x"})
			must(t, os.RemoveAll(root+"/etc/tmp"))
			must(t, os.Chtimes(root+"/etc", time.Now(), time.Unix(before.Mtim.Unix())))
		},
		nil, nil,
	},
	{
		"a folder's mode", func(t testing.TB, root string) { must(t, os.Chmod(root+"/etc/app", 0o700)) },
		[]string{"C /etc", "C /etc/app"}, []string{"etc/", "etc/app/"},
	},
	{
		"owners set to what they were", func(t testing.TB, root string) {
			must(t, os.Lchown(root+"/etc", 0, 0))
			must(t, os.Lchown(root+"/etc/passwd", 0, 0))
			must(t, os.Lchown(root+"/link", 0, 0))
		},
		nil, nil,
	},
	{
		"a content that differs and nothing else", func(t testing.TB, root string) {
			before := stat(t, root+"/etc/passwd")
			files(t, root, map[string]string{"etc/passwd": "toor"})
			must(t, os.Chtimes(root+"/etc/passwd", time.Now(), time.Unix(before.Mtim.Unix())))
		},
		[]string{"C /etc", "C /etc/passwd"}, []string{"etc/", "etc/passwd"},
	},
	{
		"a link's owner", func(t testing.TB, root string) { must(t, os.Lchown(root+"/link", 7, 8)) },
		[]string{"C /link"}, []string{"link"},
	},
	{
		"names of all kinds", func(t testing.TB, root string) {
			files(t, root, map[string]string{
				"new\nline":              "1",
				"not utf-8 \xff\xfe":     "2",
				strings.Repeat("l", 255): "3",
				"-rf":                    "4",
				"ünï":                    "5",
				"..hidden":               "6",
				"spaces at the end  ":    "7",
				"back\\slash\"quote'":    "8",
				strings.Repeat("d", 200) + "/" + "with\ttab/\x01": "9",
				"wh.": "10",
			})
		},
		[]string{
			"A /-rf", "A /..hidden", "A /back\\slash\"quote'", "A /" + strings.Repeat("d", 200),
			"A /" + strings.Repeat("d", 200) + "/with\ttab", "A /" + strings.Repeat("d", 200) + "/with\ttab/\x01",
			"A /" + strings.Repeat("l", 255), "A /new\nline", "A /not utf-8 \xff\xfe", "A /spaces at the end  ", "A /wh.", "A /ünï",
		},
		[]string{
			"-rf", "..hidden", "back\\slash\"quote'", strings.Repeat("d", 200) + "/",
			strings.Repeat("d", 200) + "/with\ttab/", strings.Repeat("d", 200) + "/with\ttab/\x01",
			strings.Repeat("l", 255), "new\nline", "not utf-8 \xff\xfe", "spaces at the end  ", "wh.", "ünï",
		},
	},
	{
		"hard links", func(t testing.TB, root string) {
			files(t, root, map[string]string{"z/one": "content", "a/": ""})
			must(t, os.Link(root+"/z/one", root+"/z/two"))
			must(t, os.Link(root+"/z/one", root+"/a/three"))
			must(t, os.Symlink("x", root+"/z/sym"))
			must(t, os.Link(root+"/z/sym", root+"/z/sym2"))
			must(t, unix.Mkfifo(root+"/z/fifo", 0o600))
			must(t, os.Link(root+"/z/fifo", root+"/z/fifo2"))
		},
		[]string{"A /a", "A /a/three", "A /z", "A /z/fifo", "A /z/fifo2", "A /z/one", "A /z/sym", "A /z/sym2", "A /z/two"},
		[]string{"a/", "a/three", "z/", "z/fifo", "z/fifo2", "z/one", "z/sym", "z/sym2", "z/two"},
	},
	{
		"a hard link to a file of the image", func(t testing.TB, root string) {
			must(t, os.Link(root+"/bin/sh", root+"/bin/bash"))
		},
		[]string{"C /bin", "A /bin/bash", "C /bin/sh"}, []string{"bin/", "bin/bash", "bin/sh"},
	},
	{
		"devices, fifos and modes", func(t testing.TB, root string) {
			must(t, unix.Mknod(root+"/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
			must(t, unix.Mknod(root+"/disk", unix.S_IFBLK|0o660, int(unix.Mkdev(259, 300000))))
			must(t, unix.Mkfifo(root+"/pipe", 0o640))
			files(t, root, map[string]string{"suid": "s", "sticky/": ""})
			must(t, os.Chown(root+"/suid", 1000, 4294967294))
			must(t, unix.Chmod(root+"/suid", 0o6755))
			must(t, unix.Chmod(root+"/sticky", 0o3777))
		},
		[]string{"A /disk", "A /null", "A /pipe", "A /sticky", "A /suid"},
		[]string{"disk", "null", "pipe", "sticky/", "suid"},
	},
	{
		"extended attributes", func(t testing.TB, root string) {
			files(t, root, map[string]string{"cap": "c", "d/": ""})
			must(t, unix.Setxattr(root+"/cap", "security.capability", []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0))
			must(t, unix.Setxattr(root+"/cap", "user.binary", []byte("\x00\xff\n="), 0))
			must(t, unix.Setxattr(root+"/cap", "user.empty", nil, 0))
			must(t, unix.Setxattr(root+"/d", "user.on a folder", []byte("v"), 0))
			must(t, unix.Setxattr(root+"/etc", "user.on a lower's", []byte("v"), 0))
			must(t, unix.Setxattr(root+"/d", "system.posix_acl_default", acl, 0))
			must(t, unix.Setxattr(root+"/cap", "system.posix_acl_access", acl, 0))
		},
		[]string{"A /cap", "A /d", "C /etc"}, []string{"cap", "d/", "etc/"},
	},
	{
		"times before 1970 and with nanoseconds", func(t testing.TB, root string) {
			files(t, root, map[string]string{"old": "o", "precise": "p"})
			must(t, os.Chtimes(root+"/old", time.Now(), time.Unix(-1000, 500)))
			must(t, os.Chtimes(root+"/precise", time.Now(), time.Unix(1700000000, 123456789)))
		},
		[]string{"A /old", "A /precise"}, []string{"old", "precise"},
	},
	{
		"a sparse file", func(t testing.TB, root string) {
			f, err := os.Create(root + "/sparse")
			must(t, err)
			defer f.Close()
			for _, at := range []int64{1 << 20, 3<<20 + 17} {
				_, err = f.WriteAt([]byte("data"), at)
				must(t, err)
			}
			must(t, f.Truncate(5<<20+3))
		},
		[]string{"A /sparse"}, []string{"sparse"},
	},
}

// acl is u::rw-,u:1000:r--,g::r--,m::r--,o::--- (linux/posix_acl_xattr.h).
var acl = []byte("\x02\x00\x00\x00" +
	"\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x04\x00\xe8\x03\x00\x00" + "\x04\x00\x04\x00\xff\xff\xff\xff" +
	"\x10\x00\x04\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff")

func TestScenarios(t *testing.T) {
	for _, tt := range scenarios {
		t.Run(tt.name, func(t *testing.T) {
			s := newStack(t)
			files(t, s.upper, image)
			s.push(t)
			s.push(t) // a layer that adds nothing
			root, unmount := s.mount(t)
			tt.do(t, root)
			layer, result := s.write(t, capture.Options{})
			unmount()
			if diff := cmp.Diff(tt.entries, entries(t, layer)); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.list, s.list(t, capture.Options{})); diff != "" {
				t.Errorf("list (-want +got):\n%s", diff)
			}
			if n := result.Added + result.Changed + result.Deleted; n != int64(len(tt.list)) {
				t.Errorf("%d changes counted, %d listed", n, len(tt.list))
			}
			if result.SkippedCount != 0 || result.AlteredCount != 0 {
				t.Errorf("skipped %v, altered %v", result.Skipped, result.Altered)
			}
			s.check(t, layer)
			if again, _ := s.write(t, capture.Options{}); string(again) != string(layer) {
				t.Error("a second layer of the same upper has other bytes")
			}
		})
	}
}
