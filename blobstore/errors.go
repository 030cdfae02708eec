package blobstore

import (
	"errors"
	"fmt"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// The classes of error of the store and of the packages on top of it. Servers
// map each to one OCI code and one gRPC code. Names are checked by package
// reference and the bucket has classes of its own (bucket.ErrFull,
// bucket.ErrUnavailable), which pass through wrapped.
var (
	ErrBlobUnknown       = errors.New("blob unknown")
	ErrDigestMismatch    = errors.New("digest does not match")
	ErrDigestUnsupported = errors.New("digest algorithm not supported here")
	ErrSizeMismatch      = errors.New("size does not match")
	ErrRange             = errors.New("range not satisfiable")
	ErrUploadUnknown     = errors.New("upload unknown")
	ErrUploadOffset      = errors.New("offset does not follow")
	ErrUploadBusy        = errors.New("upload is being written by another request")
	ErrTooLarge          = errors.New("too large")
	ErrCorrupt           = errors.New("stored bytes are damaged")
	ErrConflict          = errors.New("changed by someone else")
	ErrRepositoryUnknown = errors.New("repository unknown")

	ErrManifestUnknown     = errors.New("manifest unknown")
	ErrManifestInvalid     = errors.New("manifest invalid")
	ErrManifestBlobUnknown = errors.New("manifest names a blob that is not there")
	ErrTagConflict         = errors.New("tag names another manifest")
	ErrLayerInvalid        = errors.New("layer invalid")
	ErrSnapshotUnknown     = errors.New("snapshot unknown")
	ErrSnapshotInvalid     = errors.New("snapshot invalid")
	ErrNodeInvalid         = errors.New("node report invalid")
	ErrNodeTaken           = errors.New("node id is another's")
)

// An Error says what failed, on what, and what to do about it. Class is one of
// the sentinels above or of package bucket; errors.Is finds it and Err.
type Error struct {
	Class   error
	Subject string // the digest, upload, tag or repository it is about
	Detail  string // what is wrong with it
	Remedy  string // what to do; empty where nobody knows
	Err     error  // the cause, if any
	// Facts are for programs: "offset", "actual", …
	Facts map[string]string
}

func (e *Error) Error() string {
	s := e.Class.Error()
	if e.Subject != "" {
		s += ": " + e.Subject
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Remedy != "" {
		s += " (" + e.Remedy + ")"
	}
	return s
}

// Unwrap makes both the class and the cause visible to errors.Is and As.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Class}
	}
	return []error{e.Class, e.Err}
}

func fail(class error, subject any, format string, args ...any) *Error {
	return &Error{Class: class, Subject: fmt.Sprint(subject), Detail: fmt.Sprintf(format, args...)}
}

func (e *Error) remedy(s string) *Error { e.Remedy = s; return e }

// gone reports whether err says that an object is not in the bucket.
func gone(err error) bool { return errors.Is(err, bucket.ErrNotExist) }
