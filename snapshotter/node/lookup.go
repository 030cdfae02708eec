package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// errNoContainer is the class of errors of a container that is not here.
var errNoContainer = errors.New("container unknown")

// nerdctl's name of a container.
const nameLabel = "nerdctl/name"

// find returns the container that name means: its id, nerdctl's name of it, or a
// beginning of the id that no other has; with the namespace before it if
// namespace is empty and name has a slash.
// Errors: errNoContainer, errAmbiguous, those of containerd.
func (a *Agent) find(ctx context.Context, namespace, name string) (container, error) {
	if namespace == "" {
		if ns, id, ok := strings.Cut(name, "/"); ok {
			namespace, name = ns, id
		}
	}
	list, err := a.containers(ctx)
	if err != nil {
		return container{}, err
	}
	return pick(list, namespace, name)
}

func pick(list []container, namespace, name string) (container, error) {
	if name == "" {
		return container{}, fmt.Errorf("%w: no name was given", errNoContainer)
	}
	var here []container
	for _, c := range list {
		if namespace == "" || c.Namespace == namespace {
			here = append(here, c)
		}
	}
	for _, fits := range []func(c container) bool{
		func(c container) bool { return c.Id == name },
		func(c container) bool { return c.Labels[nameLabel] == name },
		func(c container) bool { return strings.HasPrefix(c.Id, name) },
	} {
		var found []container
		for _, c := range here {
			if fits(c) {
				found = append(found, c)
			}
		}
		switch len(found) {
		case 0:
		case 1:
			return found[0], nil
		default:
			return container{}, fmt.Errorf("%w %q: %s; write NAMESPACE/ID, or more of the id", errAmbiguous, name, listed(found))
		}
	}
	if len(here) == 0 {
		return container{}, fmt.Errorf("%w: %q; no container here uses Lamina's snapshotter", errNoContainer, name)
	}
	return container{}, fmt.Errorf("%w: %q; here are %s", errNoContainer, name, listed(here))
}

// listed names up to ten containers.
func listed(list []container) string {
	var names []string
	for i, c := range list {
		if i == 10 {
			names = append(names, fmt.Sprintf("and %d more", len(list)-i))
			break
		}
		names = append(names, c.Namespace+"/"+c.Id)
	}
	return strings.Join(names, ", ")
}
