package registry

import (
	"net/http"
	"slices"
	"strings"

	"github.com/laminastore/lamina/reference"
	"github.com/laminastore/lamina/server/access"
	"github.com/laminastore/lamina/server/limit"
)

// An action is what a request does to a repository: what access rules are about.
type action string

const (
	actionNone    action = ""        // it asks for a token
	actionAsk     action = "ask"     // it asks whether this is a registry
	actionPull    action = "pull"    // it reads from the repository
	actionPush    action = "push"    // it adds to it
	actionDelete  action = "delete"  // it takes from it
	actionCatalog action = "catalog" // it lists repositories
)

// A route is one row of the API: what some methods do to a resource.
type route struct {
	name     string // for logs and metrics
	resource resource
	methods  string // separated by spaces
	action   action
	serve    func(*handler, *call) error
}

// inRepository says whether the path names a repository.
func (r *route) inRepository() bool {
	return r.action == actionPull || r.action == actionPush || r.action == actionDelete
}

// routes is the whole API. Whatever is not here does not exist.
var routes = []route{
	{"base", resBase, "GET HEAD", actionAsk, (*handler).base},
	{"token", resToken, "GET HEAD POST", actionNone, (*handler).token},
	{"catalog", resCatalog, "GET HEAD", actionCatalog, (*handler).catalog},
	{"blob-pull", resBlob, "GET HEAD", actionPull, (*handler).pullBlob},
	{"blob-delete", resBlob, "DELETE", actionDelete, (*handler).deleteBlob},
	{"upload-start", resUploads, "POST", actionPush, (*handler).startUpload},
	{"upload-status", resUpload, "GET", actionPush, (*handler).statUpload},
	{"upload-append", resUpload, "PATCH", actionPush, (*handler).appendUpload},
	{"upload-finish", resUpload, "PUT", actionPush, (*handler).finishUpload},
	{"upload-cancel", resUpload, "DELETE", actionPush, (*handler).cancelUpload},
	{"manifest-pull", resManifest, "GET HEAD", actionPull, (*handler).pullManifest},
	{"manifest-push", resManifest, "PUT", actionPush, (*handler).pushManifest},
	{"manifest-delete", resManifest, "DELETE", actionDelete, (*handler).deleteManifest},
	{"tags", resTags, "GET HEAD", actionPull, (*handler).listTags},
	{"referrers", resReferrers, "GET HEAD", actionPull, (*handler).listReferrers},
}

// Routes returns the names of all routes, for those who must know of each:
// access rules, metrics, tests.
func Routes() []string {
	names := make([]string, len(routes))
	for i, r := range routes {
		names[i] = r.name
	}
	return names
}

// unrouted is the route of what is not in the table.
var unrouted = &route{name: "none"}

// A call is a request on its way through a handler.
type call struct {
	*http.Request
	w    *response
	body *body
	// limited is how the request is counted; nil: not.
	limited *limit.Request
	// What the path says. arg is not checked yet: it may be anything.
	route *route
	repo  reference.Repository
	arg   string

	caller *access.Caller // nil until admit
	open   bool           // everything is open to everyone
}

// resolve finds the route of a request. Errors: errPath; errMethod, after which
// the header Allow is set; reference.ErrRepository.
func (c *call) resolve() error {
	c.route = unrouted
	if strings.Contains(strings.ToLower(c.URL.RawPath), "%2f") {
		return failure(errPath, clipQuote(c.URL.EscapedPath()), "a slash is escaped in it", "write / as it is")
	}
	t, ok := parsePath(c.URL.Path)
	if !ok {
		return failure(errPath, clipQuote(c.URL.Path), "", "a registry has /v2/, /v2/_catalog and /v2/NAME/(blobs|manifests|tags|referrers)/…")
	}
	var allowed []string
	for i := range routes {
		r := &routes[i]
		if r.resource != t.resource {
			continue
		}
		methods := strings.Fields(r.methods)
		if !slices.Contains(methods, c.Method) {
			allowed = append(allowed, methods...)
			continue
		}
		c.route, c.arg = r, t.arg
		if !r.inRepository() {
			return nil
		}
		var err error
		c.repo, err = reference.ParseRepository(t.name)
		return err
	}
	c.w.Header().Set("Allow", strings.Join(allowed, ", "))
	return failure(errMethod, clipQuote(c.Method)+" on "+clipQuote(c.URL.Path), "", "use "+strings.Join(allowed, ", "))
}

// tellGRPC tells our own client where the gRPC API is, also one that has yet to
// log in.
func (h *handler) tellGRPC(c *call) {
	if c.route.resource == resBase && h.opts.GRPCPort != 0 {
		c.w.Header().Set("Lamina-Grpc-Port", itoa(int64(h.opts.GRPCPort)))
	}
}

// base says that this is a registry (end-1).
func (h *handler) base(c *call) error {
	return c.writeJSON("application/json", struct{}{})
}
