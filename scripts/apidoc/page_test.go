package main

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

// Without source information there are no comments, but everything is there,
// and every link leads somewhere.
func TestEverythingIsOnThePage(t *testing.T) {
	file := pb.File_lamina_v1_usage_proto
	set := &descriptorpb.FileDescriptorSet{}
	for f := range each(file.Imports()) {
		set.File = append(set.File, protodesc.ToFileDescriptorProto(f))
	}
	set.File = append(set.File, protodesc.ToFileDescriptorProto(file))
	in, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run(bytes.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	for s := range each(file.Services()) {
		for m := range each(s.Methods()) {
			if want := "### " + string(s.Name()) + "." + string(m.Name()) + "\n"; !strings.Contains(out.String(), want) {
				t.Errorf("%q is missing", want)
			}
		}
	}
	for m := range each(file.Messages()) {
		for f := range each(m.Fields()) {
			if want := "| `" + string(f.Name()) + "` = "; !strings.Contains(out.String(), want) {
				t.Errorf("%s: %q is missing", m.Name(), want)
			}
		}
	}
	linked(t, out.String())
}

// The page that is committed has the comments too; that it is what the protos
// make is lint's to check.
func TestLinksOfTheCommittedPage(t *testing.T) {
	b, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), "knowing a digest opens nothing") {
		t.Error("the page has no comments")
	}
	linked(t, string(b))
}

func TestBadInput(t *testing.T) {
	if err := run(strings.NewReader("nonsense"), &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "FileDescriptorSet") {
		t.Errorf("%v", err)
	}
}

// linked checks that each link inside a page has its target there, once.
func linked(t *testing.T, page string) {
	t.Helper()
	targets := map[string]int{}
	for _, m := range regexp.MustCompile(`<a id="([^"]+)">`).FindAllStringSubmatch(page, -1) {
		targets[m[1]]++
	}
	links := regexp.MustCompile(`\]\(#([^)]+)\)`).FindAllStringSubmatch(page, -1)
	if len(links) == 0 {
		t.Error("no links")
	}
	for _, m := range links {
		if targets[m[1]] != 1 {
			t.Errorf("#%s: %d targets", m[1], targets[m[1]])
		}
	}
}
