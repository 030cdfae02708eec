package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/reference"
)

func (a *app) inspect() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect REF",
		Short: "Show an image: its config and its layers",
		Long: `Shows what an image is made of. Of an index, the image for --platform, or else for
the server's own platform.

With -o json: {reference, digest, mediaType, manifest {digest, mediaType, size},
platforms [{platform, digest, size}], config (as it was pushed), layers
[{digest, mediaType, size, diffID, chainID, state, problem}]}; state is pending,
plain, mountable, invalid or opaque.`,
		Example: `  lamina inspect demo/node-app:1
  lamina inspect --raw demo/node-app:1 | sha256sum
  lamina inspect -o json demo/node-app:1 | jq .config.config.Env`,
		Args:              exactly("REF"),
		ValidArgsFunction: a.complete(completeImages),
		RunE:              func(cmd *cobra.Command, args []string) error { return a.runInspect(cmd, args[0]) },
	}
	addServer(cmd)
	addOutput(cmd)
	cmd.Flags().String("platform", "", "of an index, the image for this `PLATFORM`, as in linux/arm64")
	cmd.Flags().Bool("raw", false, "print the bytes of the manifest or index, as they were pushed")
	return cmd
}

// layerJSON is a layer as inspect and history print it.
type layerJSON struct {
	Digest    string `json:"digest"`
	MediaType string `json:"mediaType"`
	Size      int64  `json:"size"`
	DiffID    string `json:"diffID,omitempty"`
	ChainID   string `json:"chainID,omitempty"`
	State     string `json:"state"`
	Problem   string `json:"problem,omitempty"`
}

func layer(l *pb.Layer) layerJSON {
	return layerJSON{
		l.Blob.GetDigest(), l.Blob.GetMediaType(), l.Blob.GetSize(), l.DiffId, l.ChainId,
		strings.ToLower(strings.TrimPrefix(l.State.String(), "LAYER_STATE_")), l.Problem,
	}
}

type descriptorJSON struct {
	Digest    string `json:"digest"`
	MediaType string `json:"mediaType,omitempty"`
	Size      int64  `json:"size"`
}

type platformJSON struct {
	Platform string `json:"platform"`
	Digest   string `json:"digest"`
	Size     int64  `json:"size"`
}

func (a *app) runInspect(cmd *cobra.Command, ref string) error {
	asJSON, err := asJSON(cmd)
	if err != nil {
		return err
	}
	c, r, err := a.image(cmd.Context(), cmd, ref)
	if err != nil {
		return failed("inspect", ref, err)
	}
	defer c.Close()
	if raw, _ := cmd.Flags().GetBool("raw"); raw {
		_, b, err := c.Manifest(cmd.Context(), r.Repository, r.Locator())
		if err != nil {
			return failed("inspect", ref, err)
		}
		_, err = a.out.Write(b)
		return err
	}
	platform, _ := cmd.Flags().GetString("platform")
	img, err := c.Image(cmd.Context(), r.Repository, r.Locator(), platform)
	if err != nil {
		return failed("inspect", ref, err)
	}
	if asJSON {
		return a.printJSON(inspectJSON(r, img))
	}
	return showImage(a.out, r, img, time.Now())
}

func inspectJSON(r reference.Reference, img *pb.ImagesGetResponse) any {
	v := struct {
		Reference string          `json:"reference"`
		Digest    string          `json:"digest"`
		MediaType string          `json:"mediaType"`
		Manifest  descriptorJSON  `json:"manifest"`
		Platforms []platformJSON  `json:"platforms,omitempty"`
		Config    json.RawMessage `json:"config,omitempty"`
		Layers    []layerJSON     `json:"layers"`
	}{
		Reference: name(r), Digest: img.Target.GetDigest(), MediaType: img.Target.GetMediaType(),
		Manifest: descriptorJSON{img.Manifest.GetDigest(), img.Manifest.GetMediaType(), img.Manifest.GetSize()},
		Layers:   []layerJSON{},
	}
	for _, p := range img.Platforms {
		v.Platforms = append(v.Platforms, platformJSON{p.Platform, p.Manifest.GetDigest(), p.Manifest.GetSize()})
	}
	if json.Valid(img.ConfigBytes) {
		v.Config = img.ConfigBytes
	}
	for _, l := range img.Layers {
		v.Layers = append(v.Layers, layer(l))
	}
	return v
}

