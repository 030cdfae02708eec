package images

import "github.com/laminastore/lamina/internal/failpoint"

// Steps at which a test kills the process.
var (
	manifestStored   = failpoint.New("manifest-stored")   // its bytes, which nothing names
	manifestLinked   = failpoint.New("manifest-linked")   // a root without a tag
	tagWritten       = failpoint.New("tag-written")       // a push that nobody was told of
	manifestUnlinked = failpoint.New("manifest-unlinked") // a deletion that nobody was told of
)
