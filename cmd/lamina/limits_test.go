package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/laminastore/lamina/server"
)

// The page on limits has each flag with its default, and no other flag.
func TestThePageOnLimits(t *testing.T) {
	raw, err := os.ReadFile("../../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	addLimits(f)
	told := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `--([a-z-]+)` \\| (.+?) \\|").FindAllStringSubmatch(string(raw), -1) {
		told[row[1]] = row[2]
		if f.Lookup(row[1]) == nil {
			t.Errorf("--%s is no flag", row[1])
		}
	}
	n := 0
	f.VisitAll(func(f *pflag.Flag) {
		n++
		if told[f.Name] != f.DefValue {
			t.Errorf("--%s: the page says %q, the default is %q", f.Name, told[f.Name], f.DefValue)
		}
	})
	if n < 15 {
		t.Errorf("only %d flags", n)
	}
}

func TestTheDefaultsCanBeUsed(t *testing.T) {
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	put := addLimits(f)
	var cfg server.Config
	if err := put(&cfg); err != nil || cfg.Limits != server.DefaultLimits() || cfg.Idle != defaultIdle {
		t.Errorf("%v: %+v", err, cfg.Limits)
	}
}

func TestLimitsThatCannotBeUsed(t *testing.T) {
	for args, says := range map[string]string{
		"--max-header=100":                        "--max-header is 100, it must be from 4096 to 1048576",
		"--max-manifest=9000000":                  "--max-manifest is 9000000, it must be from 4096 to 4194304",
		"--max-json-depth=1":                      "--max-json-depth is 1, it must be from 8 to 32",
		"--max-message=4194304":                   "--max-message is 4194304, it must be from 4259840",
		"--max-streams=0":                         "--max-streams is 0, it must be from 1",
		"--max-blob=1000":                         "--max-blob is 1000, it must be from 1048576",
		"--min-rate=-1":                           "--min-rate is -1, it must be from 0",
		"--max-requests=-5":                       "--max-requests is -5, it must be from 0",
		"--max-wrong-passwords=-1":                "--max-wrong-passwords is -1",
		"--header-timeout=1ms":                    "--header-timeout is 1ms, it must be at least 1s",
		"--idle-timeout=0s":                       "--idle-timeout is 0s, it must be at least 1s",
		"--upload-age=48h":                        "--upload-age is 48h0m0s, it must be from 1m to 24h0m0s",
		"--max-manifest=8192 --max-message=80000": "",
	} {
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		put := addLimits(f)
		if err := f.Parse(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		err := put(&server.Config{})
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v", args, err)
		}
	}
}
