package main

import (
	"github.com/spf13/pflag"

	"github.com/laminastore/lamina/server"
)

// addCollect gives a command the flags of collection by schedule. What it returns
// puts their values into a configuration, and says which are not safe.
func addCollect(f *pflag.FlagSet) func(*server.Config) error {
	every := addPeriod(f, "collect-every", server.DefaultCollectEvery, true, "the `TIME` between collections of what nothing names; off: this server does none by itself")
	full := addPeriod(f, "collect-full-every", server.DefaultCollectFullEvery, false, "the `TIME` between those that also look through all data")
	grace := addPeriod(f, "grace", server.DefaultGrace, false, "the `TIME` for which a blob stays after it was last used; the same on all servers of a bucket")
	drain := addPeriod(f, "drain", server.DefaultDrain, false, "the `TIME` for which the bytes of a collected blob stay for who still reads them; the same on all servers of a bucket")
	var temp, retention string
	f.StringVar(&temp, "collect-temp", "", "the `FOLDER` for lists that are sorted there, 100 bytes a blob (default: $TMPDIR, or /tmp)")
	f.StringVar(&retention, "retention", "", "the `FILE` with the rules by which tags and images are removed; read again when it changes (default: none are)")
	return func(cfg *server.Config) error {
		cfg.Collect = server.Collect{Every: *every, FullEvery: *full, Temp: temp, Retention: retention}
		cfg.Store.Grace, cfg.Store.Drain = *grace, *drain
		if err := server.CheckTimes(cfg.Store, cfg.Collect); err != nil {
			return usageError{err}
		}
		return nil
	}
}
