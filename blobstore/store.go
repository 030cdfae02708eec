// Package blobstore is a content-addressed store over a bucket. It keeps blobs
// (bytes named by their digest), which repositories hold; images and layers are
// packages on top of it.
//
// Any number of Stores, in any number of processes, may work on one bucket with
// no other coordination: everything that matters is in the bucket, in records
// that change by compare-and-swap (package record) and in data objects that are
// written once under a name that is never used again.
//
// # Promises
//
// To say that a blob exists is to promise that it stays readable for a while
// (Blob.Promised), whatever is deleted in that time: a client may push a
// manifest that names it without sending it again. A promise is a time in the
// blob's record. It is renewed when less than three quarters of it are left, so
// that most answers need no write and, from the cache, no call at all. Only
// blobs that nothing names and nobody was promised are ever collected.
//
// # Choke points
//
// Bytes come in through Upload, which hashes them, and go out through Reader,
// which hashes them again and breaks off before the last byte when they differ.
// There is no other way in or out.
package blobstore

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/opencontainers/go-digest"

	"github.com/laminastore/lamina/blobstore/bucket"
	"github.com/laminastore/lamina/blobstore/link"
	"github.com/laminastore/lamina/blobstore/lru"
	"github.com/laminastore/lamina/blobstore/record"
)

// Options of a Store; the zero value means the defaults. Grace, Skew,
// PublishWithin, Drain and LinkLease must be the same on all servers of a bucket.
type Options struct {
	Clock  Clock        // the machine's
	Logger *slog.Logger // slog.Default()

	// Grace is how long a new promise lasts: 72 h. A caller is promised three
	// quarters of it, less Skew.
	Grace time.Duration
	// Skew is how far two clocks may be apart: 5 min.
	Skew time.Duration
	// PublishWithin is the age at which data can no longer be published: 24 h.
	PublishWithin time.Duration
	// LinkLease is how long a link that was read is relied on, and so how long
	// deleting one takes: 1 s.
	LinkLease time.Duration
	// RecordCache is how long a blob's record is relied on: 15 min.
	RecordCache time.Duration
	// Drain is how long the data of a blob that was collected stays for those
	// who still read it: 24 h. It must be longer than RecordCache, the longest
	// read, and twice Skew together.
	Drain time.Duration

	// MaxBlob is how many bytes a blob may have that is uploaded; 0: as many as
	// the bucket's parts make.
	MaxBlob int64

	// PartSize is the size in bytes of the parts in which uploads go to the
	// bucket: 8 MiB, at least the bucket's MinPart, a multiple of 256 KiB.
	PartSize int64
	// PartBuffers bounds the memory that all uploads together use for parts:
	// 8 of PartSize. An upload waits for one when there is none.
	PartBuffers int
	// RecentBytes bounds the memory for the bytes of small uploads that are
	// kept for who needs them at once (the end of the upload, the check of a
	// layer): 16 MiB.
	RecentBytes int64
	// CacheBytes bounds the memory for cached records: 16 MiB.
	CacheBytes int64
}

func (o Options) withDefaults(f bucket.Features) Options {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	if o.Clock == nil {
		o.Clock = SystemClock{}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	def(&o.Grace, 72*time.Hour)
	def(&o.Skew, 5*time.Minute)
	def(&o.PublishWithin, 24*time.Hour)
	def(&o.LinkLease, time.Second)
	def(&o.RecordCache, 15*time.Minute)
	def(&o.Drain, 24*time.Hour)
	if o.PartSize == 0 {
		o.PartSize = 8 << 20
	}
	o.PartSize = (max(o.PartSize, f.MinPart) + chunkSize - 1) / chunkSize * chunkSize
	if o.PartBuffers == 0 {
		o.PartBuffers = 8
	}
	if o.RecentBytes == 0 {
		o.RecentBytes = 16 << 20
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 16 << 20
	}
	return o
}

// A Store is safe for concurrent use. Close it when done.
type Store struct {
	bucket  bucket.Bucket
	options Options
	clock   Clock
	log     *slog.Logger
	records *record.Store
	links   *link.Store

	cache   *lru.Cache[digest.Digest, cachedBlob]
	recent  *lru.Cache[string, []byte] // data name → its bytes
	uploads *lru.Cache[string, *session]
	buffers *bufferPool
	voucher *voucher
	reaper  *reaper

	mu        sync.Mutex
	onPublish []func(Published)
	checks    sync.WaitGroup // reads in the background: of copies that looked damaged, and early ones
	checking  map[digest.Digest]bool
}

// New returns a Store over b. It does no I/O; whether b keeps what it promises
// is for package probe to find out first.
func New(b bucket.Bucket, o Options) *Store {
	o = o.withDefaults(b.Features())
	records := record.New(b)
	s := &Store{
		bucket: b, options: o, clock: o.Clock, log: o.Logger, records: records,
		links:    link.New(b, records, o.Clock, o.LinkLease),
		cache:    lru.New[digest.Digest, cachedBlob](o.CacheBytes),
		recent:   lru.New[string, []byte](o.RecentBytes),
		uploads:  lru.New[string, *session](maxSessions),
		buffers:  newBufferPool(o.PartBuffers, int(o.PartSize)),
		voucher:  newVoucher(),
		checking: make(map[digest.Digest]bool),
	}
	s.reaper = newReaper(b, records, o.Clock, o.Logger)
	return s
}

// Close waits for what the Store does in the background, and deletes the
// records of uploads that have ended. Uploads and reads must have ended.
func (s *Store) Close(ctx context.Context) error {
	s.checks.Wait()
	err := s.reaper.close(ctx)
	s.buffers.close()
	return err
}

// Bucket is the bucket the Store works on.
func (s *Store) Bucket() bucket.Bucket { return s.bucket }

// Records are the bucket's records.
func (s *Store) Records() *record.Store { return s.records }

// Links are the bucket's links.
func (s *Store) Links() *link.Store { return s.links }

// Clock is the Store's clock.
func (s *Store) Clock() Clock { return s.clock }

// Options are the Store's options with the defaults filled in.
func (s *Store) Options() Options { return s.options }

// NewID returns a new ULID, whose time is the clock's.
func (s *Store) NewID() string {
	return ulid.MustNew(ulid.Timestamp(s.clock.Now()), rand.Reader).String()
}

// Published is a blob that has just been stored.
type Published struct {
	Digest digest.Digest
	Size   int64
	// Bytes are the blob's bytes if they are still in memory, else nil. They
	// must not be changed, and are checked already.
	Bytes []byte
}

// OnPublish has f called after each blob that this Store stores, before the
// upload is acknowledged. f must not block.
func (s *Store) OnPublish(f func(Published)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onPublish = append(s.onPublish, f)
}

func (s *Store) published(p Published) {
	s.mu.Lock()
	fs := s.onPublish
	s.mu.Unlock()
	for _, f := range fs {
		f(p)
	}
}
