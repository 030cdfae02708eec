package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

func (a *app) diff() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "diff CONTAINER",
		Short: "List what a container of this host changed",
		Long: `Lists what a container changed over its image, in the order of paths: A for what
it added, C for what it changed, D for what it deleted, with the sizes of files.
CONTAINER is [NAMESPACE/]ID, a unique beginning of the id, or the container's name.

With -o json: a list of {path, kind, size}; kind is added, changed or deleted.`,
		Example:           `  lamina diff web-1`,
		Args:              exactly("CONTAINER"),
		ValidArgsFunction: a.complete(completeContainers),
		RunE:              func(cmd *cobra.Command, args []string) error { return a.runDiff(cmd, args[0]) },
	}
	addSocket(cmd)
	addOutput(cmd)
	return cmd
}

// changeJSON is an entry of `diff -o json`.
type changeJSON struct {
	Path string `json:"path"`
	Kind string `json:"kind"`
	Size int64  `json:"size"`
}

var letters = map[pb.ChangeKind]string{
	pb.ChangeKind_CHANGE_KIND_ADDED: "A", pb.ChangeKind_CHANGE_KIND_CHANGED: "C", pb.ChangeKind_CHANGE_KIND_DELETED: "D",
}

// runDiff prints while it comes: a container may have written a million files.
func (a *app) runDiff(cmd *cobra.Command, container string) error {
	asJSON, err := asJSON(cmd)
	if err != nil {
		return err
	}
	n, err := a.node(cmd)
	if err != nil {
		return nodeFailed("diff of", container, err)
	}
	defer n.Close()
	in := &pb.ContainersDiffRequest{}
	in.Namespace, in.Container = splitContainer(container)
	out := bufio.NewWriter(a.out)
	defer out.Flush()
	between := "[\n  "
	for c, err := range n.Diff(cmd.Context(), in) {
		if err != nil {
			return nodeFailed("diff of", container, err)
		}
		if !asJSON {
			bytes := ""
			if c.Size > 0 { // folders, links and what is gone have none
				bytes = size(c.Size)
			}
			fmt.Fprintf(out, "%s  %8s  %s\n", letters[c.Kind], bytes, printable(c.Path))
			continue
		}
		b, err := json.Marshal(changeJSON{c.Path, strings.ToLower(strings.TrimPrefix(c.Kind.String(), "CHANGE_KIND_")), c.Size})
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s%s", between, b)
		between = ",\n  "
	}
	if asJSON {
		if strings.HasPrefix(between, "[") {
			fmt.Fprint(out, "[")
		}
		fmt.Fprintln(out, "\n]")
	}
	return out.Flush()
}
