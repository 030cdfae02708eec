package main

import (
	"container/heap"
	"slices"
)

// A largest keeps the first few of many in an order, in memory for those alone.
type largest[T any] struct {
	most   int
	before func(a, b T) int // negative: a comes first
	kept   []T              // a heap, the one to leave first on top
	all    int64
}

func newLargest[T any](most int, before func(a, b T) int) *largest[T] {
	return &largest[T]{most: most, before: before}
}

func (l *largest[T]) add(v T) {
	l.all++
	switch {
	case len(l.kept) < l.most:
		heap.Push(l, v)
	case l.before(v, l.kept[0]) < 0:
		l.kept[0] = v
		heap.Fix(l, 0)
	}
}

// sorted returns those that were kept, in order.
func (l *largest[T]) sorted() []T { return slices.SortedFunc(slices.Values(l.kept), l.before) }

// more is how many were not kept.
func (l *largest[T]) more() int64 { return l.all - int64(len(l.kept)) }

// What package heap asks for.

func (l *largest[T]) Len() int           { return len(l.kept) }
func (l *largest[T]) Less(i, j int) bool { return l.before(l.kept[i], l.kept[j]) > 0 }
func (l *largest[T]) Swap(i, j int)      { l.kept[i], l.kept[j] = l.kept[j], l.kept[i] }
func (l *largest[T]) Push(v any)         { l.kept = append(l.kept, v.(T)) }
func (l *largest[T]) Pop() any {
	last := l.kept[len(l.kept)-1]
	l.kept = l.kept[:len(l.kept)-1]
	return last
}
