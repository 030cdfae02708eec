package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/readahead"
	"github.com/laminastore/lamina/blobstore/record"
)

const (
	// MaxReportSize is how large the record of a node may be, in bytes.
	MaxReportSize = 3 << 20
	// maxWithLabels is the size above which labels are left out: they are for
	// people, and the containers themselves are not to be left out, since what
	// runs is kept from collection.
	maxWithLabels = 1 << 20
	// rewriteAfter is how old a report may get that says nothing new.
	rewriteAfter = 10 * time.Minute
)

// nodeRecord is what nodes/<id> holds.
type nodeRecord struct {
	record.Header
	Hostname   string            `json:"hostname,omitempty"`
	Version    string            `json:"version,omitempty"`
	ReportedAt time.Time         `json:"reportedAt"`
	Reporter   string            `json:"reporter,omitempty"` // the subject that the id belongs to
	Containers []containerRecord `json:"containers"`
	// Gone says that it was silent for long, and is a node no more.
	Gone bool `json:"gone,omitempty"`
}

type containerRecord struct {
	Namespace     string            `json:"namespace"`
	ID            string            `json:"id"`
	Image         string            `json:"image,omitempty"`
	ImageDigest   digest.Digest     `json:"imageDigest,omitempty"`
	ChainID       digest.Digest     `json:"chainID,omitempty"`
	State         ContainerState    `json:"state,omitempty"`
	CreatedAt     time.Time         `json:"createdAt,omitzero"`
	WrittenBytes  int64             `json:"writtenBytes,omitempty"`
	WrittenInodes int64             `json:"writtenInodes,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"`
}

func recordOf(c Container) containerRecord {
	return containerRecord{
		Namespace: c.Namespace, ID: c.ID, Image: c.Image, ImageDigest: c.ImageDigest, ChainID: c.ChainID,
		State: c.State, CreatedAt: c.CreatedAt.UTC().Round(0), WrittenBytes: c.WrittenBytes, WrittenInodes: c.WrittenInodes,
		Labels: c.Labels,
	}
}

func (r containerRecord) container(node string) Container {
	return Container{
		Namespace: r.Namespace, ID: r.ID, Image: r.Image, ImageDigest: r.ImageDigest, ChainID: r.ChainID,
		State: r.State, CreatedAt: r.CreatedAt, WrittenBytes: r.WrittenBytes, WrittenInodes: r.WrittenInodes,
		NodeID: node, Labels: r.Labels,
	}
}

func (r containerRecord) equal(o containerRecord) bool {
	return r.Namespace == o.Namespace && r.ID == o.ID && r.Image == o.Image &&
		r.ImageDigest == o.ImageDigest && r.ChainID == o.ChainID && r.State == o.State &&
		r.CreatedAt.Equal(o.CreatedAt) && r.WrittenBytes == o.WrittenBytes && r.WrittenInodes == o.WrittenInodes &&
		maps.Equal(r.Labels, o.Labels)
}

func (r *nodeRecord) node(id string) Node {
	n := Node{ID: id, Hostname: r.Hostname, Version: r.Version, ReportedAt: r.ReportedAt}
	for _, c := range r.Containers {
		n.Containers = append(n.Containers, c.container(id))
	}
	return n
}

func (r *nodeRecord) says(o *nodeRecord) bool {
	return r.Hostname == o.Hostname && r.Version == o.Version && slices.EqualFunc(r.Containers, o.Containers, containerRecord.equal)
}

const nodesPrefix = "nodes/"

