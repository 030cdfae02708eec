// Package retain removes tags, and manifests that nothing names, by rules: it is
// what keeps a repository from growing for ever (docs/retention.md).
//
// The first rule whose patterns match a repository says which of its tags are
// kept and how long a manifest is that has lost its last tag. Without a rule
// nothing is removed. A rule removes names only: what these named is collected
// like everything that nothing names.
//
// # Nothing is removed that somebody has just named
//
// A tag is removed only if it still is as it was when the rule was applied to
// it. A manifest is first said to be leaving, then all tags and indexes are
// looked at once more, and only then is it removed: whoever tags it meanwhile,
// pushes it again or pushes an index that names it has it stay (package link).
// So a push that was acknowledged wins, on whatever server.
//
// # Since when a manifest has no tag
//
// Nobody notes that exactly. It is taken for the latest of these: when the
// manifest was pushed; when a tag was removed that named it last; when a tag was
// pointed elsewhere, as far as the tag remembers, which is its last eight
// manifests.
package retain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/collect"
	"github.com/laminastore/lamina/blobstore/fleet"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/record"
	"github.com/laminastore/lamina/reference"
)

// Options of a Retainer.
type Options struct {
	Logger *slog.Logger // slog.Default()
}

// A Retainer applies rules to the repositories of a store. Safe for concurrent
// use; any number may work on one store at once.
type Retainer struct {
	store  *blobstore.Store
	images *images.Images
	fleet  *fleet.Fleet
	policy *Policy
	log    *slog.Logger
}

// New returns a Retainer that goes by policy; with nil it removes nothing. It
// holds nothing that needs closing.
func New(s *blobstore.Store, im *images.Images, f *fleet.Fleet, policy *Policy, o Options) *Retainer {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &Retainer{store: s, images: im, fleet: f, policy: policy, log: o.Logger}
}

// Kinds of findings.
const (
	KindTag      = collect.KindTag
	KindManifest = collect.KindManifest
	// KindRepository is a repository that was left out, since something in it
	// cannot be read.
	KindRepository = "repository"
)

// A Finding is what the rules say of a tag or a manifest.
type Finding struct {
	Repository reference.Repository
	Kind       string
	Tag        reference.Tag // of a tag
	Digest     digest.Digest // of the manifest, or that the tag names
	Rule       string        // the rule's name
	// Remove says that it was removed, or with dry would be; otherwise it is kept.
	Remove bool
	Why    string
	// Next is when it may be removed at the earliest; zero when nobody knows.
	Next time.Time
}

// Apply applies the rules to all repositories that one of them matches, and
// calls each with what it finds of every tag and manifest there, one call after
// another; with dry it changes nothing. A repository in which something cannot
// be read, so that nobody knows what it names, is left as it is: that is a
// Finding too. It reads the rules again if their file has changed.
// Errors: ErrConfig when the rules cannot be used as they are now, and then
// nothing was removed; bucket.ErrUnavailable; ctx's error. What was removed
// until then stays removed.
func (r *Retainer) Apply(ctx context.Context, dry bool, each func(Finding)) error {
	if r.policy == nil {
		return nil
	}
	rules, err := r.policy.Rules()
	if err != nil || !rules.removesAny() {
		return err
	}
	held, err := r.held(ctx)
	if err != nil {
		return err
	}
	for repo, err := range r.images.Repositories(ctx, "") {
		if err != nil {
			return err
		}
		rule, ok := rules.of(repo)
		if !ok || !rule.removes() {
			continue
		}
		p := &pass{Retainer: r, repo: repo, rule: rule, held: held, dry: dry, each: each}
		if err := p.run(ctx); damaged(err) {
			r.log.Error("retention leaves a repository as it is, since something in it cannot be read", "repository", repo, "error", err)
			each(Finding{Repository: repo, Kind: KindRepository, Rule: rule.Name, Why: fmt.Sprintf("left as it is: %v", err)})
		} else if err != nil {
			return fmt.Errorf("retention in repository %s: %w", repo, err)
		}
	}
	return nil
}

// Collect is Apply for collect.Options.Retain: it tells only what goes.
func (r *Retainer) Collect(ctx context.Context, dry bool, report func(collect.Finding)) error {
	return r.Apply(ctx, dry, func(f Finding) {
		if !f.Remove {
			return
		}
		subject := string(f.Digest)
		if f.Kind == KindTag {
			subject = string(f.Tag)
		}
		report(collect.Finding{
			Kind: f.Kind, Subject: subject, Repository: string(f.Repository), Step: blobstore.Removed,
			Why: fmt.Sprintf("rule %s: %s", f.Rule, f.Why),
		})
	})
}

// damaged says whether err is of something that will not be better next time.
func damaged(err error) bool {
	return errors.Is(err, blobstore.ErrCorrupt) || errors.Is(err, blobstore.ErrManifestInvalid) ||
		errors.Is(err, blobstore.ErrTooLarge) || errors.Is(err, record.ErrInvalid)
}

// held returns the manifests that registered snapshots were made into, and those
// that nodes report in use.
func (r *Retainer) held(ctx context.Context) (map[digest.Digest]string, error) {
	held := map[digest.Digest]string{}
	for s, err := range r.fleet.Snapshots(ctx, "", "") {
		if err != nil {
			return nil, err
		}
		held[s.Image.Digest] = "snapshot " + s.ID + " is registered"
	}
	now := r.store.Clock().Now()
	for n, err := range r.fleet.Nodes(ctx, "") {
		if err != nil {
			return nil, err
		}
		if now.Sub(n.ReportedAt) >= fleet.SilentAfter {
			continue
		}
		for _, c := range n.Containers {
			if c.ImageDigest != "" {
				held[c.ImageDigest] = "node " + n.ID + " runs it"
			}
		}
	}
	return held, nil
}
