package collect

import (
	"context"
	"errors"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/record"
)

// statsKey is that of the record with the report of the last cycle.
const statsKey = "stats/collection"

// statsRecord is what stats/collection holds.
type statsRecord struct {
	record.Header
	Last Report `json:"last"`
	// Done is the last that came to its end; nil if that is Last. It tells how
	// much there is to do.
	Done *Report `json:"done,omitempty"`
	// Full is when the last full cycle began that came to its end.
	Full time.Time `json:"full,omitzero"`
}

// done is the last cycle that came to its end.
func (r *statsRecord) done() Report {
	if r.Done != nil {
		return *r.Done
	}
	return r.Last
}

// stats reads the record; it is zero when there was no cycle.
func (c *Collector) stats(ctx context.Context) (statsRecord, error) {
	r, _, err := record.Read[statsRecord](ctx, c.store.Records(), statsKey)
	if errors.Is(err, bucket.ErrNotExist) {
		return statsRecord{}, nil
	}
	return r, err
}

// keep writes a report, unless one of a later cycle is there.
func (c *Collector) keep(ctx context.Context, report Report) error {
	_, _, err := record.Update(ctx, c.store.Records(), statsKey, time.Time{}, func(r *statsRecord, _ bool) (bool, error) {
		if r.Last.Began.After(report.Began) {
			return false, nil
		}
		switch {
		case report.Error == "":
			r.Done = nil
			if report.Full {
				r.Full = report.Began
			}
		case r.Last.Error == "" && !r.Last.Began.IsZero():
			done := r.Last
			done.Problems = nil
			r.Done = &done
		}
		r.Last = report
		return true, nil
	})
	return err
}

// Last returns the report of the last cycle of any server that was no dry run,
// one that failed included: see Report.Error. The bool is false when there was
// none. Errors: bucket.ErrUnavailable.
func (c *Collector) Last(ctx context.Context) (Report, bool, error) {
	r, err := c.stats(ctx)
	return r.Last, err == nil && !r.Last.Began.IsZero(), err
}
