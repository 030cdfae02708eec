package main

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// own is the package that the page is about; others are only referred to.
const own = "lamina.v1"

const head = `# The gRPC API

*Made from the comments in [proto/lamina/v1](../proto/lamina/v1) by ` + "`make proto`" + `: change those, not this page.*

How to connect, retry and resume is shown by the examples in [proto/examples](../proto/examples). The server has reflection on, so
that ` + "`grpcurl`" + ` and the like work without the protos. Who may call what is in [access.md](access.md); the OCI API is in
[http.md](http.md).

`

// page is the whole reference, services first, files in the order of their names.
func page(all *protoregistry.Files) string {
	var files []protoreflect.FileDescriptor
	all.RangeFilesByPackage(own, func(f protoreflect.FileDescriptor) bool {
		files = append(files, f)
		return true
	})
	slices.SortFunc(files, func(a, b protoreflect.FileDescriptor) int { return strings.Compare(a.Path(), b.Path()) })

	var w strings.Builder
	w.WriteString(head)
	for _, f := range files {
		for s := range each(f.Services()) {
			fmt.Fprintf(&w, "* [%s](#%s)", s.Name(), anchor(s))
			for m := range each(s.Methods()) {
				fmt.Fprintf(&w, " · [%s](#%s)", m.Name(), anchor(m))
			}
			w.WriteString("\n")
		}
	}
	for _, f := range files {
		for s := range each(f.Services()) {
			service(&w, s)
		}
	}
	for _, f := range files {
		var b strings.Builder
		for m := range each(f.Messages()) {
			message(&b, m)
		}
		for e := range each(f.Enums()) {
			enum(&b, e)
		}
		if b.Len() > 0 {
			fmt.Fprintf(&w, "\n## Messages of %s\n%s", f.Path(), b.String())
		}
	}
	return w.String()
}

// list is what all lists of descriptors have in common.
type list[D any] interface {
	Len() int
	Get(int) D
}

// each goes through a list in the order of the file.
func each[D any](l list[D]) func(func(D) bool) {
	return func(yield func(D) bool) {
		for i := range l.Len() {
			if !yield(l.Get(i)) {
				return
			}
		}
	}
}

// anchor is unique on the page: "blobs.read", "descriptor".
func anchor(d protoreflect.Descriptor) string {
	return strings.ToLower(strings.TrimPrefix(string(d.FullName()), own+"."))
}

// comment is what stands before d, or behind it on its line, as Markdown.
func comment(d protoreflect.Descriptor) string {
	loc := d.ParentFile().SourceLocations().ByDescriptor(d)
	text := loc.LeadingComments
	if text == "" {
		text = loc.TrailingComments
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], " ")
	}
	return strings.NewReplacer("<", "&lt;", "*/", "").Replace(strings.Join(lines, "\n"))
}

// inline is a comment that fits a cell of a table.
func inline(d protoreflect.Descriptor) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(comment(d)), " "), "|", `\|`)
}

func service(w *strings.Builder, s protoreflect.ServiceDescriptor) {
	fmt.Fprintf(w, "\n<a id=%q></a>\n\n## %s\n\n`%s`\n\n%s\n", anchor(s), s.Name(), s.FullName(), comment(s))
	for m := range each(s.Methods()) {
		fmt.Fprintf(w, "\n<a id=%q></a>\n\n### %s.%s\n\n", anchor(m), s.Name(), m.Name())
		fmt.Fprintf(w, "%s%s → %s%s\n", stream(m.IsStreamingClient()), link(m.Input()), stream(m.IsStreamingServer()), link(m.Output()))
		if c := comment(m); c != "" {
			fmt.Fprintf(w, "\n%s\n", c)
		}
	}
}

func stream(is bool) string {
	if is {
		return "stream of "
	}
	return ""
}

// link names a message or enum, and leads to it where it is ours.
func link(d protoreflect.Descriptor) string {
	if d.ParentFile().Package() != own {
		return "`" + string(d.FullName()) + "`"
	}
	return fmt.Sprintf("[%s](#%s)", strings.TrimPrefix(string(d.FullName()), own+"."), anchor(d))
}

func message(w *strings.Builder, m protoreflect.MessageDescriptor) {
	if m.IsMapEntry() {
		return
	}
	title(w, m)
	if m.Fields().Len() == 0 {
		w.WriteString("\nIt has no fields.\n")
	} else {
		w.WriteString("\n| field | type | |\n|---|---|---|\n")
	}
	for f := range each(m.Fields()) {
		about := inline(f)
		if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
			about = strings.TrimSpace(fmt.Sprintf("(one of `%s`) %s", o.Name(), about))
		}
		fmt.Fprintf(w, "| `%s` = %d | %s | %s |\n", f.Name(), f.Number(), fieldType(f), about)
	}
	for n := range each(m.Messages()) {
		message(w, n)
	}
	for e := range each(m.Enums()) {
		enum(w, e)
	}
}

func fieldType(f protoreflect.FieldDescriptor) string {
	if f.IsMap() {
		return "map of " + kind(f.MapKey()) + " to " + kind(f.MapValue())
	}
	switch {
	case f.IsList():
		return "list of " + kind(f)
	case f.HasOptionalKeyword():
		return "optional " + kind(f)
	}
	return kind(f)
}

func kind(f protoreflect.FieldDescriptor) string {
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return link(f.Message())
	case protoreflect.EnumKind:
		return link(f.Enum())
	}
	return f.Kind().String()
}

func enum(w *strings.Builder, e protoreflect.EnumDescriptor) {
	title(w, e)
	w.WriteString("\n| value | |\n|---|---|\n")
	for v := range each(e.Values()) {
		fmt.Fprintf(w, "| `%s` = %d | %s |\n", v.Name(), v.Number(), inline(v))
	}
}

func title(w *strings.Builder, d protoreflect.Descriptor) {
	fmt.Fprintf(w, "\n<a id=%q></a>\n\n### %s\n", anchor(d), strings.TrimPrefix(string(d.FullName()), own+"."))
	if c := comment(d); c != "" {
		fmt.Fprintf(w, "\n%s\n", c)
	}
}
