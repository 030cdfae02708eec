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

	"github.com/laminastore/lamina/internal/failpoint"
	pb "github.com/laminastore/lamina/proto/lamina/v1"
)

// A container that stands still is noted on disk before it is paused. If this
// process dies meanwhile, the next one lets the container go on.
type frozenNote struct {
	Namespace string `json:"namespace"`
	ID        string `json:"id"`
}

const resumeTimeout = 30 * time.Second

var (
	pauseNoted = failpoint.New("freeze-noted")
	paused     = failpoint.New("freeze-paused")
	resumed    = failpoint.New("freeze-resumed")
)

func (a *Agent) frozenFolder() string { return filepath.Join(a.cfg.Root, "frozen") }

// frozen runs f while the container stands still, if it runs and pause is set,
// and returns for how long it did.
func (a *Agent) frozen(ctx context.Context, c container, pause bool, f func() error) (time.Duration, error) {
	if !pause || c.State != pb.ContainerState_CONTAINER_STATE_RUNNING {
		return 0, f()
	}
	sum := sha256.Sum256([]byte(c.Namespace + "/" + c.Id))
	note := filepath.Join(a.frozenFolder(), hex.EncodeToString(sum[:16]))
	raw, err := json.Marshal(frozenNote{c.Namespace, c.Id})
	if err != nil {
		return 0, err
	}
	if err := os.MkdirAll(a.frozenFolder(), 0o700); err != nil {
		return 0, err
	}
	if err := writeDurably(note, raw); err != nil {
		return 0, fmt.Errorf("note that %s is about to be paused: %w", c.Id, err)
	}
	pauseNoted.Hit()
	nctx := namespaces.WithNamespace(ctx, c.Namespace)
	began := time.Now()
	if _, err := a.containerd.TaskService().Pause(nctx, &tasks.PauseTaskRequest{ContainerID: c.Id}); err != nil {
		rerr := a.thaw(ctx, note) // it may be paused all the same
		if errdefs.IsNotFound(err) || strings.Contains(err.Error(), "not running") {
			err = fmt.Errorf("%w: %s/%s has just stopped or is being removed", errBusy, c.Namespace, c.Id)
		}
		return 0, errors.Join(fmt.Errorf("pause %s: %w", c.Id, err), rerr)
	}
	paused.Hit()
	err = func() (err error) {
		defer func() { // also when f panics
			err = errors.Join(err, a.thaw(ctx, note))
		}()
		return f()
	}()
	resumed.Hit()
	return time.Since(began), err
}

// thaw lets the container that a note is about go on, and removes the note.
func (a *Agent) thaw(ctx context.Context, note string) error {
	raw, err := os.ReadFile(note)
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
	if err != nil && !errdefs.IsNotFound(err) {
		states, serr := a.states(nctx)
		if serr != nil || states[n.ID] == pb.ContainerState_CONTAINER_STATE_PAUSED {
			return fmt.Errorf("container %s/%s stands still and cannot be resumed (try `ctr -n %s task resume %s`): %w",
				n.Namespace, n.ID, n.Namespace, n.ID, err)
		}
	}
	return os.Remove(note)
}

// thawAll lets go on what a process before this one has left standing still. It
// tries until it has, or ctx ends: containerd may start later.
func (a *Agent) thawAll(ctx context.Context) {
	retry := retryFirst
	for {
		entries, err := os.ReadDir(a.frozenFolder())
		if errors.Is(err, os.ErrNotExist) {
			return
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".") {
				continue
			}
			if terr := a.thaw(ctx, filepath.Join(a.frozenFolder(), e.Name())); terr != nil {
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
