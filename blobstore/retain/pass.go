package retain

import (
	"context"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/laminastore/lamina/reference"
)

// parallel is how many calls to the bucket a pass makes at once.
const parallel = 16

// A pass applies a rule to a repository once.
type pass struct {
	*Retainer
	repo reference.Repository
	rule *Rule
	held map[digest.Digest]string // manifests, and why
	dry  bool
	each func(Finding)
}

func (p *pass) run(ctx context.Context) error {
	v, err := p.look(ctx)
	if err != nil {
		return err
	}
	if err := p.tags(ctx, v); err != nil {
		return err
	}
	if p.rule.UntaggedAfter == 0 {
		return nil
	}
	v.judge(p.rule, p.held)
	if !p.dry {
		if v, err = p.remove(ctx, v); v == nil {
			return err
		}
	}
	for i := range v.manifests {
		if m := &v.manifests[i]; !m.Gone && (err == nil || m.verdict.goes) {
			p.each(Finding{
				Repository: p.repo, Kind: KindManifest, Digest: m.Digest, Rule: p.rule.Name,
				Remove: m.verdict.goes, Why: m.verdict.why, Next: m.verdict.next,
			})
		}
	}
	return err
}

// tags removes the tags that the rule does not keep, and notes that in v.
func (p *pass) tags(ctx context.Context, v *view) error {
	verdicts := v.tagVerdicts(p.rule)
	var goes []int
	for i := range verdicts {
		if verdicts[i].goes {
			goes = append(goes, i)
		}
	}
	done := make([]bool, len(goes))
	err := atOnce(ctx, len(goes), func(ctx context.Context, n int) (err error) {
		if done[n] = true; !p.dry {
			done[n], err = p.images.UntagSeen(ctx, p.repo, v.tags[goes[n]])
		}
		return err
	})
	for n, i := range goes {
		if !done[n] {
			verdicts[i] = verdict{why: "it was written again just now"}
		}
	}
	v.untag(func(i int) bool { return verdicts[i].goes }, p.store.Clock().Now())
	for i, t := range v.tags {
		if err != nil && !verdicts[i].goes {
			continue // what was done is told all the same
		}
		p.each(Finding{
			Repository: p.repo, Kind: KindTag, Tag: t.Tag, Digest: t.Digest, Rule: p.rule.Name,
			Remove: verdicts[i].goes, Why: verdicts[i].why, Next: verdicts[i].next,
		})
	}
	return err
}

// atOnce calls f for 0 to n-1, some at once, and returns the first error.
func atOnce(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i := range n {
		g.Go(func() error { return f(ctx, i) })
	}
	return g.Wait()
}
