package telemetry

import "github.com/prometheus/client_golang/prometheus"

// A Level is a number that is looked at when somebody asks for the metrics.
type Level struct {
	Name, Help string
	// Now returns it. It must be quick, and is called from several goroutines.
	Now func() float64
}

// Levels adds levels to the metrics.
func (t *Telemetry) Levels(levels ...Level) {
	for _, l := range levels {
		t.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: l.Name, Help: l.Help}, l.Now))
	}
}
