package server_test

import (
	"errors"
	"testing"

	"github.com/laminastore/lamina/blobstore/bucket/buckettest/servers"
	"github.com/laminastore/lamina/blobstore/realm"
	"github.com/laminastore/lamina/server"
	"github.com/laminastore/lamina/server/servertest"
)

// The whole way in, on buckets that servers share.
func TestServersAgreeOnRealmsOnEachKindOfBucket(t *testing.T) {
	one, err := realm.Parse("a=team/a")
	if err != nil {
		t.Fatal(err)
	}
	for name, url := range map[string]string{
		"file": "file://" + t.TempDir(), "minio": servers.MinIO(t), "versitygw": servers.VersityGW(t),
	} {
		t.Run(name, func(t *testing.T) {
			config := func(m realm.Map, change bool) server.Config {
				return server.Config{
					Bucket: url, Realms: m, ChangeRealms: change,
					HTTP: "127.0.0.1:0", GRPC: server.Off, Metrics: server.Off,
				}
			}
			start := func(m realm.Map, change bool) {
				t.Helper()
				servertest.Start(t, servertest.Options{Config: config(m, change)})
			}
			refused := func(m realm.Map) {
				t.Helper()
				if err := server.Run(t.Context(), config(m, false)); !errors.Is(err, server.ErrRealms) {
					t.Errorf("a server with %q: %v", m, err)
				}
			}
			start(realm.Map{}, false)
			start(realm.Map{}, false)
			refused(one)
			start(one, true)
			start(one, false)
			refused(realm.Map{})
		})
	}
}
