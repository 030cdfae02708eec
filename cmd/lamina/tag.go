package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/laminastore/lamina/client"
	"github.com/laminastore/lamina/client/transfer"
	"github.com/laminastore/lamina/reference"
)

func (a *app) tag() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tag REF NEW",
		Short: "Give an image another name",
		Long: `Points the tag NEW at the image that REF names, in the same repository or in
another of the same server. No layer moves.`,
		Example: `  lamina tag demo/node-app:1 demo/node-app:stable
  lamina tag demo/node-app:1 team/node-app:1`,
		Args:              exactly("REF", "NEW"),
		ValidArgsFunction: a.complete(completeImages, completeImages),
		RunE:              func(cmd *cobra.Command, args []string) error { return a.runTag(cmd, args[0], args[1]) },
	}
	addServer(cmd)
	cmd.Flags().BoolP("quiet", "q", false, "print nothing but errors")
	return cmd
}

func (a *app) runTag(cmd *cobra.Command, ref, to string) error {
	n, err := reference.Parse(to)
	if err != nil {
		return usageError{err}
	}
	if n.Digest != "" {
		return usagef("tag: %s is a digest: a new name is a tag", to)
	}
	c, r, err := a.image(cmd.Context(), cmd, ref)
	if err != nil {
		return failed("tag", ref, err)
	}
	defer c.Close()
	if n.Host != "" && n.Host != r.Host {
		if err := a.sameServer(cmd, c, n.Host); err != nil {
			return failed("tag", ref, err)
		}
	}
	res, err := c.Copy(cmd.Context(), r.Repository, r.Locator(), n.Repository, n.Tag, client.CopyOptions{Options: transfer.Options{}})
	if err != nil {
		return failed("tag", ref+" as "+to, err)
	}
	if quiet, _ := cmd.Flags().GetBool("quiet"); !quiet {
		fmt.Fprintf(a.out, "%s is %s\n", name(n), res.Root.Digest)
	}
	return nil
}

// sameServer checks that the registry at host leads to the server of c.
func (a *app) sameServer(cmd *cobra.Command, c *client.Client, host string) error {
	if s, _ := cmd.Flags().GetString("server"); s != "" {
		return nil // it counts for both names
	}
	addr, err := login(cmd).Find(cmd.Context(), host, plainHTTP(cmd))
	if err == nil && addr != c.Addr() && (c.Addr() != defaultServer || !transfer.IsLoopback(host)) {
		err = fmt.Errorf("%s is another server (copy between servers with push docker://… or pull)", host)
	}
	return explainOther(err, host)
}

func (a *app) rm() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rm REF...",
		Short: "Remove a tag, or an image with all its tags",
		Long: `Removes the tag that REF names; the image stays as long as another tag names it,
or is asked for by its digest. With a digest (REPOSITORY@sha256:…) it removes the
image, and all tags of it in the repository. Layers that other images have stay.`,
		Example: `  lamina rm demo/node-app:1
  lamina rm demo/node-app@sha256:9834876dcfb05cb167a5c24953eba58c4ac89b1adf57f28f2f9d09af107ee8f0`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("rm: REF is missing")
			}
			return nil
		},
		ValidArgsFunction: a.completeAll(completeImages),
		RunE: func(cmd *cobra.Command, args []string) error {
			var errs []error
			for _, ref := range args {
				errs = append(errs, a.runRemove(cmd, ref))
			}
			return errors.Join(errs...)
		},
	}
	addServer(cmd)
	cmd.Flags().BoolP("quiet", "q", false, "print nothing but errors")
	return cmd
}

func (a *app) runRemove(cmd *cobra.Command, ref string) error {
	ctx := cmd.Context()
	if r, err := reference.Parse(ref); err == nil && r.Tag == "latest" && r.Digest == "" && !hasTag(ref) {
		return usagef("rm: %s names no tag (say %s:latest, if that is meant)", ref, ref)
	}
	c, r, err := a.image(ctx, cmd, ref)
	if err != nil {
		return failed("remove", ref, err)
	}
	defer c.Close()
	d, err := c.Resolve(ctx, r.Repository, r.Locator(), "")
	if err != nil {
		return failed("remove", ref, err)
	}
	// What else names it is looked for first: afterwards nobody knows.
	var tags []string
	for i, err := range c.Images(ctx, string(r.Repository), false) {
		if err != nil {
			return failed("remove", ref, err)
		}
		if i.Repository == string(r.Repository) && i.Manifest.GetDigest() == string(d.Digest) && reference.Tag(i.Tag) != r.Tag {
			tags = append(tags, i.Tag)
		}
	}
	if err := c.Delete(ctx, r.Repository, r.Locator()); err != nil {
		return failed("remove", ref, err)
	}
	if quiet, _ := cmd.Flags().GetBool("quiet"); !quiet {
		fmt.Fprintln(a.out, removed(r, string(d.Digest), tags))
	}
	return nil
}

// removed says what is gone, and what is not.
func removed(r reference.Reference, digest string, tags []string) string {
	image := fmt.Sprintf("%s@%s", r.Repository, digest)
	switch {
	case r.Digest != "" && r.Tag != "":
		tags = append(tags, string(r.Tag))
		fallthrough
	case r.Digest != "":
		if len(tags) > 0 {
			return fmt.Sprintf("removed %s and its tags: %s", image, list(tags))
		}
		return "removed " + image
	case len(tags) > 0:
		return fmt.Sprintf("removed the tag %s:%s; the image keeps its tags: %s", r.Repository, r.Tag, list(tags))
	}
	return fmt.Sprintf("removed the tag %s:%s; the image stays, until it is removed too, as\n  %s", r.Repository, r.Tag, image)
}
