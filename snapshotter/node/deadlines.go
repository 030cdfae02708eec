package node

import (
	"time"

	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

// Deadlines are how long the calls of lamina.v1.Containers may take. Reading and
// sending what a container wrote may be many gigabytes; whoever asked for it can
// end it at any time.
var Deadlines = map[string]time.Duration{
	pb.Containers_List_FullMethodName:   2 * time.Minute,
	pb.Containers_Diff_FullMethodName:   time.Hour,
	pb.Containers_Commit_FullMethodName: 24 * time.Hour,
}