// showImage prints an image for people.
func showImage(out io.Writer, r reference.Reference, img *pb.ImagesGetResponse, now time.Time) error {
	t := newTable(out)
	t.row("Image:", name(r))
	t.row("Digest:", img.Target.GetDigest())
	if img.Target.GetDigest() != img.Manifest.GetDigest() {
		t.row("Manifest:", img.Manifest.GetDigest())
	}
	t.row("Type:", img.Manifest.GetMediaType())
	var config ocispec.Image
	if json.Unmarshal(img.ConfigBytes, &config) == nil {
		showConfig(t, config, now)
	}
	var total int64
	for _, l := range img.Layers {
		total += l.Blob.GetSize()
	}
	t.row("Size:", fmt.Sprintf("%s in %s", size(total), count(len(img.Layers), "layer")))
	if err := t.flush(); err != nil {
		return err
	}
	if len(img.Layers) > 0 {
		fmt.Fprintln(out)
		if err := layerTable(out, img.Layers); err != nil {
			return err
		}
	}
	if len(img.Platforms) > 0 {
		fmt.Fprintln(out)
		return platformTable(out, img)
	}
	return nil
}

func showConfig(t *table, c ocispec.Image, now time.Time) {
	row := func(name, value string) {
		if value != "" {
			t.row(name, value)
		}
	}
	platform := strings.Trim(strings.Join([]string{c.OS, c.Architecture, c.Variant}, "/"), "/")
	row("Platform:", platform)
	if c.Created != nil && c.Created.Year() >= 1980 {
		row("Created:", c.Created.UTC().Format(time.DateTime)+" UTC, "+age(now, timestamppb.New(*c.Created)))
	}
	row("Author:", c.Author)
	row("Entrypoint:", words(c.Config.Entrypoint))
	row("Command:", words(c.Config.Cmd))
	row("Workdir:", c.Config.WorkingDir)
	row("User:", c.Config.User)
	row("Ports:", strings.Join(slices.Sorted(maps.Keys(c.Config.ExposedPorts)), ", "))
	row("Volumes:", strings.Join(slices.Sorted(maps.Keys(c.Config.Volumes)), ", "))
	for i, e := range c.Config.Env {
		t.row(first(i, "Environment:"), e)
	}
	for i, k := range slices.Sorted(maps.Keys(c.Config.Labels)) {
		t.row(first(i, "Labels:"), k+"="+c.Config.Labels[k])
	}
}

// first is s in the first row of several, and a space in the others.
func first(i int, s string) string {
	if i == 0 {
		return s
	}
	return " "
}

// words shows the words of a command so that one can see where each ends.
func words(list []string) string {
	var b bytes.Buffer
	for i, w := range list {
		if i > 0 {
			b.WriteByte(' ')
		}
		if w == "" || strings.ContainsAny(w, " \t\n\"'\\$&|;<>()*?#~") {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		b.WriteString(w)
	}
	return b.String()
}

func layerTable(out io.Writer, layers []*pb.Layer) error {
	var digests []string
	for _, l := range layers {
		digests = append(digests, l.Blob.GetDigest(), l.DiffId)
	}
	s := newShortener(digests...)
	t := newTable(out, "LAYER", "DIGEST", "SIZE", "DIFF ID", "STATE")
	for i, l := range layers {
		v := layer(l)
		state := v.State
		if v.Problem != "" {
			state += ": " + v.Problem
		}
		t.row(i+1, s.short(v.Digest), size(v.Size), s.short(v.DiffID), state)
	}
	return t.flush()
}

func platformTable(out io.Writer, img *pb.ImagesGetResponse) error {
	t := newTable(out, "PLATFORM", "MANIFEST")
	for _, p := range img.Platforms {
		shown := ""
		if p.Manifest.GetDigest() == img.Manifest.GetDigest() {
			shown = "   (shown above)"
		}
		t.row(p.Platform, p.Manifest.GetDigest()+shown)
	}
	return t.flush()
}
