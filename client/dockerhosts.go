package client

import (
	"encoding/json"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
)

// maxDockerConfig is how much of Docker's file is read, in bytes.
const maxDockerConfig = 1 << 20

// DockerHosts are the registries on a host, whatever their ports, that docker
// login has been used for: what it keeps for a Lamina registry counts for the gRPC
// API of the same server. What cannot be read has none.
func DockerHosts(hostname string) []string {
	dir := os.Getenv("DOCKER_CONFIG")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil
		}
		dir = filepath.Join(home, ".docker")
	}
	f, err := os.Open(filepath.Join(dir, "config.json"))
	if err != nil {
		return nil
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxDockerConfig))
	if err != nil {
		return nil
	}
	return dockerHosts(raw, hostname)
}

func dockerHosts(raw []byte, hostname string) []string {
	var c struct {
		Auths   map[string]json.RawMessage `json:"auths"`
		Helpers map[string]string          `json:"credHelpers"`
	}
	if json.Unmarshal(raw, &c) != nil {
		return nil
	}
	var hosts []string
	for _, key := range slices.Concat(slices.Collect(maps.Keys(c.Auths)), slices.Collect(maps.Keys(c.Helpers))) {
		if h, _, err := net.SplitHostPort(key); key == hostname || err == nil && h == hostname {
			hosts = append(hosts, key)
		}
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}
