// Package mutant breaks the store's protocol on purpose, in one known way at a
// time, so that tests can show that their search finds each. It is a seam for
// tests alone: nothing that is configured, sent or stored reaches it, and a test
// sees to it that only tests call Set.
package mutant

// A Mutant is one way in which the code does not do what the design says.
type Mutant string

// The mutants. Each is asked for in one place, beside what it breaks.
const (
	None Mutant = ""

	// Of promises (design 4.2).
	PromiseNotRenewed Mutant = "a promise near its end is answered from as if it were new"
	CondemnedAnswered Mutant = "a condemned blob is answered for and stays condemned"
	CacheForEver      Mutant = "a cached record is trusted without looking at its promise"

	// Of names (4.3).
	NoClockAfterLink  Mutant = "the clock is not looked at after the link was written"
	NoLookAfterTag    Mutant = "a tag is acknowledged without looking at the link again"
	TagNoGeneration   Mutant = "a tag counts for whatever life its manifest's link has"
	LinkFromOldCache  Mutant = "a link that was read long ago is relied on"
	RemoveAnyLife     Mutant = "a deletion that is tried again removes whatever link is there"
	LinkOpensAllLives Mutant = "a repository's link opens a blob that came back by another"

	// Of collection (4.4).
	OneStep         Mutant = "what is not marked is gone at once"
	MarksEnd        Mutant = "steps go by when the record is read, not by when the mark began"
	NoSkewMargin    Mutant = "clocks are taken to agree on when something was condemned"
	PromiseIgnored  Mutant = "a promise does not keep a blob from being condemned"
	NoDrain         Mutant = "data is deleted as soon as its blob is gone"
	BlindSweep      Mutant = "a sweep writes its step over whatever is there"
	BlindTombstone  Mutant = "a tombstone is removed whatever has taken its place"
	TombstonesGo    Mutant = "tombstones are removed where the bucket takes late writes"
	BarsIgnored     Mutant = "a publisher looks neither at bars nor at its age again"
	OrphanNotBarred Mutant = "an orphan is deleted without being barred"
	OwnDataDeleted  Mutant = "an upload deletes its own data when its write seems to have failed"
)

var active Mutant

// Set makes m the one that is active, and returns what takes it back. Only tests
// call it, while nothing else runs.
func Set(m Mutant) (restore func()) {
	before := active
	active = m
	return func() { active = before }
}

// On says whether m is active: one comparison, false in every real process.
func (m Mutant) On() bool { return active == m }
