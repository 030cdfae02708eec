package rpc

import (
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/server/access"
)

// Whoever adds a call says who may make it.
func TestEveryCallHasARule(t *testing.T) {
	store := blobstore.New(memory.New(memory.Options{}), blobstore.Options{})
	t.Cleanup(func() { _ = store.Close(t.Context()) })
	srv := New(Services{Store: store}, Options{})
	known := 0
	for service, info := range srv.grpc.GetServiceInfo() {
		for _, m := range info.Methods {
			name := "/" + service + "/" + m.Name
			if rules[name] == nil {
				t.Errorf("%s has no rule", name)
			}
			known++
		}
	}
	if known != len(rules) {
		t.Errorf("%d rules for %d calls", len(rules), known)
	}
}

// And until somebody does, nobody may.
func TestACallWithoutARuleIsRefused(t *testing.T) {
	g := &guard{access: access.AllowAll()}
	_, err := g.unary(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: "/lamina.v1.New/Call"}, nil)
	if got := status.Code(toStatus(t.Context(), err, "id").Err()); got != codes.PermissionDenied {
		t.Errorf("%v: %v", got, err)
	}
}
