package overlay

import "sync"

// pins counts who needs the folders of a snapshot to stay, and remembers which
// of these were removed meanwhile.
type pins struct {
	mu    sync.Mutex
	count map[string]int
	gone  map[string]bool
}

func newPins() *pins { return &pins{count: map[string]int{}, gone: map[string]bool{}} }

func (p *pins) hold(ids []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ids {
		p.count[id]++
	}
}

// release undoes a hold, and returns those that are to be discarded now.
func (p *pins) release(ids []string) (discard []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ids {
		if p.count[id]--; p.count[id] > 0 {
			continue
		}
		delete(p.count, id)
		if p.gone[id] {
			delete(p.gone, id)
			discard = append(discard, id)
		}
	}
	return discard
}

// removed notes that the snapshot is gone, and tells whether it is held.
func (p *pins) removed(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count[id] == 0 {
		return false
	}
	p.gone[id] = true
	return true
}

func (p *pins) held(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count[id] > 0
}
