// Package readahead reads what a listing of the bucket names, several objects
// at once, and gives them in the order of the listing.
package readahead

import (
	"context"
	"iter"

	"golang.org/x/sync/errgroup"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// chunk is how many entries are read before the first of them is given, and
// parallel how many of them at once.
const (
	chunk    = 64
	parallel = 32
)

// Map calls f for every entry of list and yields what it returns, in the order
// of the list. f is called by several goroutines at once, and for up to 63
// entries more than are asked for. After an error, of list or f, the sequence
// ends; what comes before an error of list is yielded before it.
func Map[T any](ctx context.Context, list iter.Seq2[bucket.Info, error], f func(context.Context, bucket.Info) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		for infos, err := range Chunks(list, chunk) {
			if err != nil {
				yield(none, err)
				return
			}
			out := make([]T, len(infos))
			g, gctx := errgroup.WithContext(ctx)
			g.SetLimit(parallel)
			for i, info := range infos {
				g.Go(func() (err error) {
					out[i], err = f(gctx, info)
					return err
				})
			}
			if err := g.Wait(); err != nil {
				yield(none, err)
				return
			}
			for _, v := range out {
				if !yield(v, nil) {
					return
				}
			}
		}
	}
}

// Chunks yields a listing n entries at a time. What came before an error is
// yielded before it.
func Chunks(list iter.Seq2[bucket.Info, error], n int) iter.Seq2[[]bucket.Info, error] {
	return func(yield func([]bucket.Info, error) bool) {
		var infos []bucket.Info
		for info, err := range list {
			if err != nil {
				if len(infos) == 0 || yield(infos, nil) {
					yield(nil, err)
				}
				return
			}
			if infos = append(infos, info); len(infos) == n {
				if !yield(infos, nil) {
					return
				}
				infos = nil
			}
		}
		if len(infos) > 0 {
			yield(infos, nil)
		}
	}
}
