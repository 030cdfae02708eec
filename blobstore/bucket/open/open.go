// Package open opens a bucket by its URL:
//
//	file:///var/lib/lamina                   a folder on this machine
//	s3://BUCKET[/PREFIX]?endpoint=URL        S3; without an endpoint, Amazon's
//	memory:                                  nothing is kept; for trying out
//
// Parameters of s3 are endpoint, region and create=true, which makes the bucket
// when it is not there; file has network=allow, for a folder on a network
// filesystem whose locks and syncs are as good as a local one's. Credentials
// are never in the URL.
package open

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/bucket/file"
	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/blobstore/bucket/s3"
)

// Bucket opens the bucket with the URL given. Use it for as long as the process
// runs: there is nothing to close.
func Bucket(ctx context.Context, rawURL string) (bucket.Bucket, error) {
	l, err := parse(rawURL)
	if err != nil {
		return nil, err
	}
	switch l := l.(type) {
	case folder:
		return file.Open(l.path, l.opts)
	case s3.Options:
		return s3.Open(ctx, l)
	default:
		return memory.New(memory.Options{}), nil
	}
}

// A location is what a URL means: a folder, s3.Options or inMemory.
type location any

type folder struct {
	path string
	opts file.Options
}

type inMemory struct{}

var errForm = errors.New("want file:///FOLDER, memory: or s3://BUCKET[/PREFIX]?endpoint=URL&region=REGION")

// parse reads a URL. It does no I/O.
func parse(rawURL string) (location, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("bucket URL: %w: %w", hide(err), errForm)
	}
	// What url.Redacted would leave of a password is worth nothing here.
	if u.User != nil {
		return nil, fmt.Errorf("bucket URL %s: it holds credentials: put them into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead", u.Redacted())
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err == nil {
		var l location
		if l, err = parseScheme(u, query); err == nil {
			return l, nil
		}
	}
	// The parameters are left out: an endpoint may hold credentials, too.
	shown := *u
	shown.RawQuery = ""
	return nil, fmt.Errorf("bucket URL %s: %w", &shown, err)
}

// hide leaves out the URL, which a url.Error repeats, credentials and all.
func hide(err error) error {
	var withURL *url.Error
	if errors.As(err, &withURL) {
		return withURL.Err
	}
	return err
}

func parseScheme(u *url.URL, query url.Values) (location, error) {
	if u.Fragment != "" {
		return nil, fmt.Errorf("unexpected #%s: %w", u.Fragment, errForm)
	}
	switch u.Scheme {
	case "file":
		return parseFile(u, query)
	case "s3":
		return parseS3(u, query)
	case "memory":
		if u.Host+u.Path+u.Opaque != "" {
			return nil, errors.New("memory: has no name")
		}
		return inMemory{}, only(query)
	case "":
		return nil, fmt.Errorf("it has no scheme; for a folder write file://%s: %w", path.Join("/", u.Path), errForm)
	}
	return nil, fmt.Errorf("scheme %q is not known: %w", u.Scheme, errForm)
}

func parseFile(u *url.URL, query url.Values) (location, error) {
	if u.Host != "" || !strings.HasPrefix(u.Path, "/") {
		return nil, errors.New("a folder is named by an absolute path after three slashes, as in file:///var/lib/lamina")
	}
	if strings.IndexByte(u.Path, 0) >= 0 {
		return nil, errors.New("a path has no NUL")
	}
	f := folder{path: path.Clean(u.Path)}
	switch v := query.Get("network"); v {
	case "":
	case "allow":
		f.opts.AllowNetwork = true
	default:
		return nil, fmt.Errorf("network=%s: want network=allow, or nothing", v)
	}
	return f, only(query, "network")
}

func parseS3(u *url.URL, query url.Values) (location, error) {
	opts := s3.Options{
		Bucket:   u.Host,
		Prefix:   strings.Trim(u.Path, "/"),
		Endpoint: query.Get("endpoint"),
		Region:   query.Get("region"),
	}
	if opts.Bucket == "" || u.Port() != "" {
		return nil, errors.New("s3: the name of the bucket follows two slashes, and the server is endpoint=URL, as in s3://images?endpoint=https://s3.example.com")
	}
	if opts.Prefix != "" {
		if err := bucket.CheckKey(opts.Prefix); err != nil {
			return nil, fmt.Errorf("prefix: %w", err)
		}
	}
	if e, err := url.Parse(opts.Endpoint); opts.Endpoint != "" && (err != nil || e.Host == "" || e.User != nil || e.Scheme != "http" && e.Scheme != "https") {
		return nil, fmt.Errorf("endpoint=%s: want http://HOST[:PORT] or https://HOST[:PORT]", redact(opts.Endpoint))
	}
	switch v := query.Get("create"); v {
	case "", "false":
	case "true":
		opts.Create = true
	default:
		return nil, fmt.Errorf("create=%s: want true or false", v)
	}
	return opts, only(query, "endpoint", "region", "create")
}

func redact(raw string) string {
	if u, err := url.Parse(raw); err == nil {
		return u.Redacted()
	}
	return "(not a URL)"
}

// only returns an error when the query has a parameter that is not allowed, or
// one twice.
func only(query url.Values, allowed ...string) error {
	known := map[string]bool{}
	for _, name := range allowed {
		known[name] = true
	}
	for name, values := range query {
		if !known[name] {
			return fmt.Errorf("parameter %q is not known here; there is: %s", name, strings.Join(append(allowed, "nothing else"), ", "))
		}
		if len(values) > 1 {
			return fmt.Errorf("parameter %q is given twice", name)
		}
	}
	return nil
}
