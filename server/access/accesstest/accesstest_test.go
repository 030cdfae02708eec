package accesstest

import (
	"errors"
	"testing"

	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/reference"
	"github.com/laminastore/lamina/server/access"
)

func TestCallersAreWhoTheyAre(t *testing.T) {
	f := New(t, memory.New(memory.Options{}))
	const team, open, other = reference.Repository("team/app"), reference.Repository("open/app"), reference.Repository("other/app")
	may := map[string]string{ // what each may do in team
		"reader": "pull", "writer": "pull push", "owner": "pull push delete", "ci": "pull push", "robot": "pull", "node": "pull", "other node": "pull",
	}
	for _, c := range f.All() {
		got, err := f.Control.Identify(t.Context(), c.Credentials())
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		if got.Subject() != c.Subject || got.Anonymous() != (c.Name == "anonymous") {
			t.Errorf("%s is %s, want %s", c.Name, got.Subject(), c.Subject)
		}
		var in []byte
		for _, a := range []access.Action{access.Pull, access.Push, access.Delete} {
			if got.May(a, team) {
				in = append(append(in, a...), ' ')
			}
			if got.May(a, other) || got.May(a, open) != (a == access.Pull) {
				t.Errorf("%s: %s elsewhere", c.Name, a)
			}
		}
		if want := may[c.Name]; len(in) > 0 && string(in[:len(in)-1]) != want || len(in) == 0 && want != "" {
			t.Errorf("%s may %q in team, want %q", c.Name, in, want)
		}
		if got.Is(access.Operator) != (c.Name == "operator") {
			t.Errorf("%s: operator: %v", c.Name, got.Is(access.Operator))
		}
		node := map[string]string{"node": "node-1", "other node": "node-2"}[c.Name]
		if got.NodeID() != node || got.Is(access.Node) != (node != "" || c.Name == "host") {
			t.Errorf("%s: node %v, %q", c.Name, got.Is(access.Node), got.NodeID())
		}
	}
	for _, c := range f.Refused() {
		if _, err := f.Control.Identify(t.Context(), c.Credentials()); !errors.Is(err, access.ErrCredentials) {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
}
