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

With -o json: {counted, namedBytes, storedBytes, unnamedBytes, blobs, manifests,
repositories [{repository, tags, manifests, namedBytes, storedBytes, ownBytes}],
shared [{digest, size, images, repositories}]}. namedBytes is what all images name
together, as if each were stored by itself; storedBytes what the distinct blobs of
these take; unnamedBytes what no image names; ownBytes what no other repository of
its realm has.`,
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

type repositoryUsageJSON struct {
	Repository  string `json:"repository"`
	Tags        int64  `json:"tags"`
	Manifests   int64  `json:"manifests"`
	NamedBytes  int64  `json:"namedBytes"`
	StoredBytes int64  `json:"storedBytes"`
	OwnBytes    int64  `json:"ownBytes"`
}

type sharedJSON struct {
	Digest       string   `json:"digest"`
	Size         int64    `json:"size"`
	Images       int64    `json:"images"`
	Repositories []string `json:"repositories"`
}

func usageJSON(u *pb.UsageGetResponse) any {
	v := struct {
		Counted      *time.Time            `json:"counted,omitempty"`
		NamedBytes   int64                 `json:"namedBytes"`
		StoredBytes  int64                 `json:"storedBytes"`
		UnnamedBytes int64                 `json:"unnamedBytes"`
		Blobs        int64                 `json:"blobs"`
		Manifests    int64                 `json:"manifests"`
		Repositories []repositoryUsageJSON `json:"repositories"`
		Shared       []sharedJSON          `json:"shared"`
	}{
		timestamp(u.CountedAt), u.NamedBytes, u.StoredBytes, u.UnnamedBytes, u.Blobs, u.Manifests,
		[]repositoryUsageJSON{}, []sharedJSON{},
	}
	for _, r := range u.Repositories {
		v.Repositories = append(v.Repositories, repositoryUsageJSON{r.Repository, r.Tags, r.Manifests, r.NamedBytes, r.StoredBytes, r.OwnBytes})
	}
	for _, s := range u.Shared {
		v.Shared = append(v.Shared, sharedJSON{s.Digest, s.Size, s.Images, append([]string{}, s.Repositories...)})
	}
	return v
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
	if u.UnnamedBytes > 0 {
		t.row("Besides:", size(u.UnnamedBytes), "that no image names")
	}
	t.row("Counted:", age(now, u.CountedAt))
	if err := t.flush(); err != nil {
		return err
	}
	if len(u.Repositories) > 0 {
		fmt.Fprintln(out)
		t := newTable(out, "REPOSITORY", "TAGS", "MANIFESTS", "NAMES", "STORES", "OWN")
		for _, r := range u.Repositories {
			t.row(r.Repository, r.Tags, r.Manifests, size(r.NamedBytes), size(r.StoredBytes), size(r.OwnBytes))
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	if len(u.Shared) > 0 {
		fmt.Fprintln(out)
		return sharedTable(out, u.Shared)
	}
	return nil
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
