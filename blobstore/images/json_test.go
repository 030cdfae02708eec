package images_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/laminastore/lamina/blobstore/bucket"
)

func readJSON(t testing.TB, b bucket.Bucket, key string, v any) {
	t.Helper()
	r, _, err := b.Get(t.Context(), key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := json.NewDecoder(r).Decode(v); err != nil {
		t.Fatal(err)
	}
}

func writeJSON(t testing.TB, b bucket.Bucket, key string, v any) {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Put(t.Context(), key, bytes.NewReader(raw), int64(len(raw)), bucket.Condition{}); err != nil {
		t.Fatal(err)
	}
}
