package images

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// maxMembers is how many members one object or array has. With MaxDepth it bounds
// the memory that reading a manifest or a config takes.
const maxMembers = 20_000

// checkJSON says what is wrong with b as one JSON value that every parser reads
// alike: encoding, syntax, bounds, of which depth is one, and, if unique is set,
// keys given twice, of which some parsers take the first and some the last.
func checkJSON(b []byte, unique bool, depth int) error {
	if !utf8.Valid(b) {
		return errors.New("it is not UTF-8")
	}
	if bytes.HasPrefix(b, []byte("\ufeff")) {
		return errors.New("it begins with a byte-order mark")
	}
	type level struct {
		keys    map[string]bool // nil in an array
		members int
		wantKey bool
	}
	var stack []level
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	for {
		tok, err := dec.Token()
		switch {
		case err == io.EOF && len(stack) == 0:
			return errors.New("it is empty")
		case err != nil:
			return fmt.Errorf("it is no JSON: %w", err)
		}
		var top *level
		if len(stack) > 0 {
			top = &stack[len(stack)-1]
		}
		if key, ok := tok.(string); ok && top != nil && top.wantKey {
			if unique && top.keys[key] {
				return fmt.Errorf("key %.80q is given twice", key)
			}
			top.keys[key], top.wantKey = true, false
			continue
		}
		end := tok == json.Delim('}') || tok == json.Delim(']')
		if top != nil && !end { // a value begins
			if top.members++; top.members > maxMembers {
				return fmt.Errorf("an object or array in it has more than %d members", maxMembers)
			}
		}
		switch {
		case tok == json.Delim('{'), tok == json.Delim('['):
			if len(stack) == depth {
				return fmt.Errorf("it is nested more than %d deep", depth)
			}
			l := level{}
			if tok == json.Delim('{') {
				l.keys, l.wantKey = map[string]bool{}, true
			}
			stack = append(stack, l)
			continue
		case end:
			stack = stack[:len(stack)-1]
		}
		if len(stack) > 0 { // a value has ended: in an object a key comes next
			top = &stack[len(stack)-1]
			top.wantKey = top.keys != nil
			continue
		}
		if _, err := dec.Token(); err != io.EOF {
			return errors.New("something follows the JSON value")
		}
		return nil
	}
}

// An object is a JSON object. encoding/json matches the keys of a struct
// without regard to case, so that "Layers" would be taken for "layers"; a map's
// keys are exact.
type object map[string]json.RawMessage

// get decodes the value of key into v, and says whether there is one. A null
// counts as none.
func (o object) get(key string, v any) (bool, error) {
	raw, ok := o[key]
	if !ok || string(raw) == "null" {
		return false, nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return false, fmt.Errorf("%s: %w", key, err)
	}
	return true, nil
}
