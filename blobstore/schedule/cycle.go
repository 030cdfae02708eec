package schedule

import (
	"context"

	"github.com/laminastore/lamina/blobstore/collect"
	"github.com/laminastore/lamina/blobstore/storetest"
)

// Collect runs one cycle of a collector on the process; a full one looks through
// everything.
func (p *Process) Collect(ctx context.Context, full bool) error {
	var began int
	parallel := 2
	if p.world.config.Few {
		parallel = 1
	}
	c := collect.New(p.Store, p.Images, p.fleet, collect.Options{
		Logger: storetest.Quiet(), Holder: p.Name, Parallel: parallel,
		Began: func() { began = len(p.world.trace) },
	})
	_, err := c.Run(context.WithValue(ctx, cycleKey{}, &began), collect.RunOptions{Full: full})
	if err == nil {
		p.world.judge.count("cycle of a collector")
	}
	p.expected("collection", err)
	return err
}
