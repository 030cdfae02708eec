package blobstore_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/storetest"
)

// An upload that becomes too old while its bytes come is swept, and what was to
// take them is gone. Its client is told to begin anew, not that the server is at
// fault.
func TestAnUploadThatIsSweptWhileItsBytesCome(t *testing.T) {
	const part = 256 << 10
	data, d := blob(6*part, 79)
	for name, finish := range map[string]bool{"append": false, "finish": true} {
		for where, at := range map[string]int{"in the middle": 3 * part, "at the end": 6*part - 1} {
			t.Run(name+" "+where, func(t *testing.T) {
				c := storetest.NewClock()
				b := storetest.NewBucket(c)
				open := func() *blobstore.Store {
					s := blobstore.New(b, blobstore.Options{Clock: c, Logger: storetest.Quiet(), PartSize: part})
					t.Cleanup(func() { _ = s.Close(t.Context()) })
					return s
				}
				s, other := open(), open()
				u := start(t, s)
				if _, err := u.Append(t.Context(), 0, bytes.NewReader(data[:2*part])); err != nil {
					t.Fatal(err)
				}
				sent := 2 * part
				r := readerFunc(func(p []byte) (int, error) {
					if sent >= at && at > 0 {
						c.Turn(25 * time.Hour)
						if _, err := other.SweepUpload(t.Context(), u.ID(), false); err != nil {
							t.Error(err)
						}
						at = 0
					}
					n := copy(p, data[sent:])
					if sent += n; n == 0 {
						return 0, io.EOF
					}
					return n, nil
				})
				var err error
				if finish {
					_, err = u.Finish(t.Context(), 2*part, r, d)
				} else {
					_, err = u.Append(t.Context(), 2*part, r)
				}
				if !errors.Is(err, blobstore.ErrUploadUnknown) {
					t.Errorf("%v", err)
				}
			})
		}
	}
}
