package lru

import "testing"

func TestTheValueUsedLongestAgoGoes(t *testing.T) {
	c := New[string, int](10)
	c.Put("a", 1, 4)
	c.Put("b", 2, 4)
	if _, ok := c.Get("a"); !ok {
		t.Fatal("a is gone")
	}
	c.Put("c", 3, 4)
	if _, ok := c.Get("b"); ok {
		t.Error("b stayed")
	}
	for k, want := range map[string]int{"a": 1, "c": 3} {
		if v, ok := c.Get(k); !ok || v != want {
			t.Errorf("%s: %d, %v", k, v, ok)
		}
	}
}

func TestWeightIsBounded(t *testing.T) {
	c := New[int, int](10)
	c.Put(1, 1, 11)
	if _, ok := c.Get(1); ok {
		t.Error("too heavy, and kept")
	}
	for i := range 100 {
		c.Put(i%7, i, int64(i%5))
	}
	c.Put(3, 0, 2)
	c.Put(3, 0, 9)
	var sum int64
	for el := c.order.Front(); el != nil; el = el.Next() {
		sum += el.Value.(*entry[int, int]).weight
	}
	if sum != c.weight || sum > 10 || c.order.Len() != len(c.byKey) {
		t.Errorf("weight %d, counted %d", sum, c.weight)
	}
	c.Remove(3)
	c.Remove(3)
	if _, ok := c.Get(3); ok {
		t.Error("removed, and there")
	}
}
