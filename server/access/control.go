package access

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/laminastore/lamina/internal/reload"
)

// A Control identifies callers by one configuration. Safe for concurrent use.
type Control struct {
	open      bool
	file      string
	o         Options
	passwords *passwords
	tokens    *tokenMaker
	state     atomic.Pointer[state]

	reloading sync.Mutex
	tried     *reload.Files // what the last attempt read, whatever came of it

	ctx     context.Context // ends with Close
	stop    context.CancelFunc
	closing sync.Mutex // no work begins once ctx has ended
	work    sync.WaitGroup
}

// AllowAll returns a Control for which everyone may do everything, whatever
// they show. It holds nothing that needs closing.
func AllowAll() *Control { return &Control{open: true} }

// Open reads the configuration in file; "open" is AllowAll. It does no I/O
// beside reading files: issuers and the bucket are asked when they are needed.
// The caller closes the Control. Errors: ErrConfig, with file and line.
func Open(ctx context.Context, file string, o Options) (*Control, error) {
	if file == Everything {
		return AllowAll(), nil
	}
	if o.Bucket == nil {
		return nil, fmt.Errorf("%w: no bucket was given to keep the keys of tokens in", ErrConfig)
	}
	c := &Control{file: file, o: o.withDefaults()}
	c.passwords = newPasswords(c.o.Now)
	c.tokens = &tokenMaker{keys: newKeyring(c.o.Bucket, c.o.Now, c.sweep), now: c.o.Now}
	c.ctx, c.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := c.Reload(ctx); err != nil {
		c.stop()
		return nil, err
	}
	if c.o.Every > 0 {
		c.work.Go(func() { reload.Poll(c.ctx, c.o.Every, c.look) })
	}
	return c, nil
}

// Open says whether everything is open to everyone (AllowAll).
func (c *Control) Open() bool { return c.open }

// Close ends what runs in the background. When it returns nil, nothing does.
// Errors: ctx's, when it ends first.
func (c *Control) Close(ctx context.Context) error {
	if c.open {
		return nil
	}
	c.closing.Lock()
	c.stop()
	c.closing.Unlock()
	done := make(chan struct{})
	go func() {
		c.work.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close access control: %w", ctx.Err())
	}
}

// Reload reads the configuration again. When it is not usable the old one goes
// on. It happens by itself when one of the files has changed. Errors: ErrConfig.
func (c *Control) Reload(context.Context) error {
	if c.open {
		return nil
	}
	c.reloading.Lock()
	defer c.reloading.Unlock()
	return c.load()
}

func (c *Control) load() error {
	files := &reload.Files{}
	cfg, err := loadConfig(c.file, files)
	c.tried = files
	if err != nil {
		return err
	}
	c.state.Store(newState(cfg, files, c.state.Load(), c.o.Now))
	return nil
}

// look reloads when a file is not as it was when it was read last. One that is
// broken is told of once, not each time.
func (c *Control) look(ctx context.Context) {
	c.reloading.Lock()
	defer c.reloading.Unlock()
	if !c.tried.Changed() {
		return
	}
	if err := c.load(); err != nil {
		c.o.Logger.ErrorContext(ctx, "the changed access configuration is not used, the old one goes on: mend it", "file", c.file, "error", err)
		return
	}
	c.o.Logger.InfoContext(ctx, "access configuration was read again", "file", c.file)
	for _, w := range c.Warnings() {
		c.o.Logger.WarnContext(ctx, w)
	}
}

// Warnings says what is open to everyone, a sentence each, for the start.
func (c *Control) Warnings() []string {
	if c.open {
		return []string{"whoever reaches this server may read, change and delete everything"}
	}
	return c.state.Load().warnings()
}

// sweep deletes old keys in the background.
func (c *Control) sweep(context.Context) {
	c.closing.Lock()
	defer c.closing.Unlock()
	if c.ctx.Err() != nil {
		return
	}
	c.work.Go(func() {
		// One call or two: Close waits rather than break them off.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), askWithin)
		defer cancel()
		if err := c.tokens.keys.sweep(ctx); err != nil {
			c.o.Logger.Warn("old keys of tokens were not deleted; the next new key tries again", "error", err)
		}
	})
}

// TLS returns the configuration with which a server is to accept connections:
// base, asking for client certificates as long as the configuration has any use
// for them. They are checked by Identify, not in the handshake, so that what is
// accepted changes with Reload, and a wrong one gets an answer that says so.
func (c *Control) TLS(base *tls.Config) *tls.Config {
	if c.open {
		return base
	}
	without, with, out := base.Clone(), base.Clone(), base.Clone()
	with.ClientAuth = tls.RequestClientCert
	out.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		if c.state.Load().certificates != nil {
			return with, nil
		}
		return without, nil
	}
	return out
}
