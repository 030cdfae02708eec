package s3

import (
	"net/url"
	"testing"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/buckettest"
	"github.com/laminastore/lamina/blobstore/bucket/buckettest/servers"
)

func openTest(t testing.TB, raw, prefix string) bucket.Bucket {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(t.Context(), Options{
		Bucket: u.Host, Prefix: prefix, Endpoint: u.Query().Get("endpoint"), Region: "us-east-1", Create: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestContractOnMinIO(t *testing.T) {
	t.Parallel()
	buckettest.Test(t, func(t *testing.T) bucket.Bucket { return openTest(t, servers.MinIO(t), "") })
}

func TestContractOnVersityGW(t *testing.T) {
	t.Parallel()
	buckettest.Test(t, func(t *testing.T) bucket.Bucket { return openTest(t, servers.VersityGW(t), "some/prefix") })
}

func farOff() time.Time { return time.Now().Add(time.Hour) }
