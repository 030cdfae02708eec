package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/reference"
)

func (a *app) commit() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "commit CONTAINER REF",
		Short: "Make an image of what a container of this host wrote",
		Long: `Makes a layer of what the container wrote, on top of the layers of its image, and
pushes the image to REF: any host can run it and carry on from there. CONTAINER is
[NAMESPACE/]ID, a unique beginning of the id, or the container's name. A running
container stands still while its files are read; how long is said at the end.

--change takes the instructions of a Dockerfile that set CMD, ENTRYPOINT, ENV,
WORKDIR, USER, LABEL and EXPOSE. --exclude takes patterns as in .dockerignore; what
matches stays as it is in the image.

With -o json: {reference, digest, snapshot, layer {digest, size, diffID}, added,
changed, deleted, skipped, altered, pausedMicroseconds}.`,
		Example: `  lamina commit web-1 localhost:5000/demo/web-1:saved
  lamina commit --exclude /tmp --exclude '/var/log/**' -m 'after the import' k8s.io/3f2a demo/web:2`,
		Args:              exactly("CONTAINER", "REF"),
		ValidArgsFunction: a.complete(completeContainers, completeImages),
		RunE:              func(cmd *cobra.Command, args []string) error { return a.runCommit(cmd, args[0], args[1]) },
	}
	addSocket(cmd)
	addOutput(cmd)
	f := cmd.Flags()
	f.StringArray("exclude", nil, "leave out what matches this `PATTERN` (repeatable)")
	f.StringP("message", "m", "", "a `TEXT` for the image's history")
	f.String("author", "", "who made it")
	f.StringArrayP("change", "c", nil, "a Dockerfile `INSTRUCTION` that changes the config (repeatable)")
	f.String("compression", "gzip", "of the layer: gzip or zstd")
	f.Bool("no-pause", false, "let a running container go on, though its files may change while they are read")
	f.BoolP("quiet", "q", false, "print the new reference only")
	return cmd
}

// splitContainer takes the namespace off a container's name.
func splitContainer(s string) (namespace, container string) {
	if ns, id, ok := strings.Cut(s, "/"); ok {
		return ns, id
	}
	return "", s
}

func (a *app) runCommit(cmd *cobra.Command, container, ref string) error {
	json, err := asJSON(cmd)
	if err != nil {
		return err
	}
	r, err := reference.Parse(ref)
	if err != nil {
		return usageError{err}
	}
	if r.Digest != "" {
		return usagef("commit: %s has a digest, which is not known before the image is made", ref)
	}
	f := cmd.Flags()
	in := &pb.ContainersCommitRequest{Reference: r.String()}
	in.Namespace, in.Container = splitContainer(container)
	in.Exclude, _ = f.GetStringArray("exclude")
	in.Message, _ = f.GetString("message")
	in.Author, _ = f.GetString("author")
	in.Changes, _ = f.GetStringArray("change")
	in.Compression, _ = f.GetString("compression")
	in.NoPause, _ = f.GetBool("no-pause")
	if in.Compression != "gzip" && in.Compression != "zstd" {
		return usagef("--compression %q is neither gzip nor zstd", in.Compression)
	}
	n, err := a.node(cmd)
	if err != nil {
		return nodeFailed("commit", container, err)
	}
	defer n.Close()
	p := a.progress(cmd)
	p.quiet = p.quiet || json
	steps := &commitSteps{p: p}
	res, err := n.Commit(cmd.Context(), in, steps.at)
	steps.end()
	p.close()
	if err != nil {
		return nodeFailed("commit", container, err)
	}
	switch quiet, _ := f.GetBool("quiet"); {
	case json:
		return a.printJSON(commitJSON(res))
	case quiet:
		_, err = fmt.Fprintln(a.out, res.Reference)
		return err
	}
	return a.showCommit(res)
}

func commitJSON(r *pb.CommitResult) any {
	s := r.Snapshot
	type layerJSON struct {
		Digest string `json:"digest"`
		Size   int64  `json:"size"`
		DiffID string `json:"diffID"`
	}
	return struct {
		Reference string    `json:"reference"`
		Digest    string    `json:"digest"`
		Snapshot  string    `json:"snapshot"`
		Layer     layerJSON `json:"layer"`
		Added     int64     `json:"added"`
		Changed   int64     `json:"changed"`
		Deleted   int64     `json:"deleted"`
		Skipped   []string  `json:"skipped"`
		Altered   []string  `json:"altered"`
		Paused    int64     `json:"pausedMicroseconds"`
	}{
		r.Reference, s.GetImage().GetDigest(), s.GetId(),
		layerJSON{s.GetDiff().GetDigest(), s.GetDiff().GetSize(), s.GetDiffId()},
		r.Added, r.Changed, r.Deleted, append([]string{}, r.Skipped...), append([]string{}, r.Altered...), s.GetPausedUs(),
	}
}

func (a *app) showCommit(r *pb.CommitResult) error {
	s := r.Snapshot
	fmt.Fprintf(a.out, "committed %s\n", r.Reference)
	fmt.Fprintf(a.out, "  %d added, %d changed, %d deleted: a layer of %s\n", r.Added, r.Changed, r.Deleted, size(s.GetDiff().GetSize()))
	if us := s.GetPausedUs(); us > 0 {
		fmt.Fprintf(a.out, "  the container stood still for %s\n", (time.Duration(us) * time.Microsecond).Round(100*time.Microsecond))
	}
	a.showNotes("left out", r.Skipped)
	a.showNotes("not as it was", r.Altered)
	return nil
}

// showNotes shows what a commit says of single files: a path and a few words.
func (a *app) showNotes(what string, notes []string) {
	for i, note := range notes {
		if i == 10 {
			fmt.Fprintf(a.out, "  %s: %d more\n", what, len(notes)-i)
			break
		}
		fmt.Fprintf(a.out, "  %s: %s\n", what, printable(note))
	}
}

// commitSteps shows one bar for each step of a commit, or a line.
type commitSteps struct {
	p    *progress
	step pb.CommitStep
	bar  *stepBar
}

var stepNames = map[pb.CommitStep]string{
	pb.CommitStep_COMMIT_STEP_READ:     "read what the container wrote",
	pb.CommitStep_COMMIT_STEP_COMPRESS: "compress the layer",
	pb.CommitStep_COMMIT_STEP_PUSH:     "push",
}

func (c *commitSteps) at(m *pb.CommitProgress) {
	if m.Step != c.step {
		c.end()
		c.step = m.Step
		c.bar = c.p.step(stepNames[m.Step], m.TotalBytes)
	}
	c.bar.at(m.DoneBytes, m.TotalBytes)
}

func (c *commitSteps) end() {
	if c.bar != nil {
		c.bar.end()
		c.bar = nil
	}
}
