package main

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/laminastore/lamina/server"
)

func TestTimesOfCollection(t *testing.T) {
	parse := func(args string) (server.Config, error) {
		t.Helper()
		var cfg server.Config
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		put := addCollect(f)
		if err := f.Parse(strings.Fields(args)); err != nil {
			return cfg, err
		}
		return cfg, put(&cfg)
	}
	cfg, err := parse("")
	if err != nil || cfg.Collect.Every != 24*time.Hour || cfg.Collect.FullEvery != 30*24*time.Hour ||
		cfg.Store.Grace != 72*time.Hour || cfg.Store.Drain != 24*time.Hour {
		t.Errorf("%+v %v", cfg.Collect, err)
	}
	cfg, err = parse("--collect-every off --grace 7d --drain 36h --collect-temp /x")
	if err != nil || cfg.Collect.Every >= 0 || cfg.Store.Grace != 7*24*time.Hour || cfg.Store.Drain != 36*time.Hour || cfg.Collect.Temp != "/x" {
		t.Errorf("%+v %v", cfg.Collect, err)
	}
	for args, says := range map[string]string{
		"--grace 1h":               "--grace is 1h0m0s, it must be from 4h0m0s",
		"--grace 91d":              "--grace is 2184h0m0s, it must be from",
		"--drain 10m":              "--drain is 10m0s, it must be from 2h0m0s",
		"--drain off":              `"off" is no time`,
		"--collect-every 5s":       "--collect-every is 5s, it must be from 1m0s to 2160h0m0s: or off",
		"--collect-full-every 30s": "--collect-full-every is 30s",
		"--collect-every often":    `"often" is no time, as in 36h or 30d`,
		"--collect-every 1h --grace 1m --drain 1": `is no time`,
	} {
		if _, err := parse(args); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", args, err)
		}
	}
}
