package blobstore

// Levels are what a Store holds at a moment, for whoever watches it.
type Levels struct {
	// Uploads are the unfinished uploads that this Store knows of: those that
	// wait for more, too. Another server may have gone on with one since.
	Uploads int
	// PartBuffers are handed out of MaxPartBuffers, each of PartSize bytes. An
	// upload waits when all are.
	PartBuffers, MaxPartBuffers int
}

// Levels looks at what the Store holds. It does no I/O.
func (s *Store) Levels() Levels {
	open := func(ss *session) bool { return !ss.over.Load() && s.expired(ss) == nil }
	return Levels{
		Uploads:        s.uploads.Count(open),
		PartBuffers:    s.buffers.inUse(),
		MaxPartBuffers: s.options.PartBuffers,
	}
}
