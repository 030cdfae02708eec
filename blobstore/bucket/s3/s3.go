// Package s3 is a bucket on S3, or on a server that speaks its protocol.
//
// Conditions are headers that the bucket enforces: If-None-Match and If-Match
// on PUT and on the completion of a multipart upload. Condition.NotAfter is
// kept by sending the write to a presigned URL that expires then. What is sent
// is not signed by its SHA-256, which would cost more than everything else we
// do, but carries a CRC-32C that the bucket checks.
//
// # Retries
//
// A call that may succeed later is made again, with growing random pauses, or
// after the time that the bucket asks for (Retry-After, of which 2 s are
// granted): no more than [maxTries] times, and only until its context ends. These are calls that got no answer
// (connection refused, reset or timed out) and the answers 408, 409 (a
// conflicting call was under way), 429, 500, 502, 503 and 504. The S3 library's
// own retries are off. A bucket that still asks for fewer requests then (SlowDown,
// 429, 503) is bucket.ErrBusy, and anything else bucket.ErrUnavailable.
//
// When a call got no clear answer, it may have taken effect. What that means
// for the next try: a conditional write may fail with ErrPrecondition and a
// completion with ErrNoUpload because of its own success, as package bucket
// says. A write whose time runs out after
// such a try fails with ErrUnavailable, not with ErrTooLate.
package s3

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// Options say which bucket to open, and how.
type Options struct {
	Bucket string
	// Prefix, when set, is put before every key, with a slash between.
	Prefix string
	// Endpoint is the server's URL; "" means Amazon's.
	Endpoint string
	// Region is where the bucket is; "" means the environment's AWS_REGION or
	// AWS_DEFAULT_REGION, and without these what Amazon says, or us-east-1.
	Region string
	// Create makes the bucket when it is not there.
	Create bool
	// Credentials, when nil, come from the environment (AWS_ACCESS_KEY_ID,
	// AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN), the shared credentials file,
	// or the machine's or container's role, in this order.
	Credentials *credentials.Credentials
	// Pause is before the second try of a call; those before the later ones
	// grow from it. 0 means 100 ms.
	Pause time.Duration
}

// maxPrefix leaves room for the longest key in the 1,024 bytes that S3 allows.
const maxPrefix = 1024 - bucket.MaxKeyLength - 1

// A Bucket is a bucket on S3, or what is under a prefix of one. It must be made
// by Open.
type Bucket struct {
	core      minio.Core
	http      *http.Client // for presigned URLs
	name      string
	prefix    string // "" or ends in a slash
	url       string // for messages
	versioned bool
	retry     retry
	stall     time.Duration // how long a body that is read may send nothing
}

var (
	_ bucket.Bucket             = (*Bucket)(nil)
	_ bucket.Presigner          = (*Bucket)(nil)
	_ bucket.LateWriter         = (*Bucket)(nil)
	_ bucket.ConditionalDeleter = deletesIf{}
)

// Open connects to a bucket and finds out what it can do. What it returns is a
// bucket.ConditionalDeleter only if the bucket has been seen to refuse to
// delete another version than the one named: most ignore the condition.
func Open(ctx context.Context, opts Options) (bucket.Bucket, error) {
	b, err := connect(opts)
	if err != nil {
		return nil, fmt.Errorf("open bucket s3://%s: %w", opts.Bucket, err)
	}
	if err := b.exists(ctx, opts); err != nil {
		return nil, err
	}
	// Not every server knows of versions, nor every user may ask.
	if v, err := b.core.GetBucketVersioning(ctx, b.name); err == nil {
		b.versioned = v.Enabled()
	}
	honoured, err := b.honoursDeleteConditions(ctx)
	if err != nil {
		return nil, err
	}
	if honoured {
		return deletesIf{b}, nil
	}
	return b, nil
}

