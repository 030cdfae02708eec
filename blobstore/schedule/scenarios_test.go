package schedule

import (
	"context"
	"time"
)

// Scenarios: what few processes do at once, for an Explorer.

var background = context.Background()

// putAgainstCollection: a manifest is put whose blobs lie there, their promises
// over, while another server deletes the only other manifest that names them,
// and a collector goes through two cycles.
func putAgainstCollection(w *World) func() {
	a, b, c := w.Start("a", 0), w.Start("b", Skew/2), w.Start("c", -Skew/2)
	_ = a.Push(background, "a", first, "x")
	w.wait(Grace + time.Hour)
	return func() {
		a.Go(func(ctx context.Context) { _ = a.Put(ctx, "a", alias, "y") })
		b.Go(func(ctx context.Context) { _ = b.Delete(ctx, "a", first) })
		c.collects(0, 11*time.Minute)
	}
}

// collects runs a cycle after each of the waits.
func (p *Process) collects(after ...time.Duration) {
	p.Go(func(ctx context.Context) {
		for _, d := range after {
			if d > 0 {
				p.Wait(d)
			}
			_ = p.Collect(ctx, false)
		}
	})
}

// putThatStalls: a manifest is put while its blobs' promises end and two cycles
// pass.
func putThatStalls(w *World) func() {
	a, c := w.Start("a", 0), w.Start("c", 0)
	for _, b := range first.blobs {
		_ = a.Upload(background, "a", b)
	}
	return func() {
		a.Go(func(ctx context.Context) { _ = a.Put(ctx, "a", first, "x") })
		c.collects(Grace+time.Hour, 11*time.Minute)
	}
}

// uploadThatStalls: one that takes longer than its promise, and than an orphan
// stays.
func uploadThatStalls(w *World) func() {
	a, c := w.Start("a", 0), w.Start("c", 0)
	return func() {
		a.Go(func(ctx context.Context) { _ = a.Upload(ctx, "a", large1) })
		c.collects(Grace+time.Hour, PublishWithin+2*Drain, Grace+PublishWithin+2*Drain)
	}
}

// tagAgainstDelete: a tag is written for a manifest that another server deletes,
// while leases end.
func tagAgainstDelete(w *World) func() {
	a, b, c := w.Start("a", 0), w.Start("b", 0), w.Start("c", 0)
	_ = a.Push(background, "a", first)
	return func() {
		a.Go(func(ctx context.Context) { _ = a.Tag(ctx, "a", "x", first) })
		b.Go(func(ctx context.Context) { _ = b.Delete(ctx, "a", first) })
		c.Go(func(context.Context) { c.Wait(2 * time.Second) })
	}
}

// pushAgain: a manifest is deleted and pushed again, without its tag.
func pushAgain(w *World) func() {
	a := w.Start("a", 0)
	_ = a.Push(background, "a", first, "x")
	return func() {
		a.Go(func(ctx context.Context) {
			_ = a.Delete(ctx, "a", first)
			_ = a.Put(ctx, "a", first)
		})
	}
}

// deleteAgainstPut: a manifest is deleted and put at once.
func deleteAgainstPut(w *World) func() {
	a, b := w.Start("a", 0), w.Start("b", 0)
	_ = a.Push(background, "a", first)
	return func() {
		a.Go(func(ctx context.Context) { _ = a.Delete(ctx, "a", first) })
		b.Go(func(ctx context.Context) { _ = b.Put(ctx, "a", first) })
	}
}

// twoCollectors, whose clocks differ as much as they may, and time passes.
func twoCollectors(w *World) func() {
	a, c, d := w.Start("a", 0), w.Start("c", -Skew/2), w.Start("d", Skew/2)
	_ = a.Upload(background, "a", small1)
	w.wait(Grace + time.Hour)
	return func() {
		c.collects(0)
		d.collects(0)
		a.Go(func(context.Context) { a.Wait(11 * time.Minute) })
	}
}

// readThatStalls: a blob is read while it is collected.
func readThatStalls(w *World) func() {
	a, c := w.Start("a", 0), w.Start("c", 0)
	_ = a.Upload(background, "a", large1)
	w.wait(time.Hour)
	r := w.Start("r", 0)
	return func() {
		r.Go(func(ctx context.Context) { _ = r.Read(ctx, "a", large1) })
		c.collects(Grace+time.Minute, 11*time.Minute, time.Minute)
	}
}

// statAgainstCollection: a blob is asked for while a collector comes by, twice.
func statAgainstCollection(w *World) func() {
	a, b, c := w.Start("a", 0), w.Start("b", 0), w.Start("c", 0)
	_ = a.Upload(background, "a", small1)
	w.wait(Grace + time.Hour)
	return func() {
		b.Go(func(ctx context.Context) { _ = b.Stat(ctx, "a", small1.digest) })
		c.collects(0, 11*time.Minute)
	}
}

// uploadAgainstTombstone: a blob is uploaded again while its tombstone is removed.
func uploadAgainstTombstone(w *World) func() {
	a, c := w.Start("a", 0), w.Start("c", 0)
	_ = a.Upload(background, "a", small1)
	for _, d := range []time.Duration{Grace + time.Hour, time.Hour, time.Hour} {
		w.wait(d)
		_ = c.Collect(background, false)
	}
	w.wait(2 * (Grace + PublishWithin + Drain))
	return func() {
		a.Go(func(ctx context.Context) { _ = a.Upload(ctx, "b", small1) })
		c.collects(0)
	}
}

// uploadOfOne server, with nobody else there.
func uploadOfOne(w *World) func() {
	a := w.Start("a", 0)
	return func() { a.Go(func(ctx context.Context) { _ = a.Upload(ctx, "a", large1) }) }
}

// uploadByAnother: a blob that one repository had, and that a collector takes
// now, is uploaded to another.
func uploadByAnother(w *World) func() {
	a, c := w.Start("a", 0), w.Start("c", 0)
	_ = a.Upload(background, "a", small1)
	w.wait(Grace + time.Hour)
	_ = c.Collect(background, false)
	w.wait(time.Hour)
	return func() {
		a.Go(func(ctx context.Context) {
			_ = a.Upload(ctx, "b", small1)
			_ = a.Stat(ctx, "a", small1.digest)
		})
		c.collects(0)
	}
}

// twoUploads of one blob at once, by two servers and repositories, over what a
// collector has condemned and takes now.
func twoUploads(w *World) func() {
	a, b, c := w.Start("a", 0), w.Start("b", Skew/2), w.Start("c", -Skew/2)
	_ = a.Upload(background, "a", large1)
	w.wait(Grace + time.Hour)
	_ = c.Collect(background, false)
	w.wait(time.Hour)
	return func() {
		a.Go(func(ctx context.Context) { _ = a.Upload(ctx, "a", large1) })
		b.Go(func(ctx context.Context) { _ = b.Upload(ctx, "b", large1) })
		c.collects(0)
	}
}
