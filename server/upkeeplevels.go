package server

import (
	"time"

	"github.com/laminastore/lamina/blobstore/collect"
	"github.com/laminastore/lamina/blobstore/verify"
	"github.com/laminastore/lamina/server/telemetry"
)

// levels are the metrics of collection and verification. A scrape asks nothing of
// the bucket: they are what was looked at last.
func (u *upkeep) levels() []telemetry.Level {
	collection := func(name, help string, of func(*collect.Report) float64) telemetry.Level {
		return telemetry.Level{Name: "lamina_collection_" + name, Help: help, Now: func() float64 {
			if r := u.collection.Load(); r != nil {
				return of(r)
			}
			return of(&collect.Report{})
		}}
	}
	verification := func(name, help string, of func(*verify.Report) float64) telemetry.Level {
		return telemetry.Level{Name: "lamina_verification_" + name, Help: help, Now: func() float64 {
			if r := u.verification.Load(); r != nil {
				return of(r)
			}
			return of(&verify.Report{})
		}}
	}
	return []telemetry.Level{
		{Name: "lamina_collection_every_seconds", Help: "Time between cycles of collection by schedule; 0: this server does none.",
			Now: func() float64 { return max(u.every, 0).Seconds() }},
		{Name: "lamina_collection_running", Help: "Cycles of collection that run on this server.",
			Now: func() float64 { return float64(u.running.Load()) }},
		{Name: "lamina_collection_freed_bytes", Help: "Bytes that this server has freed since it started.",
			Now: func() float64 { return float64(u.freed.Load()) }},
		collection("success_timestamp_seconds", "When a cycle last came to its end, on any server; when this server started, if none has.",
			func(r *collect.Report) float64 { return unix(r.Succeeded, u.started) }),
		collection("last_timestamp_seconds", "When the last cycle ended, on any server, also one that failed; 0: there was none.",
			func(r *collect.Report) float64 { return unix(r.Ended, time.Time{}) }),
		collection("last_failed", "1 when the last cycle did not come to its end.",
			func(r *collect.Report) float64 { return one(r.Error != "") }),
		collection("last_duration_seconds", "How long the last cycle took.",
			func(r *collect.Report) float64 { return r.Ended.Sub(r.Began).Seconds() }),
		collection("last_freed_bytes", "Bytes that the last cycle freed.",
			func(r *collect.Report) float64 { return float64(r.FreedBytes) }),
		collection("waiting_bytes", "Bytes that later cycles will free, as the last one counted.",
			func(r *collect.Report) float64 { return float64(r.WaitingBytes) }),
		collection("last_condemned_blobs", "Blobs that the last cycle condemned.",
			func(r *collect.Report) float64 { return float64(r.Condemned) }),
		collection("last_problems", "Things that the last cycle found not to be as they should.",
			func(r *collect.Report) float64 { return float64(r.ProblemsTotal) }),
		verification("last_timestamp_seconds", "When the last verification ended, on any server; 0: there was none, or it was broken off.",
			func(r *verify.Report) float64 { return unix(r.Ended, time.Time{}) }),
		verification("last_bad", "Bad things that the last verification has left.",
			func(r *verify.Report) float64 { return float64(r.Bad) }),
	}
}

// unix is t in seconds, or the other when t is not known.
func unix(t, other time.Time) float64 {
	if t.IsZero() {
		t = other
	}
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
