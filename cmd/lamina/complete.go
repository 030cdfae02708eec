package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/laminastore/lamina/client/transfer"
)

// completeWithin is how long a shell waits for what can be completed.
const completeWithin = time.Second

// maxCompletions is how many a shell is given.
const maxCompletions = 500

// A completer lists what an argument that begins with prefix may be.
type completer func(ctx context.Context, a *app, cmd *cobra.Command, prefix string) ([]string, cobra.ShellCompDirective)

type completion = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// complete completes each argument by its own completer.
func (a *app) complete(each ...completer) completion {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= len(each) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.runCompleter(each[len(args)], cmd, prefix)
	}
}

// completeAll completes any number of arguments by one completer.
func (a *app) completeAll(c completer) completion {
	return func(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		return a.runCompleter(c, cmd, prefix)
	}
}

func (a *app) runCompleter(c completer, cmd *cobra.Command, prefix string) ([]string, cobra.ShellCompDirective) {
	// cobra does not run what commands run first when it completes.
	if err := a.settings(cmd); err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completeWithin)
	defer cancel()
	return c(ctx, a, cmd, prefix)
}

func completeImages(ctx context.Context, a *app, cmd *cobra.Command, prefix string) ([]string, cobra.ShellCompDirective) {
	host, rest := splitPrefix(prefix)
	c, err := a.dial(ctx, cmd, host)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer c.Close()
	repo, _, _ := strings.Cut(rest, ":")
	repo, _, _ = strings.Cut(repo, "@")
	before := ""
	if host != "" {
		before = host + "/"
	}
	var list []string
	for i, err := range c.Images(ctx, repo, strings.Contains(rest, "@")) {
		if err != nil || len(list) == maxCompletions {
			break
		}
		if n := before + imageName(i); strings.HasPrefix(n, prefix) {
			list = append(list, n)
		}
	}
	return list, cobra.ShellCompDirectiveNoFileComp
}

// completeContainers lists the containers of this host.
func completeContainers(ctx context.Context, a *app, cmd *cobra.Command, prefix string) ([]string, cobra.ShellCompDirective) {
	n, err := a.node(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer n.Close()
	node, err := n.List(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var list []string
	for _, c := range node.Containers {
		for _, name := range []string{c.Id, c.Namespace + "/" + c.Id} {
			if strings.HasPrefix(name, prefix) && len(list) < maxCompletions {
				list = append(list, name)
			}
		}
	}
	return list, cobra.ShellCompDirectiveNoFileComp
}

// completeLocation completes the kind of place, and then the path in it.
func completeLocation(_ context.Context, _ *app, _ *cobra.Command, prefix string) ([]string, cobra.ShellCompDirective) {
	const more = cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	var list []string
	for _, k := range []transfer.Kind{transfer.OCI, transfer.OCIArchive, transfer.DockerArchive, transfer.Registry} {
		begin := string(k) + ":"
		if k == transfer.Registry {
			begin += "//"
		}
		if strings.HasPrefix(begin, prefix) {
			list = append(list, begin)
		}
		if path, ok := strings.CutPrefix(prefix, begin); ok && k != transfer.Registry && !strings.Contains(path, ":") {
			list = append(list, completePath(begin, path, k != transfer.OCI)...)
		}
	}
	return list, more
}

func completePath(begin, path string, files bool) []string {
	dir, base := filepath.Split(path)
	entries, err := os.ReadDir(filepath.Join(".", dir))
	if filepath.IsAbs(dir) {
		entries, err = os.ReadDir(dir)
	}
	if err != nil {
		return nil
	}
	var list []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), base) || base == "" && strings.HasPrefix(e.Name(), ".") {
			continue
		}
		switch {
		case e.IsDir():
			list = append(list, begin+dir+e.Name()+"/")
		case files:
			list = append(list, begin+dir+e.Name())
		}
		if len(list) == maxCompletions {
			break
		}
	}
	return list
}
