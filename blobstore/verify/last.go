package verify

import (
	"context"
	"errors"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/record"
)

// reportRecord is what stats/verified holds.
type reportRecord struct {
	record.Header
	Report Report `json:"report"`
}

// keepReport writes the report of a run that has ended, unless that of one that
// ended later is there.
func (r *run) keepReport(ctx context.Context) error {
	_, err := r.v.lastReport(ctx)
	if errors.Is(err, record.ErrInvalid) {
		v, err := r.versionOf(ctx, reportKey)
		if err != nil {
			return err
		}
		_, err = record.Replace(ctx, r.v.store.Records(), reportKey, v, &reportRecord{Report: r.report}, time.Time{})
		return err
	}
	_, _, err = record.Update(ctx, r.v.store.Records(), reportKey, time.Time{}, func(p *reportRecord, exists bool) (bool, error) {
		if exists && p.Report.Ended.After(r.report.Ended) {
			return false, nil
		}
		p.Report = r.report
		return true, nil
	})
	return err
}

func (v *Verifier) lastReport(ctx context.Context) (Report, error) {
	p, _, err := record.Read[reportRecord](ctx, v.store.Records(), reportKey)
	return p.Report, err
}

// Last returns the report of the last run that ended on any server, or of one
// that began later and was broken off, or still goes on, as far as it was saved;
// ok is false when there was none. Errors: record.ErrInvalid,
// bucket.ErrUnavailable.
func (v *Verifier) Last(ctx context.Context) (r Report, ok bool, err error) {
	r, err = v.lastReport(ctx)
	ok = err == nil
	if err != nil && !errors.Is(err, bucket.ErrNotExist) {
		return Report{}, false, err
	}
	p, _, err := record.Read[placeRecord](ctx, v.store.Records(), placeKey)
	if errors.Is(err, bucket.ErrNotExist) || errors.Is(err, record.ErrInvalid) || err == nil && p.Ended {
		return r, ok, nil
	}
	if err != nil {
		return Report{}, false, err
	}
	if ok && !p.Began.After(r.Began) {
		return r, ok, nil
	}
	return p.report(), true, nil
}

// report is what is known of a run that has not ended.
func (p *placeRecord) report() Report {
	r := Report{
		Began: p.Began, Repositories: p.Options.Repositories, Sample: p.Options.Sample, Seed: p.Options.Seed,
		Read: p.Read, Bytes: p.Bytes, Flips: p.Flips,
	}
	for _, f := range p.Found {
		r.note(f.finding())
	}
	return r
}
