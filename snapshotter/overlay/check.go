package overlay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
)

// checkDatabase reads a bbolt file from end to end, so that damage is found at
// start. bbolt itself trusts its pages: it answers a bad one with a panic in the
// middle of a call, or reads on outside of the file, or in a circle for ever,
// and its own Check does too.
//
// The format is that of bbolt's internal/common (page.go, meta.go, inode.go,
// bucket.go), version 2, and as old as bolt.
func checkDatabase(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	c := &dbCheck{data: data, used: map[uint64]string{}}
	if c.meta, err = newestMeta(data); err != nil {
		return err
	}
	if size := c.meta.highWater * c.meta.pageSize; c.meta.highWater > 1<<40 || size > uint64(len(data)) {
		return fmt.Errorf("it is cut short: %d bytes, and %d pages of %d are in use", len(data), c.meta.highWater, c.meta.pageSize)
	}
	if err := c.tree(c.meta.root, &order{}); err != nil {
		return err
	}
	return c.freelist()
}

// A dbMeta says where things are; there are two, written in turn.
type dbMeta struct {
	pageSize, root, freelist, highWater, txid uint64
}

const (
	pageHeader = 16
	noFreelist = ^uint64(0)

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
)

var little = binary.LittleEndian // as on every machine that Lamina is built for

func newestMeta(data []byte) (newest dbMeta, err error) {
	err = errors.New("it is not a bbolt database")
	// The second one is on the second page, whatever the size of pages is.
	for _, at := range []int{0, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15, 1 << 16} {
		m, ok := readMeta(data, at)
		if ok && (err != nil || m.txid > newest.txid) {
			newest, err = m, nil
		}
	}
	return newest, err
}

func readMeta(data []byte, at int) (m dbMeta, ok bool) {
	const size, sum = 64, 56
	if len(data) < at+pageHeader+size {
		return m, false
	}
	b := data[at+pageHeader:][:size]
	h := fnv.New64a()
	h.Write(b[:sum])
	if little.Uint32(b) != 0xED0CDAED || little.Uint32(b[4:]) != 2 || little.Uint64(b[sum:]) != h.Sum64() {
		return m, false
	}
	m = dbMeta{
		pageSize: uint64(little.Uint32(b[8:])),
		root:     little.Uint64(b[16:]), freelist: little.Uint64(b[32:]),
		highWater: little.Uint64(b[40:]), txid: little.Uint64(b[48:]),
	}
	return m, m.pageSize >= 1<<10 && m.pageSize <= 1<<16 && (at == 0 || uint64(at) == m.pageSize)
}

type dbCheck struct {
	data []byte
	meta dbMeta
	used map[uint64]string // page → what for
}

// page returns a page with the ones it overflows into, and that each of them is
// used once.
func (c *dbCheck) page(id uint64, what string) ([]byte, error) {
	if id < 2 || id >= c.meta.highWater {
		return nil, fmt.Errorf("page %d does not exist", id)
	}
	start := id * c.meta.pageSize
	header := c.data[start:][:pageHeader]
	pages := uint64(little.Uint32(header[12:])) + 1
	if little.Uint64(header) != id || pages > c.meta.highWater-id {
		return nil, fmt.Errorf("page %d is not a page", id)
	}
	for p := id; p < id+pages; p++ {
		if c.used[p] != "" {
			return nil, fmt.Errorf("page %d is used twice, for %s and for %s", p, c.used[p], what)
		}
		c.used[p] = what
	}
	return c.data[start : start+pages*c.meta.pageSize], nil
}

// tree checks the pages below one, in the order of their keys.
func (c *dbCheck) tree(id uint64, keys *order) error {
	page, err := c.page(id, "data")
	if err != nil {
		return err
	}
	switch flags := little.Uint16(page[8:]); flags {
	case branchPage:
		return elements(page, id, func(e []byte, at uint64) error {
			key, err := slice(page, at, little.Uint32(e), little.Uint32(e[4:]))
			if err == nil {
				err = keys.branch(key)
			}
			if err != nil {
				return fmt.Errorf("page %d: %w", id, err)
			}
			return c.tree(little.Uint64(e[8:]), keys)
		})
	case leafPage:
		return c.leaf(page, id, keys)
	default:
		return fmt.Errorf("page %d is of no known kind (%#x)", id, flags)
	}
}

