package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/laminastore/lamina/client"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

// defaultSocket is where the snapshotter listens unless it is told otherwise.
const defaultSocket = "/run/lamina/snapshotter.sock"

// silentAfter is when a node has missed a report: it sends one every 10 minutes.
const silentAfter = 15 * time.Minute

// addSocket gives a command the flag that says where this host's snapshotter is.
func addSocket(cmd *cobra.Command) {
	cmd.Flags().String("socket", defaultSocket, "the unix socket `PATH` of this host's snapshotter")
	_ = cmd.Flags().SetAnnotation("socket", alsoIn, []string{"snapshotter"})
}

// A nodeError came from this host's snapshotter.
type nodeError struct{ error }

func (e nodeError) Unwrap() error { return e.error }

func nodeFailed(what, container string, err error) error {
	return failed(what, container, nodeError{err})
}

func (a *app) node(cmd *cobra.Command) (*client.Node, error) {
	socket, _ := cmd.Flags().GetString("socket")
	return client.DialNode(socket, client.Options{UserAgent: "lamina/" + buildVersion()})
}

func (a *app) containers() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "containers",
		Short: "List what runs where, and on which image",
		Long: `Lists the containers of all hosts as their snapshotters reported them last, or with
--local those of this host as they are now, without asking the server.

With -o json: a list of {node, hostname, reported, namespace, id, image, imageDigest,
chainID, state, created, writtenBytes, writtenInodes, labels}; written is what the
container's own layer takes on its host.`,
		Args: atMost(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runContainers(cmd) },
	}
	addServer(cmd)
	addSocket(cmd)
	addOutput(cmd)
	cmd.Flags().BoolP("quiet", "q", false, "print NODE/NAMESPACE/ID only")
	cmd.Flags().Bool("local", false, "this host's, from its snapshotter")
	cmd.Flags().String("node", "", "only those on the host with this id or hostname `NODE`")
	return cmd
}

// containerJSON is a container as `containers -o json` prints it.
type containerJSON struct {
	Node          string            `json:"node"`
	Hostname      string            `json:"hostname"`
	Reported      *time.Time        `json:"reported,omitempty"`
	Namespace     string            `json:"namespace"`
	ID            string            `json:"id"`
	Image         string            `json:"image"`
	ImageDigest   string            `json:"imageDigest,omitempty"`
	ChainID       string            `json:"chainID,omitempty"`
	State         string            `json:"state"`
	Created       *time.Time        `json:"created,omitempty"`
	WrittenBytes  int64             `json:"writtenBytes"`
	WrittenInodes int64             `json:"writtenInodes"`
	Labels        map[string]string `json:"labels,omitempty"`
}

func (a *app) runContainers(cmd *cobra.Command) error {
	json, err := asJSON(cmd)
	if err != nil {
		return err
	}
	nodes, err := a.nodes(cmd.Context(), cmd)
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	if only, _ := cmd.Flags().GetString("node"); only != "" {
		var kept []*pb.Node
		for _, n := range nodes {
			if n.Id == only || n.Hostname == only {
				kept = append(kept, n)
			}
		}
		if kept == nil {
			return fmt.Errorf("list containers: no node %q has reported", only)
		}
		nodes = kept
	}
	quiet, _ := cmd.Flags().GetBool("quiet")
	switch {
	case json:
		list := []containerJSON{}
		for _, n := range nodes {
			for _, c := range n.Containers {
				list = append(list, containerJSON{
					n.Id, n.Hostname, timestamp(n.ReportedAt), c.Namespace, c.Id, c.Image, c.ImageDigest, c.ChainId,
					state(c), timestamp(c.CreatedAt), c.WrittenBytes, c.WrittenInodes, c.Labels,
				})
			}
		}
		return a.printJSON(list)
	case quiet:
		for _, n := range nodes {
			for _, c := range n.Containers {
				fmt.Fprintf(a.out, "%s/%s/%s\n", n.Id, c.Namespace, c.Id)
			}
		}
		return nil
	}
	return a.containerTable(nodes, time.Now())
}

// nodes asks the server, or this host's snapshotter.
func (a *app) nodes(ctx context.Context, cmd *cobra.Command) ([]*pb.Node, error) {
	if local, _ := cmd.Flags().GetBool("local"); local {
		n, err := a.node(cmd)
		if err != nil {
			return nil, err
		}
		defer n.Close()
		node, err := n.List(ctx)
		if err != nil {
			return nil, nodeError{err}
		}
		return []*pb.Node{node}, nil
	}
	c, err := a.dial(ctx, cmd, "")
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var nodes []*pb.Node
	for n, err := range c.Nodes(ctx, "") {
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}

func state(c *pb.Container) string {
	return strings.ToLower(strings.TrimPrefix(c.State.String(), "CONTAINER_STATE_"))
}

func (a *app) containerTable(nodes []*pb.Node, now time.Time) error {
	var ids []string
	for _, n := range nodes {
		for _, c := range n.Containers {
			ids = append(ids, c.Id)
		}
	}
	if len(nodes) == 0 {
		fmt.Fprintln(a.err, "no containers: no host has reported any yet")
		return nil
	}
	if len(ids) == 0 {
		fmt.Fprintf(a.err, "no containers on %s\n", count(len(nodes), "host"))
		return nil
	}
	short := shortIDs(ids)
	t := newTable(a.out, "NODE", "NAMESPACE", "CONTAINER", "IMAGE", "STATE", "WRITTEN", "CREATED")
	for _, n := range nodes {
		for _, c := range n.Containers {
			st := state(c)
			if n.ReportedAt != nil && now.Sub(n.ReportedAt.AsTime()) > silentAfter {
				st += ", reported " + age(now, n.ReportedAt)
			}
			t.row(nodeName(n), c.Namespace, short(c.Id), shortRef(c.Image), st, size(c.WrittenBytes), age(now, c.CreatedAt))
		}
	}
	return t.flush()
}

// shortRef shortens the digest in a reference.
func shortRef(ref string) string {
	name, d, ok := strings.Cut(ref, "@")
	if alg, hex, isDigest := strings.Cut(d, ":"); ok && isDigest && len(hex) > minShort {
		return name + "@" + alg + ":" + hex[:minShort]
	}
	return ref
}

func nodeName(n *pb.Node) string {
	if n.Hostname != "" {
		return n.Hostname
	}
	return n.Id
}

// shortIDs shortens ids that a machine made, of 32 and more characters, as far
// as they stay different.
func shortIDs(ids []string) func(string) string {
	cut := minShort
	for ; cut < 64; cut++ {
		seen := map[string]string{}
		clash := false
		for _, id := range ids {
			k := id[:min(cut, len(id))]
			clash = clash || seen[k] != "" && seen[k] != id
			seen[k] = id
		}
		if !clash {
			break
		}
	}
	return func(id string) string {
		if len(id) < 32 {
			return id
		}
		return id[:min(cut, len(id))]
	}
}
