package layers

import (
	"context"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
)

// A task names what is to be found out: the digest of a blob's tar by one
// algorithm.
type task struct {
	blob      digest.Digest
	algorithm digest.Algorithm
}

// A job is a task that waits or is being done. Everybody who asks for the same
// at once shares it, in whatever realm: what the bytes are is one question, and
// what each realm has on record of it another.
type job struct {
	task
	bytes []byte        // of the blob, if they are in memory
	asked []asked       // what configs say of the blob, not yet settled
	done  chan struct{} // closed at the end, when err is set
	err   error
}

// An asked is a claim that has come, with the media type that the manifest which
// makes it gives the blob; it may be empty. It is for the claim's realm alone.
type asked struct {
	claim
	mediaType string
}

// A queue holds the jobs, first come first served.
type queue struct {
	mu     sync.Mutex
	some   sync.Cond // some are waiting, or closed
	jobs   map[task]*job
	wait   []*job
	max    int
	kept   int64 // bytes of the blobs of jobs
	closed bool
}

func newQueue(max int) *queue {
	q := &queue{jobs: map[task]*job{}, max: max}
	q.some.L = &q.mu
	return q
}

// add returns the job for t, to settle a claim if one is given; nil when the
// queue is closed, or full and the job is not urgent.
func (q *queue) add(t task, a *asked, bytes []byte, urgent bool) *job {
	q.mu.Lock()
	defer q.mu.Unlock()
	j, ok := q.jobs[t]
	if !ok {
		if q.closed || len(q.wait) >= q.max && !urgent {
			return nil
		}
		j = &job{task: t, bytes: bytes, done: make(chan struct{})}
		q.kept += int64(len(bytes))
		q.jobs[t] = j
		if urgent {
			q.wait = append([]*job{j}, q.wait...)
		} else {
			q.wait = append(q.wait, j)
		}
		q.some.Signal()
	}
	if a == nil {
		return j
	}
	i := slices.IndexFunc(j.asked, func(b asked) bool { return b.claim == a.claim })
	switch {
	case i < 0:
		j.asked = append(j.asked, *a)
	case a.mediaType != "":
		j.asked[i].mediaType = a.mediaType
	}
	return j
}

// next waits for a job; nil when the queue is closed.
func (q *queue) next() *job {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.wait) == 0 && !q.closed {
		q.some.Wait()
	}
	if q.closed {
		return nil
	}
	j := q.wait[0]
	q.wait[0] = nil
	q.wait = q.wait[1:]
	return j
}

// levels are how many jobs wait, and how many are being done.
func (q *queue) levels() (waiting, running int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.wait), len(q.jobs) - len(q.wait)
}

// room says whether n more bytes may be kept for jobs, of at most max.
func (q *queue) room(n, max int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.closed && q.kept+n <= max
}

// drop forgets a job's bytes.
func (q *queue) drop(j *job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.kept -= int64(len(j.bytes))
	j.bytes = nil
}

// claims takes the claims that have come for j. When there are none, or with an
// error, the job ends.
func (q *queue) claims(j *job, err error) []asked {
	q.mu.Lock()
	defer q.mu.Unlock()
	claims := j.asked
	j.asked = nil
	if len(claims) == 0 || err != nil {
		q.end(j, err)
		return nil
	}
	return claims
}

func (q *queue) end(j *job, err error) {
	q.kept -= int64(len(j.bytes))
	j.bytes, j.err = nil, err
	delete(q.jobs, j.task)
	close(j.done)
}

// close ends all that waits; nothing more is added.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, j := range q.wait {
		q.end(j, context.Canceled)
	}
	q.wait = nil
	q.some.Broadcast()
}
