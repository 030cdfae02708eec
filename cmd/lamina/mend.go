package main

import (
	"bytes"
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/laminastore/lamina/client"
	"github.com/laminastore/lamina/client/transfer"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/reference"
)

// doneRepaired is what the server says of what is good again.
const doneRepaired = "repaired"

// A mending puts back blobs from another place, by pushing them.
type mending struct {
	c    *client.Client
	from transfer.Source
	p    *progress
}

// all puts back what it can of what was found, and counts that in the report.
func (m *mending) all(ctx context.Context, v *verification) {
	for _, f := range v.findings {
		if f.Done == doneRepaired || f.Kind == "orphan" || len(f.Images) == 0 || !isDigest(f.Subject) {
			continue
		}
		if err := m.mend(ctx, f); err != nil {
			m.p.say(fmt.Sprintf("%s was not put back: %v", newShortener().short(f.Subject), err))
			continue
		}
		f.Done, f.Remedy, f.Problem = doneRepaired, "", "it was bad, and was put back from "+m.from.String()
		v.report.Repaired++
		v.report.Bad = max(v.report.Bad-1, 0)
		m.p.say(fmt.Sprintf("%s was put back from %s", newShortener().short(f.Subject), m.from))
	}
}

// mend pushes a blob to a repository that names it.
func (m *mending) mend(ctx context.Context, f *pb.VerificationFinding) error {
	desc := ocispec.Descriptor{Digest: digest.Digest(f.Subject), Size: f.Bytes}
	repo, err := reference.ParseRepository(f.Images[0].Repository)
	if err != nil {
		return err
	}
	content := transfer.Checked(m.from, desc)
	for _, i := range f.Images {
		if i.Manifest != f.Subject {
			continue
		}
		b, err := m.from.Manifest(ctx, desc)
		if err != nil {
			return err
		}
		if got := desc.Digest.Algorithm().FromBytes(b); got != desc.Digest {
			return fmt.Errorf("%s has %s instead", m.from, got)
		}
		desc.Size = int64(len(b))
		content = transfer.Bytes(bytes.NewReader(b), desc.Size)
	}
	return m.c.Upload(ctx, repo, desc, content)
}
