package overlay

import "github.com/laminastore/lamina/internal/failpoint"

// The steps between which a crash leaves something different behind. "Save" is
// the end of the metadata's transaction, after which the change is durable.
var (
	openAfterLock     = failpoint.New("open-after-lock")
	openAfterProbe    = failpoint.New("open-after-probe")
	openAfterRecovery = failpoint.New("open-after-recovery")

	prepareAfterRecord = failpoint.New("prepare-after-record")
	prepareAfterMkdir  = failpoint.New("prepare-after-mkdir")
	prepareBeforeSave  = failpoint.New("prepare-before-save")
	prepareAfterSave   = failpoint.New("prepare-after-save")

	commitAfterSettle = failpoint.New("commit-after-settle")
	commitBeforeSave  = failpoint.New("commit-before-save")
	commitAfterSave   = failpoint.New("commit-after-save")

	updateBeforeSave = failpoint.New("update-before-save")
	updateAfterSave  = failpoint.New("update-after-save")

	removeBeforeSave  = failpoint.New("remove-before-save")
	removeAfterSave   = failpoint.New("remove-after-save")
	removeAfterRename = failpoint.New("remove-after-rename")

	cleanupAfterOrphans = failpoint.New("cleanup-after-orphans")
	trashHalfEmpty      = failpoint.New("trash-half-empty")
	trashEmpty          = failpoint.New("trash-empty")
)
