// Package lru is a cache bounded by the weight of what is in it.
package lru

import (
	"container/list"
	"sync"
)

// A Cache keeps the values used last. Safe for concurrent use.
type Cache[K comparable, V any] struct {
	mu     sync.Mutex
	max    int64
	weight int64
	order  *list.List // of *entry, the one used last in front
	byKey  map[K]*list.Element
}

type entry[K comparable, V any] struct {
	key    K
	value  V
	weight int64
}

// New returns a cache whose values weigh at most max together. A value that
// weighs more than max by itself is not kept.
func New[K comparable, V any](max int64) *Cache[K, V] {
	return &Cache[K, V]{max: max, order: list.New(), byKey: make(map[K]*list.Element)}
}

// Get returns the value of key.
func (c *Cache[K, V]) Get(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.byKey[key]
	if !ok {
		var none V
		return none, false
	}
	c.order.MoveToFront(el)
	return el.Value.(*entry[K, V]).value, true
}

// Put stores value under key in place of what is there.
func (c *Cache[K, V]) Put(key K, value V, weight int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(key)
	if weight > c.max {
		return
	}
	c.byKey[key] = c.order.PushFront(&entry[K, V]{key, value, weight})
	c.weight += weight
	for c.weight > c.max {
		c.remove(c.order.Back().Value.(*entry[K, V]).key)
	}
}

// Count is how many of the values f is true of. f must not use the Cache.
func (c *Cache[K, V]) Count(f func(V) bool) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for el := c.order.Front(); el != nil; el = el.Next() {
		if f(el.Value.(*entry[K, V]).value) {
			n++
		}
	}
	return n
}

// Remove forgets key.
func (c *Cache[K, V]) Remove(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(key)
}

func (c *Cache[K, V]) remove(key K) {
	el, ok := c.byKey[key]
	if !ok {
		return
	}
	delete(c.byKey, key)
	c.order.Remove(el)
	c.weight -= el.Value.(*entry[K, V]).weight
}
