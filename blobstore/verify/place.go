package verify

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/record"
	"github.com/laminastore/lamina/internal/failpoint"
	"github.com/laminastore/lamina/reference"
)

// placeSaved is a step at which a test kills the process.
var placeSaved = failpoint.New("verify-place-saved")

const (
	placeKey  = "stats/verification" // where a run is
	reportKey = "stats/verified"     // the report of the last one that ended

	// maxPlaceAge is how long after its beginning a run is still gone on with:
	// what it has read first is then that old.
	maxPlaceAge = 7 * 24 * time.Hour
)

// placeRecord is what stats/verification holds: how far a run is.
type placeRecord struct {
	record.Header
	// Run is random: another run that has begun since owns the record.
	Run     string        `json:"run"`
	Options optionsRecord `json:"options"`
	Began   time.Time     `json:"began"`
	Saved   time.Time     `json:"saved"`
	// Ended says that the run came to its end: the next one begins anew.
	Ended bool `json:"ended,omitempty"`
	// Blobs up to After have been read; all of them when Read is set.
	After digest.Digest `json:"after,omitempty"`
	All   bool          `json:"all,omitempty"`
	Read  int64         `json:"read,omitempty"`
	Bytes int64         `json:"bytes,omitempty"`
	Flips int64         `json:"flips,omitempty"`
	// Found is what reading has found until then, at most MaxFindings: what was
	// quarantined is not found again.
	Found []foundRecord `json:"found,omitempty"`
}

// optionsRecord are those options by which runs are told apart.
type optionsRecord struct {
	Repositories []string `json:"repositories,omitempty"`
	Sample       float64  `json:"sample"`
	Seed         uint64   `json:"seed,omitempty"`
}

func (o RunOptions) record() optionsRecord {
	list := slices.Clone(o.Repositories)
	slices.Sort(list)
	return optionsRecord{Repositories: slices.Compact(list), Sample: o.Sample, Seed: o.Seed}
}

func (o optionsRecord) equal(p optionsRecord) bool {
	return slices.Equal(o.Repositories, p.Repositories) && o.Sample == p.Sample && o.Seed == p.Seed
}

type foundRecord struct {
	Digest  digest.Digest `json:"digest"`
	Kind    Kind          `json:"kind"`
	Bytes   int64         `json:"bytes"`
	Problem string        `json:"problem"`
}

// sound says whether a place can be gone on from. It comes from the bucket, where
// anything may have happened to it.
func (p *placeRecord) sound() bool {
	if p.Run == "" || p.Read < 0 || p.Bytes < 0 || p.Flips < 0 || len(p.Found) > MaxFindings {
		return false
	}
	if p.After != "" {
		if _, err := reference.ParseDigest(string(p.After)); err != nil {
			return false
		}
	}
	for _, f := range p.Found {
		if _, err := reference.ParseDigest(string(f.Digest)); err != nil || f.Kind != Damaged && f.Kind != Lost || len(f.Problem) > maxProblem {
			return false
		}
	}
	return true
}

// maxProblem bounds the text of a finding in bytes.
const maxProblem = 1000

// resume takes up the place where a run with the same options was broken off, if
// there is one, and makes the record this run's.
func (r *run) resume(ctx context.Context) error {
	now := r.now()
	fresh := placeRecord{Run: r.id, Options: r.o.record(), Began: now, Saved: now}
	p, v, err := record.Read[placeRecord](ctx, r.v.store.Records(), placeKey)
	switch {
	case errors.Is(err, bucket.ErrNotExist):
	case errors.Is(err, record.ErrInvalid):
		r.v.log.Warn("where the last verification was cannot be read: it begins anew", "key", placeKey, "error", err)
		if v, err = r.versionOf(ctx, placeKey); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		age := now.Sub(p.Began)
		if !r.o.Restart && !p.Ended && p.sound() && p.Options.equal(fresh.Options) && age >= 0 && age < maxPlaceAge {
			r.report.Resumed = true
			p.Run = r.id
			fresh = p
		}
	}
	r.place = fresh
	r.place.Header = record.Header{}
	_, err = record.Replace(ctx, r.v.store.Records(), placeKey, v, &r.place, time.Time{})
	if errors.Is(err, bucket.ErrPrecondition) {
		r.v.log.Warn("another verification begins at the same time: this one cannot be gone on with if it is broken off")
		r.lost = true
		err = nil
	}
	return err
}

// versionOf is the version of a record that cannot be read, to write over it.
func (r *run) versionOf(ctx context.Context, key string) (record.Version, error) {
	info, err := r.v.store.Bucket().Stat(ctx, key)
	if errors.Is(err, bucket.ErrNotExist) {
		return record.Version{}, nil
	}
	return record.Version{ETag: info.ETag}, err
}

// saveNow writes the place, unless another run has the record by now. A place that
// cannot be saved costs reading again, and is no reason to end.
func (r *run) saveNow(ctx context.Context) {
	r.unsaved, r.savedAt = 0, r.now()
	if r.lost {
		return
	}
	r.place.Bytes, r.place.Saved = r.bytes.Load(), r.savedAt
	_, _, err := record.Update(ctx, r.v.store.Records(), placeKey, time.Time{}, func(p *placeRecord, exists bool) (bool, error) {
		if !exists || p.Run != r.id {
			r.lost = true
			return false, nil
		}
		h := p.Header
		*p = r.place
		p.Header = h
		return true, nil
	})
	placeSaved.Hit()
	if err != nil {
		r.v.log.Warn("how far the verification is could not be saved", "key", placeKey, "error", err)
	}
}

// save writes the place when it is time to.
func (r *run) save(ctx context.Context) {
	r.unsaved++
	age := r.now().Sub(r.savedAt)
	if r.unsaved >= r.v.options.SaveBlobs || age < 0 || age >= r.v.options.SaveEvery {
		r.saveNow(ctx)
	}
}

func (r *run) now() time.Time { return r.v.store.Clock().Now().UTC() }
