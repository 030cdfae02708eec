package server

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"

	"github.com/laminastore/lamina/blobstore/bucket/memory"
	"github.com/laminastore/lamina/server/access"
)

// registered are the metrics that a server has, and their labels, sorted.
func registered(t *testing.T) map[string]string {
	t.Helper()
	s := build(memory.New(memory.Options{}), &doors{}, security{access: access.AllowAll()}, Config{}.withDefaults())
	defer s.close()
	descs := make(chan *prometheus.Desc)
	go func() {
		s.telemetry.Registerer().(prometheus.Collector).Describe(descs)
		close(descs)
	}()
	shape := regexp.MustCompile(`^Desc\{fqName: "([^"]+)", .*variableLabels: \{([^}]*)\}\}$`)
	out := map[string]string{}
	for d := range descs {
		m := shape.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("cannot read %s", d)
		}
		labels := strings.FieldsFunc(m[2], func(r rune) bool { return r == ',' || r == ' ' })
		slices.Sort(labels)
		out[m[1]] = strings.Join(labels, ", ")
	}
	return out
}

func page(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile("../" + file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDocsHaveEveryMetricWithItsLabels(t *testing.T) {
	have := registered(t)
	maps.DeleteFunc(have, func(name, _ string) bool { return !strings.HasPrefix(name, "lamina_") })
	row := regexp.MustCompile("(?m)^\\| `(lamina_[a-z_]+)` \\| (?:counter|gauge|histogram) \\|([^|]*)\\|")
	for _, m := range row.FindAllStringSubmatch(string(page(t, "docs/metrics.md")), -1) {
		labels, ok := have[m[1]]
		if documented := strings.ReplaceAll(strings.TrimSpace(m[2]), "`", ""); !ok {
			t.Errorf("docs/metrics.md: there is no %s", m[1])
		} else if documented != labels {
			t.Errorf("docs/metrics.md: %s has the labels %q, not %q", m[1], labels, documented)
		}
		delete(have, m[1])
	}
	for name := range have {
		t.Errorf("docs/metrics.md has no row for %s", name)
	}
}

// used are the metrics that an expression of Prometheus names.
var used = regexp.MustCompile(`\b(?:lamina|go|process)_[a-z_]+\b`)

func check(t *testing.T, file, where, expr string, have map[string]string) {
	t.Helper()
	names := used.FindAllString(expr, -1)
	if len(names) == 0 && !strings.HasPrefix(expr, "up{") {
		t.Errorf("%s: %s is about no metric: %s", file, where, expr)
	}
	for _, name := range names {
		_, ok := have[name]
		if base, is := strings.CutSuffix(name, "_bucket"); is && !ok {
			_, ok = have[base]
		}
		if !ok {
			t.Errorf("%s: %s uses %s, which is not there", file, where, name)
		}
	}
}

func TestAlertsAreAboutMetricsThatAreThere(t *testing.T) {
	const file = "deploy/alerts.yml"
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(page(t, file), &rules); err != nil {
		t.Fatal(err)
	}
	have, seen := registered(t), map[string]bool{}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if r.Alert == "" || seen[r.Alert] || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("%s: %+v lacks something, or is there twice", file, r)
			}
			seen[r.Alert] = true
			check(t, file, r.Alert, r.Expr, have)
		}
	}
	if len(seen) == 0 {
		t.Errorf("%s has no alerts", file)
	}
}

func TestTheDashboardShowsMetricsThatAreThere(t *testing.T) {
	const file = "deploy/grafana/lamina.json"
	var board struct {
		Panels []struct {
			ID      int
			Type    string
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(page(t, file), &board); err != nil {
		t.Fatal(err)
	}
	have, shown := registered(t), map[string]bool{}
	for _, p := range board.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("%s: panel %q shows nothing", file, p.Title)
		}
		for _, target := range p.Targets {
			check(t, file, p.Title, target.Expr, have)
			for _, name := range used.FindAllString(target.Expr, -1) {
				shown[strings.TrimSuffix(name, "_bucket")] = true
			}
		}
	}
	for name := range have {
		if strings.HasPrefix(name, "lamina_") && !shown[name] {
			t.Errorf("%s does not show %s", file, name)
		}
	}
}