func (c *dbCheck) leaf(page []byte, id uint64, keys *order) error {
	return elements(page, id, func(e []byte, at uint64) error {
		flags, pos, keySize, valueSize := little.Uint32(e), little.Uint32(e[4:]), little.Uint32(e[8:]), little.Uint32(e[12:])
		key, err := slice(page, at, pos, keySize)
		if err == nil {
			err = keys.next(key)
		}
		if err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
		value, err := slice(page, at+uint64(keySize), pos, valueSize)
		if err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
		if flags&1 == 0 {
			return nil
		}
		return c.bucket(value, id)
	})
}

// bucket checks a bucket inside of a bucket: a small one is there, with a page
// of its own, and a larger one is elsewhere.
func (c *dbCheck) bucket(value []byte, id uint64) error {
	const header = 16
	if len(value) < header {
		return fmt.Errorf("page %d has a bucket that is cut short", id)
	}
	if root := little.Uint64(value); root != 0 {
		return c.tree(root, &order{})
	}
	inline := value[header:]
	if len(inline) < pageHeader || little.Uint16(inline[8:]) != leafPage {
		return fmt.Errorf("page %d has a bucket that is none", id)
	}
	return c.leaf(inline, id, &order{})
}

// freelist checks that every page is either used or free, and none is both.
func (c *dbCheck) freelist() error {
	if c.meta.freelist == noFreelist {
		return nil
	}
	page, err := c.page(c.meta.freelist, "the list of free pages")
	if err != nil {
		return err
	}
	list, count := page[pageHeader:], uint64(little.Uint16(page[10:]))
	if count == 0xFFFF { // too many for 16 bits: the first entry is the number
		count, list = little.Uint64(list), list[8:]
	}
	if little.Uint16(page[8:]) != freelistPage || count > uint64(len(list))/8 {
		return fmt.Errorf("page %d is not the list of free pages", c.meta.freelist)
	}
	for i := range count {
		id := little.Uint64(list[8*i:])
		if id < 2 || id >= c.meta.highWater || c.used[id] != "" {
			return fmt.Errorf("page %d is free, and is not or does not exist", id)
		}
		c.used[id] = "nothing"
	}
	if missing := c.meta.highWater - 2 - uint64(len(c.used)); missing != 0 {
		return fmt.Errorf("%d pages are neither used nor free", missing)
	}
	return nil
}

// elements calls fn with the table of a page: 16 bytes each, and where they are
// in the page.
func elements(page []byte, id uint64, fn func(e []byte, at uint64) error) error {
	count := uint64(little.Uint16(page[10:]))
	if pageHeader+16*count > uint64(len(page)) {
		return fmt.Errorf("page %d cannot hold %d entries", id, count)
	}
	for at := uint64(pageHeader); at < pageHeader+16*count; at += 16 {
		if err := fn(page[at:][:16], at); err != nil {
			return err
		}
	}
	return nil
}

// slice returns what an element at a place points to: pos counts from there.
func slice(page []byte, at uint64, pos, size uint32) ([]byte, error) {
	start := at + uint64(pos)
	if end := start + uint64(size); end <= uint64(len(page)) {
		return page[start:end], nil
	}
	return nil, errors.New("an entry is outside of its page")
}

// order sees that keys ascend, and are below the branches that lead to them.
type order struct {
	last  []byte
	least []byte
}

func (o *order) branch(key []byte) error {
	if o.last != nil && bytes.Compare(o.last, key) >= 0 {
		return fmt.Errorf("key %q and branch %q are out of order", o.last, key)
	}
	o.least = key
	return nil
}

func (o *order) next(key []byte) error {
	if (o.last != nil && bytes.Compare(o.last, key) >= 0) || bytes.Compare(o.least, key) > 0 {
		return fmt.Errorf("keys %q and %q are out of order", max(string(o.last), string(o.least)), key)
	}
	o.last = key
	return nil
}
