package transfer

import "errors"

// The classes of error; tell them apart with errors.Is.
var (
	// ErrLocation: what should be a place is not written like one.
	ErrLocation = errors.New("invalid place")
	// ErrNotFound: there is no such layout, archive, image or blob.
	ErrNotFound = errors.New("not found")
	// ErrAmbiguous: there are several images, and none was named.
	ErrAmbiguous = errors.New("several images")
	// ErrDamaged: bytes are not what their digest or size says, or a file is no
	// layout or archive, or not whole.
	ErrDamaged = errors.New("damaged")
	// ErrUnsupported: an image that the destination cannot hold, or an old kind.
	ErrUnsupported = errors.New("not supported")
)
