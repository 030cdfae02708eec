package transfer

import (
	"context"
	"errors"
	"fmt"
)

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

// An Error says where something is wrong, and what; errors.Is finds its class
// and its cause.
type Error struct {
	Class  error  // may be nil
	Place  string // as the user wrote it; may be empty
	Detail string // a sentence, with the remedy in parentheses
	Err    error  // the cause, of which Detail says all there is to say
}

func (e *Error) Error() string {
	s := e.Detail
	if s == "" && e.Err != nil {
		s = e.Err.Error()
	}
	if e.Place != "" {
		s = e.Place + ": " + s
	}
	return s
}

// Unwrap makes both the class and the cause visible to errors.Is and As.
func (e *Error) Unwrap() []error {
	var errs []error
	for _, err := range []error{e.Class, e.Err} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

func fail(class error, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &Error{Class: class, Detail: err.Error(), Err: errors.Unwrap(err)}
}

// at says where err happened, unless that is known.
func at(place fmt.Stringer, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if e, ok := errors.AsType[*Error](err); ok {
		if e.Place != "" {
			return err
		}
		if error(e) == err {
			placed := *e
			placed.Place = place.String()
			return &placed
		}
	}
	return &Error{Place: place.String(), Err: err}
}
