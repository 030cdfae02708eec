package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/laminastore/lamina/client"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

// maxFindings is how many findings people are shown, and maxAllFindings with
// --all: what a terminal and a program can still do something with.
const (
	maxFindings    = 20
	maxAllFindings = 100_000
)

func (a *app) gc() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Give back the storage that nothing names any more",
		Long: `Runs one cycle of collection on the server, as it does by itself once a day
(lamina serve --collect-every); docs/collection.md says what is collected when.
Pushes and pulls go on meanwhile, and other servers too.

A blob that nothing names goes in steps, each in a cycle of its own. It is
condemned once nobody is promised it any more (72 hours after it was last used),
and can still be read, which saves it. If nothing names it until the next cycle it
is collected: it cannot be read any more. A day later its bytes are deleted.
So the first cycle after an image was removed may free nothing; what is shown is
what each thing waits for.

--dry-run changes nothing, and shows what would go, why, and how much that frees.

Exit code 1 means that the cycle did not come to its end, as when a manifest could
not be read: then nothing was condemned. Problems that kept nothing from being
collected are shown, and are no failure.

With -o json: {began, ended, dryRun, full, holder, manifests, marked, listed,
condemned, collected, revived, freedObjects, freedBytes, waitingBytes,
waitingUntil, uploads, links, records, orphans, nodes, tagsRemoved,
manifestsRemoved, findings [{kind, subject, repository, step, why, bytes, next}],
moreFindings, problems [{subject, repository, detail}], moreProblems, error}.`,
		Example: `  lamina gc --dry-run
  lamina gc
  lamina gc --dry-run --all -o json | jq -r '.findings[] | select(.kind == "tag") | .repository + ":" + .subject'`,
		Args: atMost(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runCollect(cmd) },
	}
	addServer(cmd)
	addOutput(cmd)
	f := cmd.Flags()
	f.BoolP("dry-run", "n", false, "change nothing, and show what would go")
	f.Bool("full", false, "also look through all data, for what nothing leads to; by itself every 30 days")
	f.Bool("all", false, "show everything that goes, not only the largest")
	f.Bool("last", false, "collect nothing, and show what the last cycle did, on whichever server")
	f.BoolP("quiet", "q", false, "print nothing but errors")
	return cmd
}

func (a *app) runCollect(cmd *cobra.Command) error {
	f := cmd.Flags()
	json, err := asJSON(cmd)
	if err != nil {
		return err
	}
	quiet, _ := f.GetBool("quiet")
	all, _ := f.GetBool("all")
	c, err := a.dial(cmd.Context(), cmd, "")
	if err != nil {
		return fmt.Errorf("collect: %w", err)
	}
	defer c.Close()
	if last, _ := f.GetBool("last"); last {
		return a.lastCollection(cmd, c, json)
	}
	in := &pb.MaintenanceCollectRequest{Findings: !quiet || json}
	in.DryRun, _ = f.GetBool("dry-run")
	in.Full, _ = f.GetBool("full")
	most := maxFindings
	if all {
		most = maxAllFindings
	}
	found := newLargest(most, findingOrder)
	p := a.progress(cmd)
	defer p.close()
	phases := p.phases("freed", collectionPhases(in.DryRun))
	report, err := c.Collect(cmd.Context(), in, client.CollectionWatch{
		Progress: phases.at,
		Found:    found.add,
	})
	if err == nil {
		phases.end()
	}
	p.close()
	if report != nil {
		err = errors.Join(err, a.printCollection(report, found, json, quiet))
	}
	if err != nil {
		return fmt.Errorf("collect: %w", err)
	}
	return nil
}

func (a *app) printCollection(r *pb.CollectionReport, found *largest[*pb.CollectionFinding], json, quiet bool) error {
	switch {
	case json:
		return a.printJSON(collectionJSON(r, found.sorted(), found.more()))
	case quiet:
		return nil
	}
	return showCollection(a.out, r, found.sorted(), found.more(), time.Now())
}

func (a *app) lastCollection(cmd *cobra.Command, c *client.Client, json bool) error {
	report, err := c.LastCollection(cmd.Context())
	switch {
	case err != nil:
	case json && report == nil:
		err = a.printJSON(nil)
	case json:
		err = a.printJSON(collectionJSON(report, nil, 0))
	case report == nil:
		a.progress(cmd).say("nothing was collected yet")
	default:
		err = showCollection(a.out, report, nil, 0, time.Now())
	}
	if err == nil && report.GetError() != "" {
		err = errors.New(report.Error)
	}
	if err != nil {
		return fmt.Errorf("collect: %w", err)
	}
	return nil
}

// collectionPhases are what happens in each.
func collectionPhases(dry bool) map[string]string {
	remove, sweep := "remove tags and images by the retention rules", "collect what nothing names"
	if dry {
		remove, sweep = "look for tags and images that the retention rules remove", "look for what nothing names"
	}
	return map[string]string{
		"retention": remove,
		"mark":      "mark what images name",
		"sweep":     sweep,
		"uploads":   "look at unfinished uploads",
		"links":     "look at links to what is gone",
		"records":   "look at old records",
		"data":      "look for data that no record names",
	}
}

// findingOrder is largest first.
func findingOrder(a, b *pb.CollectionFinding) int {
	return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), strings.Compare(a.Kind, b.Kind),
		strings.Compare(a.Repository, b.Repository), strings.Compare(a.Subject, b.Subject))
}
