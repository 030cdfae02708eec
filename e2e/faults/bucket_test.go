package faults

import (
	"math/rand/v2"
	"net/http"
	"testing"

	"github.com/laminastore/lamina/blobstore/bucket/buckettest/servers"
)

// While clients push and pull, the bucket fails in every way that HTTP knows.
func TestTheBucketFails(t *testing.T) {
	t.Parallel()
	sp := servers.Spoiled(t, servers.MinIO(t))
	mostly := func(name string, h servers.Harm, most int) fault {
		return fault{name, func(testing.TB) {
			sp.Choose(func(*http.Request) servers.Harm {
				if rand.IntN(100) < most {
					return h
				}
				return servers.NoHarm
			})
		}, func(t testing.TB) {
			eventually(t, name, func() bool { return sp.Done(h) > 0 })
			sp.Choose(nil)
		}}
	}
	faults := []fault{
		mostly("500s", servers.Fail, 70),
		mostly("503s", servers.Busy, 70),
		mostly("answers that are lost", servers.LoseAnswer, 30),
		mostly("bodies that end too soon", servers.Truncate, 30),
	}
	if soak {
		faults = append(faults, mostly("nothing but 500s", servers.Fail, 100), mostly("nothing but 503s", servers.Busy, 100))
	}
	weather(t, serve(t, sp.URL), faults)
}
