package client

import (
	"slices"
	"testing"
)

func TestDockerHosts(t *testing.T) {
	const file = `{"auths": {"b.test:5000": {"auth": "x"}, "b.test": {}, "ab.test:1": {}, "https://index.docker.io/v1/": {}, "[::1]:5": {}}, "credHelpers": {"b.test:6": "pass", "b.test": "pass"}}`
	for host, want := range map[string][]string{
		"b.test": {"b.test", "b.test:5000", "b.test:6"}, "ab.test": {"ab.test:1"}, "::1": {"[::1]:5"}, "c.test": nil, "": nil,
	} {
		if got := dockerHosts([]byte(file), host); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", host, got, want)
		}
	}
}

func FuzzDockerHosts(f *testing.F) {
	f.Add([]byte(`{"auths": {"a:1": {}}}`), "a")
	f.Fuzz(func(t *testing.T, raw []byte, host string) { dockerHosts(raw, host) })
}
