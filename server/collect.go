package server

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/laminastore/lamina/blobstore"
	"github.com/laminastore/lamina/blobstore/retain"
)

// Collect says what a server collects by itself; zero values mean the defaults.
type Collect struct {
	// Every is the time between cycles of all servers of the bucket: 24 h. One
	// that is negative means that this server does none by itself.
	Every time.Duration
	// FullEvery is the time between full cycles, which also look through all
	// data: 30 days.
	FullEvery time.Duration
	// Temp is the folder for the sorted lists of a cycle and of a verification,
	// some 100 bytes for each blob: os.TempDir().
	Temp string
	// Retention is a file with rules by which tags and manifests are removed
	// (package retain), read again when it has changed; "": none are.
	Retention string

	policy *retain.Policy // what is in it
}

// open reads the rules. Errors: retain.ErrConfig.
func (c *Collect) open(log *slog.Logger) (err error) {
	if c.Retention != "" {
		c.policy, err = retain.Open(c.Retention, log)
	}
	return err
}

// The defaults of Collect and of the times that all servers of a bucket share.
const (
	DefaultCollectEvery     = 24 * time.Hour
	DefaultCollectFullEvery = 30 * 24 * time.Hour
	DefaultGrace            = 72 * time.Hour
	DefaultDrain            = 24 * time.Hour
)

func (c Collect) withDefaults() Collect {
	if c.Every == 0 {
		c.Every = DefaultCollectEvery
	}
	if c.FullEvery == 0 {
		c.FullEvery = DefaultCollectFullEvery
	}
	return c
}

// ErrTimes is the class of times by which nothing can be collected safely.
var ErrTimes = errors.New("time cannot be used")

// Bounds of the times. Who was told that a blob is there must have the time to push
// the manifest that names it, and who has begun to read one must have the time to
// come to its end.
const (
	minGrace = 4 * time.Hour
	minDrain = 2 * time.Hour
	maxTime  = 90 * 24 * time.Hour
	minEvery = time.Minute
)

// CheckTimes says which of the times are not safe, each by the name of its flag. 0
// means the default.
func CheckTimes(s blobstore.Options, c Collect) error {
	return errors.Join(
		between("grace", s.Grace, minGrace, maxTime, "whoever is told that a blob is there must have the time to push an image that names it"),
		between("drain", s.Drain, minDrain, maxTime, "whoever has begun to read a blob must have the time to read it to its end"),
		c.check(),
	)
}

func (c Collect) check() error {
	var every error
	if c.Every > 0 {
		every = between("collect-every", c.Every, minEvery, maxTime, "or off")
	}
	return errors.Join(every, between("collect-full-every", c.FullEvery, minEvery, 10*maxTime, "such a cycle reads all records"))
}

func between(flag string, v, least, most time.Duration, why string) error {
	if v == 0 || v >= least && v <= most {
		return nil
	}
	return fmt.Errorf("%w: --%s is %s, it must be from %s to %s: %s", ErrTimes, flag, v, least, most, why)
}

// check says what cannot be used.
func (c Config) check() error {
	return errors.Join(c.Limits.Check(), c.Collect.check())
}

// warnOfTimes says what to know of times that are not the defaults.
func (c Config) warnOfTimes() {
	if g, d := c.Store.Grace, c.Store.Drain; g != 0 && g != DefaultGrace || d != 0 && d != DefaultDrain {
		c.Logger.Warn("--grace and --drain must be the same on all servers of the bucket: one with a shorter time may collect what another has promised",
			"grace", g, "drain", d)
	}
}