// Report replaces what is known of a node; ReportedAt and NodeID are set here.
// When nothing changed since a report less than 10 minutes old, nothing is
// written. Labels that would make the record larger than 1 MiB are left out.
// An id belongs to the first Reporter that used it, until there was no report for
// 30 days; see Reporter for the exceptions.
// Errors: blobstore.ErrNodeInvalid, ErrNodeTaken, ErrTooLarge;
// bucket.ErrUnavailable.
func (f *Fleet) Report(ctx context.Context, n Node) error {
	if err := n.check(); err != nil {
		return err
	}
	next, err := n.record()
	if err != nil {
		return err
	}
	_, _, err = record.Update(ctx, f.records, nodesPrefix+n.ID, time.Time{}, func(r *nodeRecord, exists bool) (bool, error) {
		now := f.clock.Now().UTC()
		age := now.Sub(r.ReportedAt)
		if err := r.mine(n.ID, n.Reporter, age); err != nil {
			return false, err
		}
		same := r.Reporter == n.Reporter.Subject || n.Reporter == (Reporter{})
		if exists && !r.Gone && same && r.says(next) && age >= 0 && age < rewriteAfter {
			return false, nil
		}
		if !same {
			r.Reporter = n.Reporter.Subject
		}
		r.Hostname, r.Version, r.ReportedAt, r.Containers, r.Gone = next.Hostname, next.Version, now, next.Containers, false
		return true, nil
	})
	return err
}

// SilentAfter is how long an id stays its reporter's without a report: as long as
// what the node runs is kept from collection.
const SilentAfter = 30 * 24 * time.Hour

// mine says whether whoever speaks may speak for the node id, whose record is
// age old. Errors: blobstore.ErrNodeTaken.
func (r *nodeRecord) mine(id string, by Reporter, age time.Duration) error {
	if r.Reporter == "" || by == (Reporter{}) || by.Proven || r.Reporter == by.Subject || age >= SilentAfter {
		return nil
	}
	return remedy(fail(blobstore.ErrNodeTaken, id, "another than %s reported under it within 30 days", by.Subject),
		"give this node an id of its own: delete node-id in the snapshotter's folder, and restart it")
}

// record is n as it is stored, within the limits.
func (n *Node) record() (*nodeRecord, error) {
	r := &nodeRecord{Hostname: n.Hostname, Version: n.Version, Containers: []containerRecord{}}
	for _, c := range n.Containers {
		r.Containers = append(r.Containers, recordOf(c))
	}
	slices.SortFunc(r.Containers, func(a, b containerRecord) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.ID, b.ID))
	})
	size := func() (int, error) {
		raw, err := json.Marshal(r)
		return len(raw) + 100, err // and the time and the rev
	}
	b, err := size()
	if err == nil && b > maxWithLabels {
		for i := range r.Containers {
			r.Containers[i].Labels = nil
		}
		b, err = size()
	}
	if err != nil {
		return nil, fmt.Errorf("encode report of node %s: %w", n.ID, err)
	}
	if b > MaxReportSize {
		return nil, remedy(fail(blobstore.ErrTooLarge, n.ID, "a report of %d containers takes %d bytes, at most %d are kept", len(n.Containers), b, MaxReportSize),
			"run fewer containers on one node")
	}
	return r, nil
}

// Nodes yields the nodes whose ids are greater than after, ordered by id, each
// with its containers, ordered by namespace and id: a call to the bucket for
// each. A node that has been silent is among them: see its ReportedAt. After an
// error the sequence ends. Errors: bucket.ErrUnavailable.
func (f *Fleet) Nodes(ctx context.Context, after string) iter.Seq2[Node, error] {
	return func(yield func(Node, error) bool) {
		start := ""
		if after != "" {
			start = nodesPrefix + after
		}
		list := f.bucket.List(ctx, nodesPrefix, start)
		for n, err := range readahead.Map(ctx, list, func(ctx context.Context, info bucket.Info) (Node, error) {
			n, _, err := f.Node(ctx, strings.TrimPrefix(info.Key, nodesPrefix))
			return n, err
		}) {
			if err == nil && n.ID == "" { // removed since it was listed
				continue
			}
			if !yield(n, err) || err != nil {
				return
			}
		}
	}
}

// Node returns one node. The bool is false when there is none of that id.
// Errors: blobstore.ErrNodeInvalid when id is none; bucket.ErrUnavailable.
func (f *Fleet) Node(ctx context.Context, id string) (Node, bool, error) {
	if err := CheckNodeID(id); err != nil {
		return Node{}, false, err
	}
	r, _, err := record.Read[nodeRecord](ctx, f.records, nodesPrefix+id)
	if absent(err) || err == nil && r.Gone {
		return Node{}, false, nil
	}
	if err != nil {
		return Node{}, false, err
	}
	return r.node(id), true, nil
}
