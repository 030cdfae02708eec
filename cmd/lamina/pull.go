package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/laminastore/lamina/client"
	"github.com/laminastore/lamina/client/transfer"
	"github.com/laminastore/lamina/reference"
)

func (a *app) pull() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pull REF DST",
		Short: "Copy an image out of a repository",
		Long: `Copies an image to DST, byte for byte, and checks what arrives. DST is

  oci:DIR[:TAG]               a folder in the OCI image layout; what is in it stays,
                              and blobs that it has are not fetched
  oci-archive:FILE[:TAG]      one tar file, which is replaced
  docker-archive:FILE[:NAME]  a tar file for docker load, which is replaced
  docker://REF                another registry, with the credentials of docker login

Without TAG or NAME the image gets those of REF. An index is pulled with all its
platforms, unless --platform chooses one; a docker-archive holds only one, and
that is this machine's unless --platform says otherwise.`,
		Example: `  lamina pull localhost:5000/demo/node-app:1 oci:./node-app
  lamina pull demo/node-app:1 docker-archive:app.tar && docker load -i app.tar`,
		Args:              exactly("REF", "DST"),
		ValidArgsFunction: a.complete(completeImages, completeLocation),
		RunE:              func(cmd *cobra.Command, args []string) error { return a.runPull(cmd, args[0], args[1]) },
	}
	addServer(cmd)
	addCopy(cmd)
	addOutput(cmd)
	return cmd
}

func (a *app) runPull(cmd *cobra.Command, ref, dst string) error {
	ctx := cmd.Context()
	o, err := a.copyOptions(cmd)
	if err != nil {
		return err
	}
	to, err := transfer.ParseLocation(dst)
	if err != nil {
		return usageError{err}
	}
	r, err := reference.Parse(ref)
	if err != nil {
		return usageError{err}
	}
	if to.Kind == transfer.DockerArchive && o.Platform == "" {
		o.Platform = "linux/" + runtime.GOARCH
	}
	p := a.progress(cmd)
	defer p.close()
	o.Progress = p

	s, closeServer, err := a.pullSource(ctx, cmd, r)
	if err != nil {
		return failed("pull", ref, err)
	}
	defer closeServer()
	defer s.Close()
	// Asked first: an image that is not there makes no file and no folder.
	if _, err := s.Root(ctx); err != nil {
		return failed("pull", ref, err)
	}
	d, err := transfer.Create(ctx, to, transfer.OpenOptions{PlainHTTP: plainHTTP(cmd), Name: pulledName(to.Kind, r)})
	if err != nil {
		return failed("pull", ref, err)
	}
	res, err := transfer.Copy(ctx, d, s, o.Options)
	err = errors.Join(err, d.Close())
	p.close()
	if err != nil {
		return failed("pull", ref, err)
	}
	return a.printCopy(cmd, "pulled", to.String(), res)
}

// pullSource is the image on a Lamina server, or on another registry.
func (a *app) pullSource(ctx context.Context, cmd *cobra.Command, r reference.Reference) (transfer.Source, func() error, error) {
	c, err := a.dial(ctx, cmd, r.Host)
	if err == nil {
		return c.Source(r.Repository, r.Locator()), c.Close, nil
	}
	if !errors.Is(err, client.ErrNotLamina) {
		return nil, nil, err
	}
	s, err := transfer.Open(ctx, transfer.Location{Kind: transfer.Registry, Path: r.String()}, transfer.OpenOptions{PlainHTTP: plainHTTP(cmd)})
	return s, func() error { return nil }, err
}

// pulledName is what an image is called where it was pulled to: by the tag in
// a layout, by the whole name for Docker.
func pulledName(k transfer.Kind, r reference.Reference) string {
	if k == transfer.DockerArchive && r.Tag != "" {
		r.Digest = ""
		return r.String()
	}
	return string(r.Tag)
}

// copied is what push and pull print with -o json.
type copied struct {
	Reference string `json:"reference"`
	Digest    string `json:"digest"`
	MediaType string `json:"mediaType"`
	Blobs     int    `json:"blobs"`
	Size      int64  `json:"size"`
	Moved     int    `json:"movedBlobs"`
	MovedSize int64  `json:"movedSize"`
}

func (a *app) printCopy(cmd *cobra.Command, what, to string, r transfer.Result) error {
	if json, err := asJSON(cmd); json || err != nil {
		return a.printJSON(copied{to, string(r.Root.Digest), r.Root.MediaType, r.Blobs, r.Size, r.Moved, r.MovedSize})
	}
	if quiet, _ := cmd.Flags().GetBool("quiet"); quiet {
		return nil
	}
	_, err := fmt.Fprintf(a.out, "%s %s\n  %s\n  %s\n", what, to, r.Root.Digest, summary(r))
	return err
}

// summary says how much there was and how much of it moved.
func summary(r transfer.Result) string {
	s := fmt.Sprintf("%s in %s", size(r.Size), count(r.Blobs, "blob"))
	if n := len(r.Manifests); n > 1 {
		s += fmt.Sprintf(" of %s", count(n, "image"))
	}
	switch {
	case r.Moved == 0:
		s += ", all there already"
	case r.Moved < r.Blobs:
		s += fmt.Sprintf(", %s moved, the others were there", size(r.MovedSize))
	}
	return strings.TrimSpace(s)
}
