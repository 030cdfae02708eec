package verify

import (
	"context"
	"errors"
)

// Run verifies. It returns the report also when it fails, of what was found until
// then, and a later run goes on from there. That something is bad is no error: see
// Report.Bad.
// Errors: ErrInvalid; bucket.ErrUnavailable; those of the file system, for
// Options.Temp; ctx's.
func (v *Verifier) Run(ctx context.Context, o RunOptions) (Report, error) {
	return Report{}, errors.ErrUnsupported
}

// Last returns the report of the last run that ended on any server, or of one
// that was broken off since; ok is false when there was none.
// Errors: bucket.ErrUnavailable.
func (v *Verifier) Last(ctx context.Context) (r Report, ok bool, err error) {
	return Report{}, false, errors.ErrUnsupported
}
