// Package overlay keeps containerd's snapshots on one host: a folder for each
// layer, stacked by overlayfs.
//
// # The life of a snapshot
//
// Pulling an image makes one committed snapshot for each layer, once per host.
// containerd calls Prepare with the name of the layers below as parent and gets
// mounts back; it unpacks the layer's tar onto them; Commit then turns the
// active snapshot into a committed one, which never changes again:
//
//	mounts := Prepare(key, parent)     sn/7/fs sn/7/work, active
//	… unpack …
//	Commit(name, key)                  the same folders, committed as name
//
// Starting a container makes one active snapshot on top of its image's last
// layer. Nothing is copied: its mounts are an overlay whose lower folders are
// the `fs` of its parents, shared with every other container of the image, and
// whose upper folder is its own `fs`. What the container writes is there and
// nowhere else. Remove takes the active snapshot away when the container goes.
// The parents stay, and cannot be removed while anything stands on them.
//
// View is Prepare for those who only want to look.
//
// # On disk
//
//	lock           held by the process that serves this root
//	metadata.db    names, kinds, parents, labels, sizes (bbolt)
//	sn/ID/fs       the files of one layer
//	sn/ID/work     overlayfs's own, beside the fs of an active snapshot
//	trash/         what was removed, until it has been deleted
//
// IDs are numbers that are given once, and stay when an active snapshot becomes
// a committed one. The paths are short because an overlay's options must fit on
// a page, with all lower folders in them. The root is 0700: setuid files of
// images lie below it.
//
// # Crashes
//
// The metadata decides. A folder is made, durably, before the transaction that
// names it ends, and moved to the trash after the transaction that forgets it
// has ended. So a crash leaves at most folders that nothing names: Open moves
// them to the trash, and so does Cleanup. Each step at which a crash could tell
// is a failpoint, and a test crashes at every one of them.
//
// The files of a layer are flushed before Commit answers; otherwise a host that
// loses power would keep a layer of empty files, and never look at it again. Only
// on a disk that is too slow for that, Commit goes on without, and says so.
//
// # What may wait for what
//
// No transaction is open while a tree is deleted, measured or flushed, or while
// a caller looks at what Walk found. Writers queue at a gate that a context can
// leave, not at bbolt's lock. Nothing here talks to a network: containerd holds
// locks of its own over Commit, Remove, Walk and Stat.
package overlay
