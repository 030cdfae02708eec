package registry_test

import (
	"io"
	"sync"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/server/registry"
)

// A byte now and then keeps no place for ever; what has come is kept.
func TestAClientThatIsTooSlow(t *testing.T) {
	inBubble(t, func(t *testing.T, http2 bool) {
		s := serveInBubble(t, http2, nil, func(_ *blobstore.Options, o *registry.Options) {
			o.IdleTimeout, o.MinRate = 10*time.Second, 100
		})
		loc := s.upload("demo/app")
		r, w := io.Pipe()
		var sending sync.WaitGroup
		defer sending.Wait()
		defer r.Close()
		sending.Go(func() {
			for range 100 { // far more than the time over which the rate counts
				time.Sleep(time.Second)
				if _, err := w.Write([]byte("0123456789")); err != nil {
					return
				}
			}
			w.Close()
		})
		s.do("PATCH", loc, r).fails(408, "BLOB_UPLOAD_INVALID", "client is too slow", "fewer than 100 a second")
		s.do("GET", loc, nil).is(204, "Upload-Offset: 100")
	})
}
