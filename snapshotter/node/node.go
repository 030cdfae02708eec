// Package node is what Lamina knows of the containers of one host: which there
// are, on which image, and how much each has written. It asks containerd, over
// all namespaces, and speaks of the containers whose snapshotter is Lamina's.
//
// An Agent answers for them on the snapshotter's socket (lamina.v1.Containers),
// and reports them to a server whenever something changes. Nothing waits for a
// report: when the server is away, the state of the moment is sent once it is
// back.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"google.golang.org/grpc"

	"github.com/laminastore/lamina/client"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
	"github.com/laminastore/lamina/snapshotter/overlay"
)

// Config of an Agent.
type Config struct {
	// Containerd is the path of containerd's socket.
	Containerd string
	// Snapshotter is how containerd's configuration calls Lamina's: "lamina".
	Snapshotter string
	// Snapshots are the snapshots that the containers have.
	Snapshots *overlay.Snapshotter
	// Root is the folder of what the agent keeps, on the disk of the snapshots.
	Root string
	// Server is the gRPC address of the server that diffs are pushed to when a
	// reference names no other.
	Server string
	// Login is how this node says to its server who it is.
	Login *client.Login
	// PlainHTTP are registries, HOST[:PORT], to which plain HTTP is spoken when a
	// reference names them; to loopback it always is.
	PlainHTTP []string
	// Version of this program, as the server shows it.
	Version string
	// Log is told what goes wrong. Nil means slog.Default().
	Log *slog.Logger
}

// An Agent is safe for concurrent use.
type Agent struct {
	cfg        Config
	log        *slog.Logger
	id         string
	hostname   string
	containerd *containerd.Client

	mu      sync.Mutex
	images  map[imageKey]string // what each container's image named when it was first seen
	commits map[string]bool     // containers that are being committed
	// imagesChanged says that images is to be written down.
	imagesChanged bool
	// freezing has the notes of containers that stand still for a commit; left is
	// told of those that then did not go on.
	freezing map[string]bool
	left     chan struct{}
}

// New makes an agent. It connects to containerd when it first needs it, which
// may be long after containerd's own start, or before. The caller closes it.
func New(cfg Config) (*Agent, error) {
	if cfg.Snapshotter == "" {
		cfg.Snapshotter = "lamina"
	}
	log := cfg.Log
	if log == nil {
		log = slog.Default()
	}
	id, err := nodeID(cfg.Root)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("name of this host: %w", err)
	}
	// A relative path would be taken for the host part of unix://….
	if cfg.Containerd, err = filepath.Abs(cfg.Containerd); err != nil {
		return nil, err
	}
	c, err := containerd.New(cfg.Containerd, containerd.WithTimeout(dialTimeout))
	if err != nil {
		return nil, fmt.Errorf("containerd at %s: %w", cfg.Containerd, err)
	}
	a := &Agent{
		cfg: cfg, log: log, id: id, hostname: host, containerd: c,
		images: map[imageKey]string{}, commits: map[string]bool{},
		freezing: map[string]bool{}, left: make(chan struct{}, 1),
	}
	a.loadImages()
	return a, nil
}

// dialTimeout bounds how long a call waits for a containerd that is not there.
const dialTimeout = 5 * time.Second

// ID is the node's id.
func (a *Agent) ID() string { return a.id }

// Close ends the connection to containerd.
func (a *Agent) Close() error { return a.containerd.Close() }

// Node describes this node and its containers as they are now.
// Errors: containerd's, when it does not answer.
func (a *Agent) Node(ctx context.Context) (*pb.Node, error) {
	list, err := a.containers(ctx)
	if err != nil {
		return nil, err
	}
	n := &pb.Node{Id: a.id, Hostname: a.hostname, Version: a.cfg.Version}
	for _, c := range list {
		err := a.measure(ctx, c)
		if errdefs.IsNotFound(err) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		n.Containers = append(n.Containers, c.Container)
	}
	return n, nil
}

// errNoContainerd is the class of errors of a containerd that does not answer.
var errNoContainerd = errors.New("containerd does not answer")

// Register serves lamina.v1.Containers on s.
func (a *Agent) Register(s *grpc.Server) { pb.RegisterContainersServer(s, &service{agent: a}) }
