package verify

import (
	"context"
	"iter"
	"sync"
)

// ordered calls f for everything that list yields, by so many goroutines at once,
// and yields what it returns in the order of the list: up to window results wait
// for a slow one before them. After an error, of list or f, the sequence ends. All
// goroutines have ended when it has.
func ordered[T, R any](ctx context.Context, parallel, window int, list iter.Seq2[T, error], f func(context.Context, T) (R, error)) iter.Seq2[R, error] {
	type result struct {
		r   R
		err error
	}
	type job struct {
		in  T
		out chan result
	}
	return func(yield func(R, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var all sync.WaitGroup
		defer all.Wait()
		defer cancel()
		jobs := make(chan job)
		queue := make(chan chan result, max(window, parallel))
		for range parallel {
			all.Go(func() {
				for j := range jobs {
					r, err := f(ctx, j.in)
					j.out <- result{r, err}
				}
			})
		}
		all.Go(func() {
			defer close(queue)
			defer close(jobs)
			for in, err := range list {
				out := make(chan result, 1)
				if err != nil {
					out <- result{err: err}
				}
				select {
				case queue <- out:
				case <-ctx.Done():
					return
				}
				if err != nil {
					return
				}
				select {
				case jobs <- job{in, out}:
				case <-ctx.Done():
					out <- result{err: ctx.Err()}
					return
				}
			}
		})
		for out := range queue {
			got := <-out
			if !yield(got.r, got.err) || got.err != nil {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			var none R
			yield(none, err)
		}
	}
}
