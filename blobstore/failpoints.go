package blobstore

import "github.com/laminastore/lamina/internal/failpoint"

// Steps at which a test kills the process. What lies between two of them is
// one write to the bucket, and each of them leaves behind what a sweep or the
// next attempt has to cope with.
var (
	uploadCreated    = failpoint.New("upload-created")         // its record, and nothing else
	uploadPieceSent  = failpoint.New("upload-piece-sent")      // data that the record does not count yet
	uploadPartSent   = failpoint.New("upload-part-sent")       // a part that the record does not count yet
	uploadSaved      = failpoint.New("upload-saved")           // a record that the client has not heard of
	uploadBeforeJoin = failpoint.New("upload-before-complete") // parts, and the digest they will have
	uploadJoined     = failpoint.New("upload-completed")       // data that no blob's record names
	uploadAborted    = failpoint.New("upload-aborted")         // parts of an upload that was given up
	blobRecorded     = failpoint.New("blob-recorded")          // a blob that no repository holds
	blobLinked       = failpoint.New("blob-linked")            // a blob that nobody was told of
	quarantined      = failpoint.New("blob-quarantined")       // a bad copy that nobody was told of

	sweepJudged    = failpoint.New("sweep-judged")            // a blob that is condemned, or gone
	sweepDeleted   = failpoint.New("sweep-data-deleted")      // a record that names what is deleted
	sweepForgotten = failpoint.New("sweep-tombstone-removed") // nothing
	sweepBarred    = failpoint.New("sweep-data-barred")       // an orphan that nobody may publish
	sweepExpired   = failpoint.New("sweep-upload-expired")    // an upload that was given up
	sweepCleared   = failpoint.New("sweep-upload-cleared")    // the record of an upload that has left nothing
)
