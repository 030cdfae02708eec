package servers

import (
	"net/http"
	"net/url"
	"testing"
)

func TestServersAnswer(t *testing.T) {
	for name, start := range map[string]func(testing.TB) string{"MinIO": MinIO, "VersityGW": VersityGW} {
		t.Run(name, func(t *testing.T) {
			first, second := start(t), start(t)
			if first == second {
				t.Errorf("twice the same bucket: %s", first)
			}
			u, err := url.Parse(first)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.Get(u.Query().Get("endpoint") + "/" + u.Host)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusNotFound {
				t.Errorf("without credentials: %s", resp.Status)
			}
		})
	}
}
