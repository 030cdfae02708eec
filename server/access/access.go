// Package access says who a caller is and what it may do. The registry and the
// gRPC API ask it the same questions, so that an identity means the same on
// both.
//
// One file configures it (docs/access.md). A caller shows a name and password,
// a token, a client certificate, or nothing ([Control.Identify]); what comes of
// it is a [Caller], who may pull from, push to and delete in the repositories
// that the file's policies give it. Nothing is allowed that the file did not
// allow.
//
// Clients that speak the Docker token protocol get short-lived tokens from
// [Control.ServeToken]. Each server signs them with a key of its own; its public
// half is a record in the bucket, so every server of a bucket honours the tokens
// of the others, and no secret is shared. A token carries who the caller is and
// at most what it asked for: what the policies say is looked up again each time
// it is used, so a right that is taken away is gone with the next Reload.
package access

import (
	"errors"
	"log/slog"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// An Action is what a caller does to a repository.
type Action string

// The actions. None includes another.
const (
	Pull   Action = "pull"
	Push   Action = "push"
	Delete Action = "delete"
)

// A Role is what a caller may do beside repositories.
type Role string

const (
	// Node may report what a host runs, under its own node id.
	Node Role = "node"
	// Operator may see usage, what runs on all nodes, and all repositories.
	Operator Role = "operator"
)

// The classes of error; tell them apart with errors.Is. What an error adds to
// these texts may be sent to the client, except for ErrUnavailable and ErrConfig:
// theirs is for the log. None has a secret in it.
var (
	// ErrCredentials: what the caller showed is wrong, has expired, or is of a
	// kind that is not configured. A user who does not exist and a wrong
	// password give the same text.
	ErrCredentials = errors.New("credentials are not accepted")
	// ErrUnavailable: who the caller is cannot be found out now, because an
	// issuer's keys or the bucket cannot be had, or too many ask at once. The
	// same request may succeed in a few seconds.
	ErrUnavailable = errors.New("credentials cannot be checked now")
	// ErrAnonymous: the caller may not, and has not said who it is: it should
	// log in.
	ErrAnonymous = errors.New("log in to do this")
	// ErrScope: the caller may, but not with this token: it should ask for
	// another, with the scope that the challenge names.
	ErrScope = errors.New("the token is not for this: ask for one with a wider scope")
	// ErrDenied: the caller may not.
	ErrDenied = errors.New("not allowed")
	// ErrConfig: the configuration cannot be used.
	ErrConfig = errors.New("access configuration is not usable")
)

// Everything, as the name of the file, opens everything to everyone.
const Everything = "open"

// Options are what Open needs beside the file.
type Options struct {
	Bucket bucket.Bucket // for the public keys of tokens
	Logger *slog.Logger  // slog.Default()
	// Now is the clock: time.Now.
	Now func() time.Time
	// Every is how often the files are looked at for changes: 5 s. Negative:
	// never, only Reload does.
	Every time.Duration
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Every == 0 {
		o.Every = 5 * time.Second
	}
	return o
}
