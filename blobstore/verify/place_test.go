package verify

import (
	"encoding/json"
	"testing"

	"github.com/laminastore/lamina/reference"
)

// FuzzPlace: whatever is in the bucket where a run was broken off, one that is gone
// on with has digests in it, and no number that is negative.
func FuzzPlace(f *testing.F) {
	f.Add([]byte(`{"rev":"a","run":"b","options":{"sample":1},"after":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","bytes":7,` +
		`"found":[{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","kind":"damaged","bytes":1,"problem":"x"}]}`))
	f.Add([]byte(`{"run":"b","after":"x"}`))
	f.Add([]byte(`{"run":"b","flips":-1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var p placeRecord
		if json.Unmarshal(b, &p) != nil || !p.sound() {
			return
		}
		if p.After != "" {
			if _, err := reference.ParseDigest(string(p.After)); err != nil {
				t.Fatal(err)
			}
		}
		r := p.report()
		if r.Bytes < 0 || r.Read < 0 || r.Flips < 0 || len(r.Findings) > MaxFindings || r.Bad != int64(len(p.Found)) {
			t.Fatalf("%+v", r)
		}
	})
}

// FuzzRepoKey: a key that is taken apart is what it was put together of.
func FuzzRepoKey(f *testing.F) {
	f.Add("repos/a/b/_tags/v1")
	f.Add("repos/a/_referrers/sha256:00/sha256:11")
	f.Add("repos//_tags/")
	f.Fuzz(func(t *testing.T, key string) {
		k, err := parseRepoKey(key)
		if err == nil && "repos/"+string(k.repo)+"/"+k.class+"/"+k.rest != key {
			t.Fatalf("%q is %+v", key, k)
		}
	})
}
