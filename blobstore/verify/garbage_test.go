package verify_test

import (
	"context"
	"strings"
	"testing"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/fleet"
	"github.com/laminastore/lamina/blobstore/images"
	"github.com/laminastore/lamina/blobstore/storetest"
	"github.com/laminastore/lamina/blobstore/verify"
)

// Whatever is in one record, a run comes to its end, with repair and without, and
// says so.
func TestNoRecordMakesARunFail(t *testing.T) {
	ctx := context.Background()
	build := func() *world {
		w := inMemory(t)
		i := w.image(repo, "a", "v1")
		d := i.Descriptor()
		w.push(repo, storetest.Build{Tars: [][]byte{storetest.Tar(1, "r")}, Subject: &d}.Image())
		f := fleet.New(w.store, w.images)
		_, err := f.Register(ctx, fleet.Snapshot{
			ID: w.store.NewID(), Repository: repo, Image: images.Descriptor{Digest: i.Digest}, ParentDiffIDs: i.DiffIDs[:1], DiffID: i.DiffIDs[1],
			NodeID: "n1", Container: fleet.Container{Namespace: "default", ID: "c1"},
		})
		w.must(err)
		_, err = w.store.StartUpload(ctx, repo, blobstore.UploadOptions{})
		w.must(err)
		return w
	}
	for _, garbage := range []string{
		`x`, `{"rev":"x"}`, `{"rev":7}`, `{"rev":"x","payload":7,"generation":"g"}`,
		`{"rev":"x","state":"live","size":-1,"copies":["","../x"," ","a b"],"bad":[""]}`,
		`{"rev":"x","state":"live","size":9,"copies":["","../x"," ","01KJMMA2G04D89T5MCANQC394V"],"drop":["."]}`,
		`{"rev":"x","state":"odd","generation":"g","digest":"sha256:00","descriptor":{},"payload":{"mediaType":"text/plain","size":-4}}`,
		`{"rev":"x","generation":"g","digest":"../..","payload":{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":1}}`,
		`{"rev":"x","repository":"../x","image":{"digest":"x"},"diff":{"digest":"y"},"blobs":{"z":{}},"diffID":"w"}`,
	} {
		w := build()
		var keys []string
		for info, err := range w.bucket.List(ctx, "", "") {
			w.must(err)
			if !strings.HasPrefix(info.Key, blobstore.DataPrefix) && !strings.HasPrefix(info.Key, "stats/") {
				keys = append(keys, info.Key)
			}
		}
		for _, key := range keys {
			was := w.get(key)
			if strings.HasPrefix(key, blobstore.BlobPrefix) { // else only its digest would be wrong
				d := "sha256:" + key[len("blobs/sha256/00/"):]
				w.set(key, []byte(strings.Replace(garbage, `"rev":"x"`, `"rev":"x","digest":"`+d+`"`, 1)))
			} else {
				w.set(key, []byte(garbage))
			}
			if r := w.run(verify.RunOptions{}); r.Bad == 0 && strings.HasPrefix(key, "blobs/") {
				t.Errorf("%s is %s, and nothing is found", key, garbage)
			}
			w.set(key, was)
		}
		w.clean()
		for _, key := range keys {
			w.set(key, []byte(garbage))
		}
		w.run(verify.RunOptions{Repair: true})
		w.run(verify.RunOptions{Repair: true, Sample: 0.5})
	}
}
