package blobstore

import (
	"context"
	"errors"
)

// giveUp gives the part buffer back if the appender waits for its client, and
// says whether it did. What is in the buffer is stored as a piece, as at the end of
// a request: for the upload it is as if its client had made two of one. Another
// upload calls it, that waits for a buffer.
func (a *appender) giveUp() bool {
	if !a.mu.TryLock() {
		return false
	}
	defer a.mu.Unlock()
	if !a.reading || a.part == nil {
		return false
	}
	err := a.store(context.Background(), nil)
	a.dropBuffer()
	// Where the session is now, whether storing has failed or not.
	next, nerr := newAppender(a.s, a.ss)
	if a.failed = errors.Join(err, nerr); nerr != nil {
		return true
	}
	a.ahead, a.coming = "", nil
	a.record, a.sent, a.group, a.began, a.beganAt = next.record, nil, next.group, next.began, next.beganAt
	if a.failed != nil {
		a.s.log.Warn("an upload that was slow has lost what was not stored", "upload", a.ss.id, "error", a.failed)
	}
	return true
}
