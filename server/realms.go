package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/realm"
	"github.com/laminastore/lamina/blobstore/record"
)

// ErrRealms is returned by a server whose realms are not those of its bucket.
var ErrRealms = errors.New("all servers of a bucket must have the same realms")

const (
	// realmsKey is the key of the record by which the servers of a bucket agree.
	realmsKey = "realms/current"
	// realmsEvery is how often a server looks whether they still do.
	realmsEvery = time.Minute
	// maxShownRealms is how many bytes of a map a message shows.
	maxShownRealms = 2000
)

// realmsRecord is what realms/current holds: the map in its canonical form.
type realmsRecord struct {
	record.Header
	Realms    []realmEntry `json:"realms"`
	ChangedAt time.Time    `json:"changedAt"`
}

type realmEntry struct {
	Name     realm.Name `json:"name"`
	Prefixes []string   `json:"prefixes"`
}

func (r *realmsRecord) realms() (realm.Map, error) {
	var rs []realm.Realm
	for _, e := range r.Realms {
		rs = append(rs, realm.Realm(e))
	}
	m, err := realm.New(rs...)
	if err != nil {
		return m, fmt.Errorf("%w: %s: %w", record.ErrInvalid, realmsKey, err)
	}
	return m, nil
}

func (r *realmsRecord) set(m realm.Map, at time.Time) {
	r.Realms, r.ChangedAt = []realmEntry{}, at.UTC()
	for _, e := range m.Realms() {
		r.Realms = append(r.Realms, realmEntry(e))
	}
}

// agreeOnRealms has the bucket's record say the realms of cfg: the first server
// writes it, and one that has others is refused, unless it is to change them.
// One call to the bucket when all is well.
// Errors: ErrRealms; record.ErrInvalid; bucket.ErrUnavailable, bucket.ErrFull.
func agreeOnRealms(ctx context.Context, b bucket.Bucket, cfg Config) error {
	ctx, cancel := context.WithTimeout(ctx, openWithin)
	defer cancel()
	now := time.Now
	if cfg.Store.Clock != nil {
		now = cfg.Store.Clock.Now
	}
	log := cfg.Logger.With("realms", shown(cfg.Realms))
	var was string // what is replaced
	_, _, err := record.Update(ctx, record.New(b), realmsKey, time.Time{}, func(r *realmsRecord, exists bool) (bool, error) {
		was = ""
		if exists {
			there, err := r.realms()
			switch {
			case err != nil && !cfg.ChangeRealms:
				return false, err
			case err == nil && there.Equal(cfg.Realms):
				return false, nil
			case !cfg.ChangeRealms:
				return false, disagree(b, cfg.Realms, there)
			}
			if was = shown(there); err != nil {
				was = "what could not be read"
			}
		}
		r.set(cfg.Realms, now())
		return true, nil
	})
	switch {
	case errors.Is(err, record.ErrInvalid):
		return fmt.Errorf("%w; delete that object from bucket %s, and start a server with the realms as they should be", err, b)
	case err != nil:
		return err
	case was != "":
		log.Warn("the realms of the bucket are changed: start all its other servers again with the same realms", "before", was)
	case cfg.ChangeRealms:
		log.Warn("--change-realms changes nothing: take it out of the settings, or this server will undo what another one changes")
	default:
		log.Info("realms are those of the bucket")
	}
	return nil
}

func disagree(b bucket.Bucket, mine, there realm.Map) error {
	return fmt.Errorf("%w: this one has %s, and bucket %s has %s; start it with those of the bucket, "+
		"or, to change them for all, start it once with --change-realms and then all others with the same realms",
		ErrRealms, shown(mine), b, shown(there))
}

// shown is a map as one gives it on the command line, or its beginning.
func shown(m realm.Map) string {
	s := m.String()
	switch {
	case s == "":
		return "no --realm (one realm for all)"
	case len(s) > maxShownRealms:
		s = s[:maxShownRealms] + "…"
	}
	return "--realm " + strings.ReplaceAll(s, " ", " --realm ")
}

// watchRealms looks from time to time whether another server has changed the
// realms of the bucket, until ctx ends.
func watchRealms(ctx context.Context, b bucket.Bucket, cfg Config) {
	ticker := time.NewTicker(realmsEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			lookAtRealms(ctx, b, cfg.Realms, cfg.Logger)
		}
	}
}

// lookAtRealms says in the log that this server's realms are not those of the
// bucket any more. It goes on serving: a change of realms must not stop all
// servers at once. A bucket that does not answer is others' to complain about.
func lookAtRealms(ctx context.Context, b bucket.Bucket, mine realm.Map, log *slog.Logger) {
	r, _, err := record.Read[realmsRecord](ctx, record.New(b), realmsKey)
	if err != nil {
		return
	}
	if there, err := r.realms(); err == nil && !there.Equal(mine) {
		log.Error("another server has changed the realms of the bucket: start this one again with the same realms",
			"realms", shown(mine), "bucket_realms", shown(there))
	}
}
