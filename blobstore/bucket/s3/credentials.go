package s3

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

func findRegion(opts Options) string {
	for _, r := range []string{opts.Region, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")} {
		if r != "" {
			return r
		}
	}
	if opts.Endpoint == "" {
		return "" // the library asks
	}
	return "us-east-1" // what servers that are not Amazon's want to hear
}

func findCredentials(given *credentials.Credentials) (*credentials.Credentials, error) {
	if given != nil {
		return given, nil
	}
	providers := []credentials.Provider{&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}}
	if os.Getenv("AWS_EC2_METADATA_DISABLED") != "true" {
		// Outside of a cloud nothing answers there.
		providers = append(providers, &credentials.IAM{Client: &http.Client{Timeout: 5 * time.Second}})
	}
	creds := credentials.NewChainCredentials(providers)
	v, err := creds.GetWithContext(nil)
	if err != nil {
		return nil, fmt.Errorf("look for credentials: %w", err)
	}
	if v.AccessKeyID == "" {
		return nil, errors.New("no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, " +
			"or have a shared credentials file or a role")
	}
	return creds, nil
}
