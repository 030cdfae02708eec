package probe

import (
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/buckettest/servers"
	"github.com/laminastore/lamina/blobstore/bucket/open"
)

// What a server has left that was killed while it tried the bucket is removed by
// a later one, and what one that is alive needs is not.
func TestWhatKilledServersHaveLeft(t *testing.T) {
	for name, url := range map[string]string{"file": "file://" + t.TempDir(), "MinIO": servers.MinIO(t)} {
		t.Run(name, func(t *testing.T) {
			b, err := open.Bucket(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			id := func(age time.Duration) string {
				return ulid.MustNew(ulid.Timestamp(time.Now().Add(-age)), ulid.DefaultEntropy()).String()
			}
			old, young := Prefix+id(2*time.Hour)+"/", Prefix+id(time.Minute)+"/"
			for _, key := range []string{old + "create", old + "list/a/b", Prefix + id(3*time.Hour), young + "create"} {
				if _, err := b.Put(t.Context(), key, strings.NewReader("one"), 3, bucket.Condition{}); err != nil {
					t.Fatal(err)
				}
			}
			for _, root := range []string{old, young} {
				if _, err := b.CreateMultipart(t.Context(), root+completed); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := Run(t.Context(), b, time.Now); err != nil {
				t.Fatal(err)
			}
			for info, err := range b.List(t.Context(), "", "") {
				if err != nil || info.Key != young+"create" {
					t.Errorf("left behind: %s, %v", info.Key, err)
				}
			}
			open := map[string]int{}
			for _, root := range []string{old, young} {
				for _, err := range b.ListMultiparts(t.Context(), root+completed) {
					if err != nil {
						t.Fatal(err)
					}
					open[root]++
				}
			}
			if open[old] != 0 || open[young] != 1 {
				t.Errorf("open uploads: %v", open)
			}
		})
	}
}
