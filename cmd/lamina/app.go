package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/laminastore/lamina/client"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// An app is one run of the program.
type app struct {
	out, err io.Writer
	getenv   func(string) (string, bool)

	running bool // a command has begun, so errors are no longer about how it was called
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetOut(a.out)
	root.SetErr(a.err)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	usage := !a.running || errors.As(err, new(usageError))
	if usage && !errors.As(err, new(configError)) && !strings.HasSuffix(err.Error(), ")") {
		err = fmt.Errorf("%w (%s --help shows how)", err, cmd.CommandPath())
	}
	fmt.Fprintln(a.err, "lamina: "+describe(err))
	if usage {
		return exitUsage
	}
	return exitFailed
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "lamina",
		Short: "Container-image layers, every distinct piece stored once",
		Long: `Lamina keeps container-image layers in an S3-compatible bucket or a folder, every
distinct piece once, and lets each container register what it wrote, so that
another host can carry on from it.

An image is written REF: [HOST[:PORT]/]REPOSITORY[:TAG][@DIGEST]. Without
--server, commands ask the registry at HOST where Lamina's API is; without HOST
they use localhost:7070.

Every flag can be set by an environment variable (--plain-http by
LAMINA_PLAIN_HTTP) and in a file (--config) by a key of its name: at the top for
all commands that have the flag, or in a table named after the command. The
command line counts first, then the environment, then the file.

Exit codes: 0 done, 1 failed, 2 called in a way that cannot work.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				return usagef("there is no command %q (did you mean %s?)", args[0], strings.Join(near, " or "))
			}
			return usagef("there is no command %q", args[0])
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		// The settings of the command that was chosen, whichever it is.
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.settings(cmd); err != nil {
				return err
			}
			a.running = true
			return nil
		},
		SuggestionsMinimumDistance: 2,
	}
	root.PersistentFlags().String("config", "", "read settings from this `FILE` (default: /etc/lamina/lamina.toml, then ~/.config/lamina/lamina.toml)")
	root.AddGroup(
		&cobra.Group{ID: "images", Title: "Images:"},
		&cobra.Group{ID: "containers", Title: "Containers:"},
		&cobra.Group{ID: "services", Title: "Services:"},
		&cobra.Group{ID: "upkeep", Title: "Upkeep:"},
	)
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("images", a.push(), a.pull(), a.images(), a.inspect(), a.history(), a.tag(), a.rm(), a.usage())
	add("upkeep", a.gc(), a.verify())
	add("containers", a.containers(), a.commit(), a.diff())
	add("services", a.serve(), a.snapshotter())
	root.AddCommand(a.version())
	mentionEnvironment(root)
	return root
}

// A usageError is about how a command was called.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exactly is cobra.ExactArgs that names what is missing.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch missing := names[min(len(args), len(names)):]; len(missing) {
		case 0:
			return atMost(names...)(cmd, args)
		case 1:
			return usagef("%s: %s is missing", cmd.Name(), missing[0])
		default:
			return usagef("%s: %s are missing", cmd.Name(), strings.Join(missing, " and "))
		}
	}
}

func atMost(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) <= len(names):
			return nil
		case len(names) == 0:
			return usagef("%s: what is %q? It takes flags only", cmd.Name(), args[0])
		}
		return usagef("%s: what is %q? It takes %s", cmd.Name(), args[len(names)], strings.Join(names, " and "))
	}
}

// describe is the line that a user sees of an error.
func describe(err error) string {
	s := err.Error()
	if errors.Is(err, context.Canceled) {
		if i := strings.LastIndex(s, "context canceled"); i >= 0 {
			s = s[:i] + "interrupted"
		}
	}
	switch {
	case client.NotLoggedIn(err):
		s += " (docker login, or --token-file, or --cert and --key say who you are; names and passwords go over TLS only)"
	case !client.Unreachable(err):
	case errors.As(err, new(nodeError)):
		s += " (is lamina snapshotter running on this host? --socket says where)"
	default:
		s += " (is lamina serve running? --server or LAMINA_SERVER says where)"
	}
	return strings.ReplaceAll(s, "\n", "; ")
}
