// Package layers finds out, once and in the background, whether a blob is the
// layer that an image's config says it is: a tar, compressed or not, whose
// uncompressed bytes have the digest that the config calls its diffID.
//
// What is found is kept in the bucket. A layer record, layers/<realm>/…/<diffID>,
// lists the blobs whose tar was seen to have that digest; it is written under
// the digest that was computed, never under one that somebody claims. What is
// wrong with a blob is written into the blob's own record, as a verdict. A
// server that is restarted in between loses nothing: whoever asks for the state
// of a layer that has not been checked has it checked.
//
// A record counts in its own realm only (package realm). A blob that images of
// two realms have is stored once, and is on record in each of them by itself;
// what a server has seen of its bytes it writes down for the realm that asks,
// and what another realm has on record it does not look at.
//
// A blob that has just been uploaded, is small and looks like a layer is looked
// into at once, while its bytes are in memory: whether it is a layer of
// anything is known only when a manifest comes, and then nothing needs to be
// read back.
package layers

import (
	"log/slog"
	"runtime"

	"github.com/laminastore/lamina/blobstore/realm"
)

// A State says what is known of a layer.
type State int

const (
	// Pending: it has not been checked yet.
	Pending State = iota
	// Plain: a tar whose digest is the diffID.
	Plain
	// Invalid: no tar, a tar with another digest, or one that expands beyond
	// the limits. The problem says which, and the remedy.
	Invalid
	// Opaque: not a filesystem layer (an artifact's blob), or one that is kept
	// elsewhere (a foreign layer). It is never checked.
	Opaque
)

func (s State) String() string {
	switch s {
	case Pending:
		return "pending"
	case Plain:
		return "plain"
	case Invalid:
		return "invalid"
	case Opaque:
		return "opaque"
	}
	return "unknown"
}

// Options are those of a Checker; zero values mean the defaults.
type Options struct {
	// MaxSize is the most bytes a layer may expand to: 256 GiB.
	MaxSize int64
	// MaxRatio is how many times its own size a layer may expand to once its
	// tar is larger than RatioFrom bytes: 1,100 (deflate reaches 1,032) and
	// 1 GiB.
	MaxRatio, RatioFrom int64
	// MaxWindow is the largest zstd window in bytes: 64 MiB, which is also the
	// most that containerd unpacks.
	MaxWindow int64
	// Workers is how many layers are checked at once: half the processors.
	Workers int
	// Queue is how many layers may wait: 4,096. Further ones are left for the
	// next time somebody asks for their state.
	Queue int
	// KeepBytes bounds the bytes of just published blobs that wait in memory
	// to be checked without reading them back: 24 MiB.
	KeepBytes int64
	// Realms tells the realm of each repository; the zero Map has one for all.
	// It must be the same on all servers of a bucket.
	Realms realm.Map
	Logger *slog.Logger // slog.Default()
}

func (o Options) withDefaults() Options {
	def := func(n *int64, v int64) {
		if *n == 0 {
			*n = v
		}
	}
	def(&o.MaxSize, 256<<30)
	def(&o.MaxRatio, 1100)
	def(&o.RatioFrom, 1<<30)
	def(&o.MaxWindow, 64<<20)
	def(&o.KeepBytes, 24<<20)
	if o.Workers == 0 {
		o.Workers = max(1, runtime.GOMAXPROCS(0)/2)
	}
	if o.Queue == 0 {
		o.Queue = 4096
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}