// connect makes a Bucket without any call.
func connect(opts Options) (*Bucket, error) {
	endpoint := opts.Endpoint
	if endpoint == "" {
		endpoint = "https://s3.amazonaws.com"
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("endpoint %q is not of the form https://HOST[:PORT]", endpoint)
	}
	prefix := strings.Trim(opts.Prefix, "/")
	if prefix != "" {
		if err := bucket.CheckKey(prefix); err != nil {
			return nil, fmt.Errorf("prefix: %w", err)
		}
		prefix += "/"
	}
	if len(prefix) > maxPrefix {
		return nil, fmt.Errorf("prefix has %d bytes, allowed are %d", len(prefix), maxPrefix)
	}
	creds, err := findCredentials(opts.Credentials)
	if err != nil {
		return nil, err
	}
	transport := newTransport()
	client, err := minio.NewCore(u.Host, &minio.Options{
		Creds:      creds,
		Secure:     u.Scheme == "https",
		Transport:  transport,
		Region:     findRegion(opts),
		MaxRetries: 1, // we do that: a retry of its own would turn our success into a 412
	})
	if err != nil {
		return nil, err
	}
	return &Bucket{
		core:   *client,
		http:   &http.Client{Transport: transport},
		name:   opts.Bucket,
		prefix: prefix,
		url:    describe(opts.Bucket, prefix, opts.Endpoint),
		retry:  defaultRetry.withPause(opts.Pause),
		stall:  bodyStalled,
	}, nil
}

func describe(name, prefix, endpoint string) string {
	u := url.URL{Scheme: "s3", Host: name, Path: "/" + strings.TrimSuffix(prefix, "/")}
	if prefix == "" {
		u.Path = ""
	}
	if endpoint != "" {
		u.RawQuery = url.Values{"endpoint": {endpoint}}.Encode()
	}
	return u.Redacted()
}

// exists returns an error when the bucket is not there, after an attempt to
// make it if that is wanted.
func (b *Bucket) exists(ctx context.Context, opts Options) error {
	return b.do(ctx, "open", "", func(ctx context.Context, _ *reply) error {
		there, err := b.core.BucketExists(ctx, b.name)
		if err != nil || there {
			return err
		}
		if !opts.Create {
			return fmt.Errorf("%w: there is no such bucket: make it, or add create=true to the URL", bucket.ErrUnavailable)
		}
		err = b.core.MakeBucket(ctx, b.name, minio.MakeBucketOptions{Region: findRegion(opts)})
		switch minio.ToErrorResponse(err).Code {
		case minio.BucketAlreadyOwnedByYou, minio.BucketAlreadyExists: // another server was faster
			return nil
		}
		return err
	})
}

// Features implements bucket.Bucket.
func (b *Bucket) Features() bucket.Features {
	return bucket.Features{MinPart: 5 << 20, MaxParts: 10_000, RefusesLateWrites: true, Versioned: b.versioned}
}

// Clock implements bucket.Bucket.
func (b *Bucket) Clock(ctx context.Context) (now time.Time, err error) {
	err = b.do(ctx, "clock", "", func(ctx context.Context, r *reply) error {
		if _, err := b.core.BucketExists(ctx, b.name); err != nil {
			return err
		}
		if now = r.date; now.IsZero() {
			return fmt.Errorf("%w: its answers have no Date", bucket.ErrUnavailable)
		}
		return nil
	})
	return now, err
}

// PresignGet implements bucket.Presigner.
func (b *Bucket) PresignGet(ctx context.Context, key string, expires time.Duration) (string, error) {
	if err := check("presign", key); err != nil {
		return "", err
	}
	u, err := b.core.PresignedGetObject(ctx, b.name, b.prefix+key, expires, nil)
	if err != nil {
		return "", b.fail("presign", key, err)
	}
	return u.String(), nil
}

// String implements bucket.Bucket.
func (b *Bucket) String() string { return b.url }

func check(op, key string) error {
	if err := bucket.CheckKey(key); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}
