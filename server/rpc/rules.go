package rpc

import (
	"errors"
	"fmt"

	"github.com/laminastore/lamina/blobstore"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/reference"
	"github.com/laminastore/lamina/server/access"
)

// A rule says whether a caller may make a call with this request. It looks at
// nothing in the bucket, so that its answer does not depend on what is there.
// What a caller sees of several repositories is left to the call itself.
// Errors: access.ErrAnonymous, ErrScope and ErrDenied; those of names that are
// none.
type rule func(c *access.Caller, request any) error

// rules are those of all calls. A call without one is refused.
var rules = map[string]rule{
	pb.Blobs_Stat_FullMethodName:        in(access.Pull),
	pb.Blobs_FindMissing_FullMethodName: findMissingRule,
	pb.Blobs_Read_FullMethodName:        in(access.Pull),
	pb.Blobs_Write_FullMethodName:       in(access.Push),
	pb.Blobs_Status_FullMethodName:      in(access.Push),
	pb.Blobs_Abort_FullMethodName:       in(access.Push),

	pb.Images_Resolve_FullMethodName:     in(access.Pull),
	pb.Images_GetManifest_FullMethodName: in(access.Pull),
	pb.Images_Get_FullMethodName:         in(access.Pull),
	pb.Images_History_FullMethodName:     in(access.Pull),
	pb.Images_List_FullMethodName:        listRule, // and shows what may be pulled
	pb.Images_Put_FullMethodName:         in(access.Push),
	pb.Images_Tag_FullMethodName:         in(access.Push),
	pb.Images_Delete_FullMethodName:      in(access.Delete),

	pb.Snapshots_Report_FullMethodName:         reportRule,
	pb.Snapshots_ListContainers_FullMethodName: containersRule,
	pb.Snapshots_Register_FullMethodName:       registerRule,
	pb.Snapshots_List_FullMethodName:           snapshotsRule,
	pb.Snapshots_Get_FullMethodName:            public, // and knows only what may be pulled
	pb.Snapshots_Delete_FullMethodName:         public, // likewise, and asks for Delete

	pb.Usage_Get_FullMethodName: operatorRule,

	pb.Maintenance_Collect_FullMethodName:          operatorRule,
	pb.Maintenance_LastCollection_FullMethodName:   operatorRule,
	pb.Maintenance_Verify_FullMethodName:           operatorRule,
	pb.Maintenance_LastVerification_FullMethodName: operatorRule,

	// What balancers ask, and what there is to call: nothing of what is stored.
	"/grpc.health.v1.Health/Check":                                   public,
	"/grpc.health.v1.Health/List":                                    public,
	"/grpc.health.v1.Health/Watch":                                   public,
	"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":      public,
	"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": public,
}

// public calls answer everyone, or look themselves at what the caller may see.
func public(*access.Caller, any) error { return nil }

// operatorRule is for what is about the whole store.
func operatorRule(c *access.Caller, _ any) error { return mayAs(c, access.Operator) }

// in is the rule of a call that does one thing to the repository it names.
func in(a access.Action) rule {
	return func(c *access.Caller, request any) error {
		repo, err := repositoryOf(request)
		if err != nil {
			return err
		}
		return may(c, a, repo)
	}
}

func repositoryOf(request any) (reference.Repository, error) {
	r, ok := request.(interface{ GetRepository() string })
	if !ok { // cannot be: a test calls every method
		return "", fmt.Errorf("%T names no repository", request)
	}
	return reference.ParseRepository(r.GetRepository())
}

// findMissingRule: whoever only asks needs to pull, or to push, since that says
// the same; to take over is to push. From where is looked at by the call.
func findMissingRule(c *access.Caller, request any) error {
	repo, err := repositoryOf(request)
	if err != nil {
		return err
	}
	if len(request.(*pb.BlobsFindMissingRequest).GetMountFrom()) == 0 && c.May(access.Pull, repo) {
		return nil
	}
	return may(c, access.Push, repo)
}

func listRule(c *access.Caller, _ any) error {
	return refused(c, "list repositories", c.CheckList())
}

// snapshotsRule: those of one repository, or all that may be pulled.
func snapshotsRule(c *access.Caller, request any) error {
	if request.(*pb.SnapshotsListRequest).GetRepository() == "" {
		return listRule(c, request)
	}
	return in(access.Pull)(c, request)
}

// reportRule: a node reports for itself. That its id is its own is looked at by
// package fleet, too.
func reportRule(c *access.Caller, request any) error {
	return mayAsNode(c, request.(*pb.SnapshotsReportRequest).GetNode().GetId())
}

// registerRule: a node registers what it has pushed. Its parts are compared with
// the image's, and so it must be able to read that.
func registerRule(c *access.Caller, request any) error {
	s := request.(*pb.SnapshotsRegisterRequest).GetSnapshot()
	if s == nil { // which the call refuses
		return mayAsNode(c, "")
	}
	repo, err := repositoryOf(s)
	if err != nil {
		return err
	}
	for _, a := range []access.Action{access.Push, access.Pull} {
		if err := may(c, a, repo); err != nil {
			return err
		}
	}
	for _, id := range []string{s.GetNodeId(), s.GetContainer().GetNodeId()} {
		if err := mayAsNode(c, id); err != nil {
			return err
		}
	}
	return nil
}

// containersRule: an operator sees all nodes, and a node itself.
func containersRule(c *access.Caller, request any) error {
	id := request.(*pb.SnapshotsListContainersRequest).GetNodeId()
	if c.Is(access.Node) && id != "" && id == c.NodeID() {
		return nil
	}
	return mayAs(c, access.Operator)
}

func may(c *access.Caller, a access.Action, repo reference.Repository) error {
	return refused(c, fmt.Sprintf("%s %s %s", a, map[access.Action]string{access.Pull: "from", access.Push: "to", access.Delete: "in"}[a], repo), c.Check(a, repo))
}

func mayAs(c *access.Caller, r access.Role) error {
	return refused(c, fmt.Sprintf("do what takes the role %s", r), c.CheckRole(r))
}

// mayAsNode: id may be "" where the request says nothing of it, and is checked
// where it must be there.
func mayAsNode(c *access.Caller, id string) error {
	if err := mayAs(c, access.Node); err != nil {
		return err
	}
	if own := c.NodeID(); own != "" && id != "" && id != own {
		return refused(c, fmt.Sprintf("speak for node %s: it is node %s", clip(id, 128), own), access.ErrDenied)
	}
	return nil
}

// refused says what a caller may not do; nil stays nil.
func refused(c *access.Caller, what string, err error) error {
	if err == nil {
		return nil
	}
	e := &blobstore.Error{Class: err, Subject: c.Subject() + " may not " + what}
	if errors.Is(err, access.ErrDenied) {
		e.Remedy = "whoever runs the server gives rights"
	}
	return e
}

// maxLooked is how many entries one page of a list looks at, of which the caller
// may see any number.
const maxLooked = 5000

// sees says whether what is in repo may be shown to c in a list.
func sees(c *access.Caller, repo reference.Repository) bool {
	return c.May(access.Pull, repo) || c.Is(access.Operator)
}
