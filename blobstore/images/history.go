package images

import (
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// alignHistory tells which instruction made which of n layers. Every layer
// appears once, in order; an instruction that changed no file has none. Where
// the history says less than there are layers it is the lower ones that nothing
// is known of: tools that add a layer to an image add its instruction too. What
// is too much in it made no layer.
func alignHistory(history []ocispec.History, n int) []HistoryEntry {
	made := 0
	for _, h := range history {
		if !h.EmptyLayer {
			made++
		}
	}
	entries := make([]HistoryEntry, 0, len(history)+max(n-made, 0))
	layer := 0
	for ; layer < n-made; layer++ {
		entries = append(entries, HistoryEntry{Layer: layer})
	}
	for _, h := range history {
		e := HistoryEntry{CreatedBy: h.CreatedBy, Author: h.Author, Comment: h.Comment, Layer: -1}
		if h.Created != nil {
			e.Created = *h.Created
		}
		if !h.EmptyLayer && layer < n {
			e.Layer = layer
			layer++
		}
		entries = append(entries, e)
	}
	return entries
}
