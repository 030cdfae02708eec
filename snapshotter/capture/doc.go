// Package capture makes a layer of what a container wrote: it reads the upper
// folder of an overlay over its lower folders, and writes the tar that gives
// the same view when it is unpacked onto the same lower layers.
//
//	result, err := capture.Write(ctx, file, capture.Options{
//		Upper:  stack.Upper,
//		Lowers: stack.Lowers,
//	})
//
// The tar follows the OCI image-spec's layer.md: a file that is gone is an empty
// file ".wh.NAME", a folder that hides what is below it has ".wh..wh..opq" before
// anything else in it. The same upper over the same lowers gives the same bytes.
//
// # What is trusted
//
// Nothing in the upper is. A container that is not paused can swap any file for
// another while it is read, so no path is ever resolved: each entry is opened by
// its single name in a folder that is open already, without following links,
// and only what turns out to be a regular file is opened for reading. A device
// that was put there is never opened.
//
// # What a layer cannot hold
//
// Sockets; names that begin with ".wh.", which mean something else in a layer;
// paths longer than Options.MaxPath, which nobody could unpack. They are left
// out and named in Result.Skipped. What the image had in such a place is gone
// from the view, and is deleted by the layer.
package capture
