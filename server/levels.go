package server

import "github.com/laminastore/lamina/server/telemetry"

// levels are the metrics about what the server holds.
func (s *server) levels() []telemetry.Level {
	return []telemetry.Level{
		{Name: "lamina_uploads_open", Help: "Unfinished uploads that this server knows of.",
			Now: func() float64 { return float64(s.store.Levels().Uploads) }},
		{Name: "lamina_part_buffers_in_use", Help: "Part buffers that uploads and reads hold; at lamina_part_buffers, uploads wait.",
			Now: func() float64 { return float64(s.store.Levels().PartBuffers) }},
		{Name: "lamina_part_buffers", Help: "Part buffers that there are at most.",
			Now: func() float64 { return float64(s.store.Levels().MaxPartBuffers) }},
		{Name: "lamina_layer_checks_waiting", Help: "Layers that wait to be checked.",
			Now: func() float64 { n, _ := s.checker.Levels(); return float64(n) }},
		{Name: "lamina_layer_checks_running", Help: "Layers that are being checked.",
			Now: func() float64 { _, n := s.checker.Levels(); return float64(n) }},
	}
}
