package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// addOutput gives a command the flag -o, for those that print tables.
func addOutput(cmd *cobra.Command) {
	cmd.Flags().StringP("output", "o", "text", "print `FORMAT`: text, or json for programs")
}

// asJSON reads the flag -o.
func asJSON(cmd *cobra.Command) (bool, error) {
	switch o, _ := cmd.Flags().GetString("output"); o {
	case "text":
		return false, nil
	case "json":
		return true, nil
	default:
		return false, usagef("--output %q is neither text nor json", o)
	}
}

func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// A table is printed with its columns aligned.
type table struct {
	w *tabwriter.Writer
}

func newTable(out io.Writer, columns ...string) *table {
	t := &table{tabwriter.NewWriter(out, 0, 8, 3, ' ', 0)}
	if len(columns) > 0 {
		t.row(toAny(columns)...)
	}
	return t
}

func toAny(list []string) []any {
	var l []any
	for _, s := range list {
		l = append(l, s)
	}
	return l
}

func (t *table) row(cells ...any) {
	var b strings.Builder
	for i, c := range cells {
		if i > 0 {
			b.WriteByte('\t')
		}
		s := printable(fmt.Sprint(c))
		if s == "" {
			s = "-"
		}
		b.WriteString(s)
	}
	fmt.Fprintln(t.w, strings.TrimRight(b.String(), "\t"))
}

func (t *table) flush() error { return t.w.Flush() }

// printable keeps what others wrote into an image from moving the cursor of the
// terminal on which it is shown.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r < ' ' || r >= 0x7f && r < 0xa0:
			return -1
		}
		return r
	}, s)
}

// size is a number of bytes for people: three digits, decimal units as disks
// and networks have them.
func size(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v, units := float64(n), "kMGTPE"
	i := -1
	for v >= 999.5 && i < len(units)-1 {
		v /= 1000
		i++
	}
	switch {
	case v < 9.995:
		return fmt.Sprintf("%.2f %cB", v, units[i])
	case v < 99.95:
		return fmt.Sprintf("%.1f %cB", v, units[i])
	}
	return fmt.Sprintf("%.0f %cB", v, units[i])
}

// age is how long ago t was.
func age(now time.Time, t *timestamppb.Timestamp) string {
	if t == nil || t.AsTime().Year() < 1980 { // reproducible builds write 1970, or year 1
		return "-"
	}
	d := now.Sub(t.AsTime())
	if d < 0 {
		return "in the future"
	}
	return ago(d)
}

func ago(d time.Duration) string {
	n := func(v float64, unit string) string {
		i := int(v)
		if i != 1 {
			unit += "s"
		}
		return fmt.Sprintf("%d %s ago", i, unit)
	}
	day := 24 * time.Hour
	switch {
	case d < 2*time.Second:
		return "just now"
	case d < 2*time.Minute:
		return n(d.Seconds(), "second")
	case d < 2*time.Hour:
		return n(d.Minutes(), "minute")
	case d < 2*day:
		return n(d.Hours(), "hour")
	case d < 14*day:
		return n(d.Hours()/24, "day")
	case d < 60*day:
		return n(d.Hours()/24/7, "week")
	case d < 730*day:
		return n(d.Hours()/24/30.44, "month")
	}
	return n(d.Hours()/24/365.25, "year")
}

// shortener shortens the digests of a table, so that all stay different.
type shortener int

// minShort is how many characters people are used to.
const minShort = 12

func newShortener(ds ...string) shortener {
	n := minShort
	distinct := map[string]bool{}
	for _, d := range ds {
		distinct[d] = true
	}
	for ; n < 128; n++ {
		seen := map[string]bool{}
		for d := range distinct {
			seen[shortener(n).short(d)] = true
		}
		if len(seen) == len(distinct) {
			break
		}
	}
	return shortener(n)
}

// short is the beginning of the digest's hex digits; the algorithm is said where
// it is not sha256.
func (n shortener) short(d string) string {
	alg, hex, ok := strings.Cut(d, ":")
	if !ok {
		return d
	}
	hex = hex[:min(len(hex), max(int(n), minShort))]
	if alg == string(digest.SHA256) {
		return hex
	}
	return alg + ":" + hex
}

// timestamp is for JSON: RFC 3339, or nothing when it is not known.
func timestamp(t *timestamppb.Timestamp) *time.Time {
	if t == nil {
		return nil
	}
	v := t.AsTime()
	return &v
}

// count is "1 layer" or "3 layers".
func count[N int | int32 | int64](n N, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
