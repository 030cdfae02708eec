package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/laminastore/lamina/client"
	"github.com/laminastore/lamina/client/transfer"
	"github.com/laminastore/lamina/reference"
)

func (a *app) push() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "push SRC REF",
		Short: "Copy an image into a repository",
		Long: `Copies the image at SRC into a repository, byte for byte; what the repository has
is not sent again. SRC is

  oci:DIR[:TAG]               a folder in the OCI image layout
  oci-archive:FILE[:TAG]      the same in one tar file
  docker-archive:FILE[:NAME]  what docker save writes (may be compressed)
  docker://REF                another registry, with the credentials of docker login

An index is pushed with all its platforms, unless --platform chooses one. The
layers of a docker-archive are compressed first, and the image gets a manifest
of Docker's schema 2: its ID stays.

The command ends when the server has looked into the layers, and fails if one
is not what the image says. With REF on another registry than Lamina's the
image is pushed there as to any.`,
		Example: `  lamina push oci:./node-app localhost:5000/demo/node-app:1
  docker save node-app | gzip > app.tar.gz && lamina push docker-archive:app.tar.gz demo/node-app:1
  lamina push docker://docker.io/library/debian:12 mirror/debian:12`,
		Args:              exactly("SRC", "REF"),
		ValidArgsFunction: a.complete(completeLocation, completeImages),
		RunE:              func(cmd *cobra.Command, args []string) error { return a.runPush(cmd, args[0], args[1]) },
	}
	addServer(cmd)
	addCopy(cmd)
	addOutput(cmd)
	cmd.Flags().Bool("no-wait", false, "do not wait until the server has looked into the layers")
	cmd.Flags().StringSlice("mount-from", nil, "repositories `REPO` on the server to take blobs over from (at most 8)")
	return cmd
}

// addCopy gives a command the flags of those that move blobs.
func addCopy(cmd *cobra.Command) {
	cmd.Flags().String("platform", "", "of an index, only the image for this `PLATFORM`, as in linux/arm64")
	cmd.Flags().IntP("parallel", "j", 4, "how many blobs to move at once")
	cmd.Flags().BoolP("quiet", "q", false, "print nothing but errors")
}

func (a *app) runPush(cmd *cobra.Command, src, ref string) (err error) {
	ctx := cmd.Context()
	o, err := a.copyOptions(cmd)
	if err != nil {
		return err
	}
	from, err := transfer.ParseLocation(src)
	if err != nil {
		return usageError{err}
	}
	r, err := reference.Parse(ref)
	if err != nil {
		return usageError{err}
	}
	p := a.progress(cmd)
	defer p.close()
	o.Progress = p

	// The server first: its absence is noticed before anything is compressed.
	c, err := a.dial(ctx, cmd, r.Host)
	other := errors.Is(err, client.ErrNotLamina)
	if err != nil && !other {
		return failed("push", ref, err)
	}
	if !other {
		defer c.Close()
	}
	s, err := transfer.Open(ctx, from, transfer.OpenOptions{PlainHTTP: plainHTTP(cmd), Copy: o.Options})
	if err != nil {
		return failed("push", ref, err)
	}
	defer s.Close()
	if err := checkDigest(ctx, s, r, o.Platform); err != nil {
		return failed("push", ref, err)
	}
	var res transfer.Result
	if other {
		res, err = a.pushElsewhere(ctx, cmd, s, r, o)
	} else {
		res, err = c.Push(ctx, s, r.Repository, r.Tag, o)
	}
	if err == nil && !other {
		err = a.waitLayers(cmd, c, r, res, p)
	}
	p.close()
	if err != nil {
		return failed("push", ref, err)
	}
	return a.printCopy(cmd, "pushed", r.String(), res)
}

// checkDigest compares the image with the digest that REF has. The digest of the
// image of one platform is not known before it is chosen: the index's counts.
func checkDigest(ctx context.Context, s transfer.Source, r reference.Reference, platform string) error {
	if r.Digest == "" || platform != "" {
		return nil
	}
	root, err := s.Root(ctx)
	if err == nil && root.Digest != r.Digest {
		err = fmt.Errorf("%s has the digest %s (leave the digest out of REF)", s, root.Digest)
	}
	return err
}

func (a *app) pushElsewhere(ctx context.Context, cmd *cobra.Command, s transfer.Source, r reference.Reference, o client.CopyOptions) (transfer.Result, error) {
	d, err := transfer.Create(ctx, transfer.Location{Kind: transfer.Registry, Path: r.String()}, transfer.OpenOptions{PlainHTTP: plainHTTP(cmd)})
	if err != nil {
		return transfer.Result{}, err
	}
	defer d.Close()
	return transfer.Copy(ctx, d, s, o.Options)
}

// patienceForLayers is after how long a user is told what the wait is for.
const patienceForLayers = 2 * time.Second

func (a *app) waitLayers(cmd *cobra.Command, c *client.Client, r reference.Reference, res transfer.Result, p *progress) error {
	if no, _ := cmd.Flags().GetBool("no-wait"); no {
		return nil
	}
	hint := time.AfterFunc(patienceForLayers, func() { p.say("the server looks into the layers…") })
	defer hint.Stop()
	return c.WaitLayers(cmd.Context(), r.Repository, res.Manifests)
}

func (a *app) copyOptions(cmd *cobra.Command) (client.CopyOptions, error) {
	var o client.CopyOptions
	o.Platform, _ = cmd.Flags().GetString("platform")
	o.Parallel, _ = cmd.Flags().GetInt("parallel")
	if o.Parallel < 1 || o.Parallel > 64 {
		return o, usagef("--parallel %d is not between 1 and 64", o.Parallel)
	}
	if cmd.Flags().Lookup("mount-from") != nil {
		from, _ := cmd.Flags().GetStringSlice("mount-from")
		for _, f := range from {
			repo, err := reference.ParseRepository(f)
			if err != nil {
				return o, usagef("--mount-from: %w", err)
			}
			o.MountFrom = append(o.MountFrom, repo)
		}
	}
	_, err := asJSON(cmd)
	return o, err
}

// failed says what could not be done. Errors of how a command was called say
// that themselves.
func failed(what, on string, err error) error {
	if errors.As(err, new(usageError)) {
		return err
	}
	if strings.HasPrefix(err.Error(), on+": ") { // it says itself what it is about
		return fmt.Errorf("%s %w", what, err)
	}
	return fmt.Errorf("%s %s: %w", what, on, err)
}
