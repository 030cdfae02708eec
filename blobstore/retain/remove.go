package retain

import (
	"context"

	"github.com/laminastore/lamina/blobstore/images"
)

// remove removes the manifests that go by the verdicts of the first look, and
// returns the second one, whose verdicts say what has become of each.
func (p *pass) remove(ctx context.Context, first *view) (*view, error) {
	goes := first.going()
	if len(goes) == 0 {
		return first, nil
	}
	left := make([]images.Leaving, len(goes))
	ok := make([]bool, len(goes))
	err := atOnce(ctx, len(goes), func(ctx context.Context, n int) (err error) {
		left[n], ok[n], err = p.images.Leave(ctx, p.repo, first.manifests[goes[n]].ManifestSeen)
		return err
	})
	if err == nil {
		err = p.images.Settle(ctx)
	}
	if err != nil {
		return nil, err
	}
	second, err := p.look(ctx)
	if err != nil {
		return nil, err
	}
	second.judge(p.rule, p.held)
	leaving := map[int32]images.Leaving{}
	for n, i := range goes {
		m := &first.manifests[i]
		if at, there := second.at[m.Digest]; ok[n] && there && second.manifests[at].Generation == m.Generation {
			leaving[at] = left[n]
		}
	}
	removed, err := p.inOrder(ctx, second, leaving)
	for _, i := range second.going() {
		if !removed[i] {
			second.manifests[i].verdict = verdict{why: "it was pushed or named again just now, or what named it was"}
		}
	}
	return second, err
}

// going returns the places of the manifests that go.
func (v *view) going() (goes []int32) {
	for i := range v.manifests {
		if v.manifests[i].verdict.goes {
			goes = append(goes, int32(i))
		}
	}
	return goes
}

// inOrder removes those of the leaving manifests that v says go: each after all
// that name it, and after its subject. When one of these stays, since somebody
// has named it meanwhile, so does it. Those that stay are leaving no more. It
// returns which were removed.
func (p *pass) inOrder(ctx context.Context, v *view, leaving map[int32]images.Leaving) (map[int32]bool, error) {
	waits := make([]int32, len(v.manifests)) // for how many others
	goes := v.going()
	for _, i := range goes {
		for _, d := range v.manifests[i].depend() {
			waits[d]++
		}
	}
	var batch []int32
	for _, i := range goes {
		if waits[i] == 0 {
			batch = append(batch, i)
		}
	}
	removed := map[int32]bool{}
	for len(batch) > 0 {
		done := make([]bool, len(batch))
		err := atOnce(ctx, len(batch), func(ctx context.Context, n int) (err error) {
			if l, ok := leaving[batch[n]]; ok {
				done[n], err = p.images.RemoveLeaving(ctx, p.repo, l)
			}
			return err
		})
		var next []int32
		for n, i := range batch {
			if !done[n] {
				continue
			}
			removed[i] = true
			for _, d := range v.manifests[i].depend() {
				if waits[d]--; waits[d] == 0 && v.manifests[d].verdict.goes {
					next = append(next, d)
				}
			}
		}
		if err != nil {
			return removed, err
		}
		batch = next
	}
	var stay []images.Leaving
	for i, l := range leaving {
		if !removed[i] {
			stay = append(stay, l)
		}
	}
	return removed, atOnce(ctx, len(stay), func(ctx context.Context, n int) error {
		return p.images.Unleave(ctx, p.repo, stay[n])
	})
}

// depend are the manifests that go only after m.
func (m *manifest) depend() []int32 {
	return append(m.names[:len(m.names):len(m.names)], m.refer...)
}
