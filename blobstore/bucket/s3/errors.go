package s3

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"

	"github.com/minio/minio-go/v7"

	"github.com/laminastore/lamina/blobstore/bucket"
)

// classes maps S3's codes to classes of error. What is not here has the class
// of its HTTP status.
var classes = map[string]error{
	"NoSuchKey":           bucket.ErrNotExist,
	"PreconditionFailed":  bucket.ErrPrecondition,
	"InvalidRange":        bucket.ErrRange,
	"NoSuchUpload":        bucket.ErrNoUpload,
	"InvalidPart":         bucket.ErrPart,
	"InvalidPartOrder":    bucket.ErrPart,
	"EntityTooSmall":      bucket.ErrPart,
	"QuotaExceeded":       bucket.ErrFull,
	"XMinioStorageFull":   bucket.ErrFull,
	"InsufficientStorage": bucket.ErrFull,

	"XMinioAdminBucketQuotaExceeded": bucket.ErrFull,
}

// remedies say what to do about errors that only a person can mend.
var remedies = map[string]string{
	"NoSuchBucket":          "the bucket is gone",
	"AccessDenied":          "the credentials do not allow this: look at the bucket's and the user's policy",
	"InvalidAccessKeyId":    "AWS_ACCESS_KEY_ID is not known there",
	"SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY is not the one for AWS_ACCESS_KEY_ID, or something on the way changes requests",
	"RequestTimeTooSkewed":  "the clocks of this host and the bucket differ: set them by NTP",
}

// again are the codes beside those in busy after which a call may succeed later,
// whatever the status.
var again = map[string]bool{
	"InternalError": true, "ConditionalRequestConflict": true, "OperationAborted": true,
	"XMinioServerNotInitialized": true,
	// What arrived does not have the checksum that we sent.
	"BadDigest": true, "XAmzContentChecksumMismatch": true,
	// versitygw, when it removes a folder that has become empty while we write
	// the next object into it. (Really so it is only if the caller breaks the
	// rule that no key is a folder of another.)
	"ExistingObjectIsDirectory": true,
}

// busy are the codes by which a bucket asks for fewer requests. The statuses 429
// and 503 mean it too, whatever the code: answers to HEAD have none.
var busy = map[string]bool{
	"SlowDown": true, "SlowDownRead": true, "SlowDownWrite": true, "ServiceUnavailable": true,
	"Throttling": true, "ThrottlingException": true, "ThrottledException": true, "RequestThrottled": true,
	"RequestThrottledException": true, "EC2ThrottledException": true, "RequestLimitExceeded": true,
	"TooManyRequests": true, "TooManyRequestsException": true, "BandwidthLimitExceeded": true,
	"LimitExceededException": true, "XMinioTooManyIncompleteUploads": true,
	// The bucket did not get round to reading what was sent.
	"RequestTimeout": true, "RequestTimeoutException": true,
}

// errInput is the class of what goes wrong with the reader that we were given.
type errInput struct{ error }

func (e errInput) Unwrap() error { return e.error }

// classify returns err with its class, and whether to try again.
func classify(err error) (error, bool) {
	var (
		input errInput
		resp  minio.ErrorResponse
		cert  *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &input):
		return input.error, false
	case errors.As(err, &resp):
		return classifyResponse(resp)
	case errors.Is(err, bucket.ErrTooLate), errors.Is(err, bucket.ErrUnavailable), errors.Is(err, bucket.ErrRange):
		return err, false
	case errors.As(err, &cert):
		return fmt.Errorf("%w: %w", bucket.ErrUnavailable, err), false
	default: // no answer, or none that can be read
		return fmt.Errorf("%w: %w", bucket.ErrUnavailable, err), true
	}
}

func classifyResponse(resp minio.ErrorResponse) (error, bool) {
	said := fmt.Errorf("%s (%s, status %d)", resp.Error(), resp.Code, resp.StatusCode)
	if class, ok := classes[resp.Code]; ok {
		return fmt.Errorf("%w: %w", class, said), false
	}
	if resp.StatusCode == http.StatusInsufficientStorage {
		return fmt.Errorf("%w: %w", bucket.ErrFull, said), false
	}
	if remedy, ok := remedies[resp.Code]; ok {
		return fmt.Errorf("%w: %s: %w", bucket.ErrUnavailable, remedy, said), false
	}
	if busy[resp.Code] || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable && !again[resp.Code] {
		return fmt.Errorf("%w: %w", bucket.ErrBusy, said), true
	}
	retry := again[resp.Code]
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		retry = true
	}
	return fmt.Errorf("%w: %w", bucket.ErrUnavailable, said), retry
}
