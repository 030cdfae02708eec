package main

import (
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

func (a *app) history() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "history REF",
		Short: "Show what made an image: instructions and their layers",
		Long: `Lists the instructions that made an image, oldest first, each with the layer it
made; those that changed no file have none.

With -o json: a list of {created, createdBy, comment, layer}, with layer as in
lamina inspect, or none.`,
		Example:           `  lamina history demo/node-app:1`,
		Args:              exactly("REF"),
		ValidArgsFunction: a.complete(completeImages),
		RunE:              func(cmd *cobra.Command, args []string) error { return a.runHistory(cmd, args[0]) },
	}
	addServer(cmd)
	addOutput(cmd)
	cmd.Flags().String("platform", "", "of an index, the image for this `PLATFORM`, as in linux/arm64")
	cmd.Flags().Bool("no-trunc", false, "print whole instructions, however long")
	return cmd
}

// stepJSON is an entry of `history -o json`.
type stepJSON struct {
	Created   *time.Time `json:"created,omitempty"`
	CreatedBy string     `json:"createdBy"`
	Comment   string     `json:"comment,omitempty"`
	Layer     *layerJSON `json:"layer,omitempty"`
}

func (a *app) runHistory(cmd *cobra.Command, ref string) error {
	json, err := asJSON(cmd)
	if err != nil {
		return err
	}
	c, r, err := a.image(cmd.Context(), cmd, ref)
	if err != nil {
		return failed("history of", ref, err)
	}
	defer c.Close()
	platform, _ := cmd.Flags().GetString("platform")
	entries, err := c.History(cmd.Context(), r.Repository, r.Locator(), platform)
	if err != nil {
		return failed("history of", ref, err)
	}
	if json {
		list := []stepJSON{}
		for _, e := range entries {
			s := stepJSON{Created: timestamp(e.CreatedAt), CreatedBy: e.CreatedBy, Comment: e.Comment}
			if e.Layer != nil {
				l := layer(e.Layer)
				s.Layer = &l
			}
			list = append(list, s)
		}
		return a.printJSON(list)
	}
	width := a.width()
	if whole, _ := cmd.Flags().GetBool("no-trunc"); whole {
		width = 0
	}
	return a.historyTable(entries, width, time.Now())
}

// columnsBefore is about what the columns before the instruction take.
const columnsBefore = 58

func (a *app) historyTable(entries []*pb.HistoryEntry, width int, now time.Time) error {
	var digests []string
	for _, e := range entries {
		if e.Layer != nil {
			digests = append(digests, e.Layer.Blob.GetDigest())
		}
	}
	s := newShortener(digests...)
	t := newTable(a.out, "LAYER", "DIGEST", "SIZE", "CREATED", "INSTRUCTION")
	n := 0
	for _, e := range entries {
		number, dgst, bytes := "", "", ""
		if e.Layer != nil {
			n++
			number, dgst, bytes = itoa(n), s.short(e.Layer.Blob.GetDigest()), size(e.Layer.Blob.GetSize())
		}
		text := instruction(e.CreatedBy, e.Layer == nil)
		if e.Comment != "" && text == "" {
			text = e.Comment
		}
		t.row(number, dgst, bytes, age(now, e.CreatedAt), clip(text, width-columnsBefore))
	}
	return t.flush()
}

// What builders put before the instruction of a Dockerfile.
var (
	nopRE     = regexp.MustCompile(`^/bin/sh -c #\(nop\)\s+`)
	shellRE   = regexp.MustCompile(`^(\|\d+ (?:\S+=\S* )*)?/bin/sh -c `)
	buildkit  = " # buildkit"
	keywordRE = regexp.MustCompile(`^[A-Z]{3,}\s`)
)

// instruction is the line of the Dockerfile, as far as it can be made out.
func instruction(createdBy string, empty bool) string {
	s := strings.TrimSuffix(createdBy, buildkit)
	switch {
	case nopRE.MatchString(s):
		return strings.TrimSpace(nopRE.ReplaceAllString(s, ""))
	case keywordRE.MatchString(s):
		return shellIn(s)
	case shellRE.MatchString(s) && !empty:
		return "RUN " + shellRE.ReplaceAllString(s, "")
	}
	return strings.TrimSpace(s)
}

// shellIn drops the shell from "RUN /bin/sh -c npm install".
func shellIn(s string) string {
	if rest, ok := strings.CutPrefix(s, "RUN "); ok {
		return "RUN " + shellRE.ReplaceAllString(rest, "")
	}
	return s
}

// width is how many characters a line of the terminal has; 0 where there is
// none, and nothing is cut.
func (a *app) width() int {
	if f, ok := a.out.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil {
			return w
		}
	}
	return 0
}

// clip shortens s to n characters; below 20 it leaves s alone.
func clip(s string, n int) string {
	r := []rune(printable(s))
	if n < 20 || len(r) <= n {
		return string(r)
	}
	return string(r[:n-1]) + "…"
}
