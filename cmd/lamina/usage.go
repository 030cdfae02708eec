package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

func (a *app) usage() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "usage",
		Short: "Show what is stored, what is shared, and by whom",
		Long: `Shows how much the images name, and how much of it is stored, since blobs that
several images name are stored once.

It is what the last collection counted, or a count by --refresh since.

With -o json: {counted, namedBytes, storedBytes, savedBytes, unnamedBytes, heldBytes,
condemnedBytes, drainingBytes, blobs, manifests, repositories [{repository, tags,
manifests, namedBytes, storedBytes, ownBytes, oldest}], shared and largestBlobs
[{digest, size, images, repositories}], largestImages and oldestImages [{repository,
digest, size, pushed}]}. namedBytes is what all images name together, as if each were
stored by itself; storedBytes what the distinct blobs of these take; heldBytes what
only registered snapshots and containers that run name; unnamedBytes what nothing
names, condemnedBytes of it what a coming collection takes; drainingBytes what was
collected and is not deleted yet; ownBytes what no other repository of its realm has.`,
		Args: atMost(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runUsage(cmd) },
	}
	addServer(cmd)
	addOutput(cmd)
	cmd.Flags().Bool("refresh", false, "count now, which reads every manifest; not what was counted last")
	return cmd
}

func (a *app) runUsage(cmd *cobra.Command) error {
	json, err := asJSON(cmd)
	if err != nil {
		return err
	}
	c, err := a.dial(cmd.Context(), cmd, "")
	if err != nil {
		return failed("usage", "", err)
	}
	defer c.Close()
	refresh, _ := cmd.Flags().GetBool("refresh")
	u, err := c.Usage(cmd.Context(), refresh)
	if err != nil {
		return fmt.Errorf("usage: %w", err)
	}
	if json {
		return a.printJSON(usageJSON(u))
	}
	return showUsage(a.out, u, time.Now())
}

// maxShared is how many shared blobs people are shown.
const maxShared = 10

func showUsage(out io.Writer, u *pb.UsageGetResponse, now time.Time) error {
	t := newTable(out)
	t.row("Images name:", size(u.NamedBytes), fmt.Sprintf("in %s", count(u.Manifests, "manifest")))
	stored := fmt.Sprintf("in %s", count(u.Blobs, "blob"))
	if u.NamedBytes > u.StoredBytes {
		stored += fmt.Sprintf(", %s less", size(u.NamedBytes-u.StoredBytes))
		if f := float64(u.NamedBytes) / float64(max(u.StoredBytes, 1)); f >= 1.1 {
			stored += fmt.Sprintf(" (%.1f to 1)", f)
		}
	}
	t.row("Stored:", size(u.StoredBytes), stored)
	if u.HeldBytes > 0 {
		t.row("Held:", size(u.HeldBytes), "that no image names, and a snapshot or a container does")
	}
	if u.UnnamedBytes > 0 {
		besides := "that nothing names"
		if u.CondemnedBytes > 0 {
			besides += fmt.Sprintf(", %s of it condemned: a coming collection takes that", size(u.CondemnedBytes))
		}
		t.row("Besides:", size(u.UnnamedBytes), besides)
	}
	if u.DrainingBytes > 0 {
		t.row("Collected:", size(u.DrainingBytes), "not deleted yet, for who may still read it")
	}
	t.row("Counted:", age(now, u.CountedAt))
	if err := t.flush(); err != nil {
		return err
	}
	if len(u.Repositories) > 0 {
		fmt.Fprintln(out)
		t := newTable(out, "REPOSITORY", "TAGS", "MANIFESTS", "NAMES", "STORES", "OWN", "OLDEST")
		for _, r := range u.Repositories {
			t.row(r.Repository, r.Tags, r.Manifests, size(r.NamedBytes), size(r.StoredBytes), size(r.OwnBytes), age(now, r.OldestAt))
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	if err := imageUsageTable(out, "LARGEST IMAGE", u.LargestImages, now); err != nil {
		return err
	}
	if err := imageUsageTable(out, "OLDEST IMAGE", u.OldestImages, now); err != nil {
		return err
	}
	if len(u.Shared) > 0 {
		fmt.Fprintln(out)
		return sharedTable(out, u.Shared)
	}
	return nil
}

// maxImageUsage is how many of the largest and the oldest images people are shown.
const maxImageUsage = 5

func imageUsageTable(out io.Writer, title string, images []*pb.ImageUsage, now time.Time) error {
	if len(images) == 0 {
		return nil
	}
	fmt.Fprintln(out)
	images = images[:min(len(images), maxImageUsage)]
	var digests []string
	for _, i := range images {
		digests = append(digests, i.Digest)
	}
	short := newShortener(digests...)
	t := newTable(out, title, "SIZE", "PUSHED")
	for _, i := range images {
		t.row(i.Repository+"@"+short.short(i.Digest), size(i.Size), age(now, i.PushedAt))
	}
	return t.flush()
}

func sharedTable(out io.Writer, shared []*pb.SharedBlob) error {
	more := len(shared) - maxShared
	shared = shared[:min(len(shared), maxShared)]
	var digests []string
	for _, s := range shared {
		digests = append(digests, s.Digest)
	}
	short := newShortener(digests...)
	t := newTable(out, "SHARED BLOB", "SIZE", "IMAGES", "SAVES", "IN")
	for _, s := range shared {
		t.row(short.short(s.Digest), size(s.Size), s.Images, size(s.Size*(s.Images-1)), clip(list(s.Repositories), 60))
	}
	if err := t.flush(); err != nil {
		return err
	}
	if more > 0 {
		fmt.Fprintf(out, "and %d more (-o json)\n", more)
	}
	return nil
}
