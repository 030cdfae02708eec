package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"

	"github.com/laminastore/lamina/internal/failpoint"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

// A container that stands still is noted on disk before it is paused. If this
// process dies meanwhile, the next one lets the container go on.
type frozenNote struct {
	Namespace string `json:"namespace"`
	ID        string `json:"id"`
}

// pauseTimeout and resumeTimeout bound one call to containerd.
const (
	pauseTimeout  = 30 * time.Second
	resumeTimeout = 30 * time.Second
)

var (
	pauseNoted = failpoint.New("freeze-noted")
	paused     = failpoint.New("freeze-paused")
	resumed    = failpoint.New("freeze-resumed")
)

func (a *Agent) frozenFolder() string { return filepath.Join(a.cfg.Root, "frozen") }

// frozen runs f while the container stands still, if it runs and pause is set,
// and returns for how long it did.
func (a *Agent) frozen(ctx context.Context, c container, pause bool, f func() error) (stood time.Duration, err error) {
	if !pause {
		return 0, f()
	}
	// It may have been started since it was found.
	running, err := a.runs(ctx, c)
	if err != nil {
		return 0, err
	}
	if !running {
		return 0, f()
	}
	note, err := a.noteFrozen(c)
	if err != nil {
		return 0, fmt.Errorf("note that %s is about to be paused: %w", c.Id, err)
	}
	pauseNoted.Hit()
	began := time.Now()
	defer func() { // also when f panics
		if terr := a.thaw(ctx, note); terr != nil {
			err = errors.Join(err, terr)
			a.leftFrozen()
		}
		a.released(note)
		resumed.Hit()
		stood = time.Since(began)
	}()
	// Not ended by the caller: containerd would go on with it all the same, and
	// pause the container after it had been resumed.
	pctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pauseTimeout)
	_, err = a.containerd.TaskService().Pause(namespaces.WithNamespace(pctx, c.Namespace), &tasks.PauseTaskRequest{ContainerID: c.Id})
	cancel()
	if err = errgrpc.ToNative(err); err != nil {
		if still, serr := a.runs(ctx, c); errdefs.IsNotFound(err) || serr == nil && !still {
			err = fmt.Errorf("%w: %s/%s has just stopped or is being removed; try again", errBusy, c.Namespace, c.Id)
		}
		return 0, fmt.Errorf("pause %s: %w", c.Id, err)
	}
	paused.Hit()
	return 0, f()
}

// runs says whether the container's processes run now.
func (a *Agent) runs(ctx context.Context, c container) (bool, error) {
	resp, err := a.containerd.TaskService().Get(namespaces.WithNamespace(ctx, c.Namespace), &tasks.GetRequest{ContainerID: c.Id})
	err = errgrpc.ToNative(err)
	if errdefs.IsNotFound(err) {
		return false, nil // it has no task
	}
	if err != nil {
		return false, fmt.Errorf("state of %s/%s: %w", c.Namespace, c.Id, err)
	}
	return state(resp.Process.GetStatus()) == pb.ContainerState_CONTAINER_STATE_RUNNING, nil
}

// noteFrozen writes down, durably, that the container is about to stand still,
// and keeps thawAll from it until released is called.
func (a *Agent) noteFrozen(c container) (note string, err error) {
	raw, err := json.Marshal(frozenNote{c.Namespace, c.Id})
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(a.frozenFolder(), 0o700); err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(c.Namespace + "/" + c.Id))
	note = filepath.Join(a.frozenFolder(), hex.EncodeToString(sum[:16]))
	a.mu.Lock()
	a.freezing[note] = true
	a.mu.Unlock()
	if err := writeDurably(note, raw); err != nil {
		a.released(note)
		return "", err
	}
	return note, nil
}

func (a *Agent) released(note string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.freezing, note)
}

// leftFrozen tells thawAll that there is something to do.
func (a *Agent) leftFrozen() {
	select {
	case a.left <- struct{}{}:
	default:
	}
}

// thaw lets the container that a note is about go on, and removes the note.
func (a *Agent) thaw(ctx context.Context, note string) error {
	raw, err := os.ReadFile(note)
	if errors.Is(err, os.ErrNotExist) {
		return nil // it goes on already
	}
	if err != nil {
		return err
	}
	var n frozenNote
	if err := json.Unmarshal(raw, &n); err != nil {
		return fmt.Errorf("%s: %w", note, err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), resumeTimeout)
	defer cancel()
	nctx := namespaces.WithNamespace(ctx, n.Namespace)
	_, err = a.containerd.TaskService().Resume(nctx, &tasks.ResumeTaskRequest{ContainerID: n.ID})
	if err = errgrpc.ToNative(err); err != nil && !errdefs.IsNotFound(err) {
		states, serr := a.states(nctx)
		if serr != nil || states[n.ID] == pb.ContainerState_CONTAINER_STATE_PAUSED {
			return fmt.Errorf("container %s/%s stands still and cannot be resumed (trying again; or `ctr -n %s task resume %s`): %w",
				n.Namespace, n.ID, n.Namespace, n.ID, err)
		}
	}
	if err := os.Remove(note); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// keepThawing lets go on what stands still without a commit that reads it: what
// a process before this one has left, and what could not be resumed because
// containerd was away. It returns when ctx ends.
func (a *Agent) keepThawing(ctx context.Context) {
	for {
		a.thawAll(ctx)
		select {
		case <-a.left:
		case <-ctx.Done():
			return
		}
	}
}

// thawAll tries until it has, or ctx ends.
func (a *Agent) thawAll(ctx context.Context) {
	retry := retryFirst
	for {
		entries, err := os.ReadDir(a.frozenFolder())
		if errors.Is(err, os.ErrNotExist) {
			return
		}
		for _, e := range entries {
			note := filepath.Join(a.frozenFolder(), e.Name())
			a.mu.Lock()
			busy := a.freezing[note]
			a.mu.Unlock()
			if busy || strings.HasPrefix(e.Name(), ".") {
				continue
			}
			if terr := a.thaw(ctx, note); terr != nil {
				err = errors.Join(err, terr)
			} else {
				a.log.Info("a container that had been left standing still goes on", "note", e.Name())
			}
		}
		if err == nil {
			return
		}
		a.log.Warn("a container may stand still; trying again", "error", err)
		if !pause(ctx, retry) {
			return
		}
		retry = min(2*retry, retryMost)
	}
}
