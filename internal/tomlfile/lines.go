package tomlfile

import (
	"fmt"
	"strings"
)

// A lineIndex knows on which line of a TOML file a value is. The TOML library
// tells the lines of what it refuses itself, but not of what it has read.
type lineIndex struct {
	lines map[string]int // by path: "users.htpasswd", "policies[2].subjects"
	order []string       // the paths as they come
}

// line is the line of the value at a path, or of the nearest table around it.
func (x lineIndex) line(path string) int {
	for path = strings.ToLower(path); path != ""; {
		if n, ok := x.lines[path]; ok {
			return n
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return 1
}

// find is the first path that is key when the numbers of tables are left out,
// or key itself when there is none, as inside of an inline table.
func (x lineIndex) find(key []string) string {
	want := strings.Join(key, ".")
	for _, path := range x.order {
		var b strings.Builder
		for part := range strings.SplitSeq(path, "[") {
			if _, after, ok := strings.Cut(part, "]"); ok {
				part = after
			}
			b.WriteString(part)
		}
		if strings.EqualFold(b.String(), want) {
			return path
		}
	}
	return want
}

// indexLines reads text, which is valid TOML, only as far as it takes to see
// where tables and keys begin. What it does not understand it passes over.
func indexLines(text string) lineIndex {
	x := lineIndex{lines: make(map[string]int)}
	note := func(path string, line int) {
		path = strings.ToLower(path)
		if _, ok := x.lines[path]; !ok {
			x.lines[path] = line
			x.order = append(x.order, path)
		}
	}
	table, count := "", map[string]int{}
	var v valueScanner
	n := 0
	for line := range strings.SplitSeq(text, "\n") {
		n++
		if v.inside() {
			v.scan(line)
			continue
		}
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case strings.HasPrefix(line, "[["):
			name, _, _ := strings.Cut(line[2:], "]]")
			name = bareKey(name)
			table = fmt.Sprintf("%s[%d]", name, count[name])
			count[name]++
			note(table, n)
		case line[0] == '[':
			name, _, _ := strings.Cut(line[1:], "]")
			table = bareKey(name)
			note(table, n)
		default:
			key, value, ok := strings.Cut(line, "=")
			if !ok {
				continue
			}
			path := bareKey(key)
			if table != "" {
				path = table + "." + path
			}
			note(path, n)
			v.scan(value)
		}
	}
	return x
}

// bareKey takes the spaces and quotes off a key with or without dots.
func bareKey(key string) string {
	parts := strings.Split(key, ".")
	for i, p := range parts {
		parts[i] = strings.Trim(strings.TrimSpace(p), `"'`)
	}
	return strings.Join(parts, ".")
}

// A valueScanner sees whether a value goes on on the next line.
type valueScanner struct {
	depth int    // of brackets
	quote string // of the string of several lines that is open
}

func (v *valueScanner) inside() bool { return v.depth > 0 || v.quote != "" }

func (v *valueScanner) scan(s string) {
	for s != "" {
		if v.quote != "" {
			if s = afterQuote(s, v.quote); s == "" {
				return
			}
			v.quote = ""
		}
		switch c := s[0]; {
		case strings.HasPrefix(s, `"""`), strings.HasPrefix(s, `'''`):
			v.quote = s[:3]
			s = s[3:]
			continue
		case c == '"' || c == '\'':
			s = afterQuote(s[1:], s[:1])
			continue
		case c == '#':
			return
		case c == '[' || c == '{':
			v.depth++
		case c == ']' || c == '}':
			v.depth--
		}
		s = s[1:]
	}
}

// afterQuote is what comes behind the closing quote in s, with a space before it;
// "" when it does not close on this line.
func afterQuote(s, quote string) string {
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && quote[0] == '"' {
			i++
			continue
		}
		if strings.HasPrefix(s[i:], quote) {
			return " " + s[i+len(quote):]
		}
	}
	return ""
}
