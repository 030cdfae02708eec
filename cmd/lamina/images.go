package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

func (a *app) images() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "images [PREFIX]",
		Short: "List images",
		Long: `Lists the images of all repositories, or of those whose names begin with PREFIX,
which may begin with the registry's host.

With -o json: a list of {repository, tag, digest, mediaType, manifestSize, platforms,
layers, size, created, pushed}; sizes in bytes, size that of all layers as they
were pushed; times in RFC 3339; what is not known is left out.`,
		Example: `  lamina images demo/
  lamina images localhost:5000
  lamina images -q | xargs -n 1 lamina inspect`,
		Args:              atMost("PREFIX"),
		ValidArgsFunction: a.complete(completeImages),
		RunE: func(cmd *cobra.Command, args []string) error {
			prefix := ""
			if len(args) > 0 {
				prefix = args[0]
			}
			return a.runImages(cmd, prefix)
		},
	}
	addServer(cmd)
	addOutput(cmd)
	cmd.Flags().BoolP("untagged", "a", false, "also list manifests that no tag names")
	cmd.Flags().BoolP("quiet", "q", false, "print references only")
	return cmd
}

// imageJSON is an image as `images -o json` prints it.
type imageJSON struct {
	Repository   string     `json:"repository"`
	Tag          string     `json:"tag,omitempty"`
	Digest       string     `json:"digest"`
	MediaType    string     `json:"mediaType"`
	ManifestSize int64      `json:"manifestSize"`
	Platforms    []string   `json:"platforms"`
	Layers       int32      `json:"layers"`
	Size         int64      `json:"size"`
	Created      *time.Time `json:"created,omitempty"`
	Pushed       *time.Time `json:"pushed,omitempty"`
}

func (a *app) runImages(cmd *cobra.Command, prefix string) error {
	json, err := asJSON(cmd)
	if err != nil {
		return err
	}
	host, prefix := splitPrefix(prefix)
	c, err := a.dial(cmd.Context(), cmd, host)
	if err != nil {
		return fmt.Errorf("list images: %w", explainOther(err, host))
	}
	defer c.Close()
	untagged, _ := cmd.Flags().GetBool("untagged")
	var images []*pb.Image
	for i, err := range c.Images(cmd.Context(), prefix, untagged) {
		if err != nil {
			return fmt.Errorf("list images: %w", err)
		}
		images = append(images, i)
	}
	quiet, _ := cmd.Flags().GetBool("quiet")
	switch {
	case json:
		list := []imageJSON{}
		for _, i := range images {
			platforms := i.Platforms
			if platforms == nil {
				platforms = []string{}
			}
			list = append(list, imageJSON{
				i.Repository, i.Tag, i.Manifest.GetDigest(), i.Manifest.GetMediaType(), i.Manifest.GetSize(), platforms,
				i.Layers, i.LayersSize, timestamp(i.CreatedAt), timestamp(i.PushedAt),
			})
		}
		return a.printJSON(list)
	case quiet:
		for _, i := range images {
			fmt.Fprintln(a.out, imageName(i))
		}
		return nil
	case len(images) == 0:
		p := a.progress(cmd)
		p.say("no images" + map[bool]string{true: " whose repository begins with " + prefix}[prefix != ""])
		return nil
	}
	return a.imageTable(images, time.Now())
}

func (a *app) imageTable(images []*pb.Image, now time.Time) error {
	var digests []string
	for _, i := range images {
		digests = append(digests, i.Manifest.GetDigest())
	}
	s := newShortener(digests...)
	t := newTable(a.out, "REPOSITORY", "TAG", "DIGEST", "PLATFORM", "LAYERS", "SIZE", "CREATED", "PUSHED")
	for _, i := range images {
		t.row(i.Repository, i.Tag, s.short(i.Manifest.GetDigest()), platforms(i.Platforms), i.Layers, size(i.LayersSize),
			age(now, i.CreatedAt), age(now, i.PushedAt))
	}
	return t.flush()
}

// platforms is the first two of them.
func platforms(list []string) string {
	switch len(list) {
	case 0:
		return ""
	case 1:
		return list[0]
	case 2:
		return list[0] + ", " + list[1]
	}
	return fmt.Sprintf("%s and %d more", list[0], len(list)-1)
}

func imageName(i *pb.Image) string {
	if i.Tag == "" {
		return i.Repository + "@" + i.Manifest.GetDigest()
	}
	return i.Repository + ":" + i.Tag
}
