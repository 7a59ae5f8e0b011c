//lint:file-ignore SA1019 Grafana's version 1 of dashboards is what every Grafana imports today; its version 2 is not.

// Package monitoring_test holds what is shipped for Prometheus and Grafana against their own parsers, and against what the program tells.
package monitoring_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	grafana "github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"

	"hapair/heartbeat/rehearsal/require"
)

// promtool runs Prometheus' own tool, and skips the test where it is not here.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	require.Tool(t, "promtool", "the rules and queries with Prometheus' own parser")
	if out, err := exec.Command("promtool", args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// TestPrometheusReadsTheRules: they parse, raise nothing about a healthy pair, and what they should about a broken one.
func TestPrometheusReadsTheRules(t *testing.T) {
	promtool(t, "check", "rules", "alerts.yml")
	promtool(t, "check", "config", "prometheus.yml")
	promtool(t, "test", "rules", "alerts_test.yml")
}

// dashboard is what Grafana needs of a dashboard, as far as it is looked at here.
type dashboard struct {
	UID, Title    string
	SchemaVersion int
	Annotations   struct{ List []target }
	Templating    struct {
		List []struct {
			Name, Type, Definition string
			Query                  any
		}
	}
	Panels []struct {
		ID                       int
		Title, Type, Description string
		Datasource               datasource
		GridPos                  struct{ X, Y, W, H int }
		Targets                  []target
	}
}

type target struct {
	RefID, Expr, LegendFormat string
	Datasource                datasource
}

type datasource struct{ Type, UID string }

// read loads the dashboard.
func read(t *testing.T) (d dashboard) {
	t.Helper()
	data, err := os.ReadFile("grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// expressions are all queries of the dashboard, by where they stand, with Grafana's variables filled in.
func (d dashboard) expressions() map[string]string {
	variables := strings.NewReplacer("$__rate_interval", "1m", "$instance", ".*")
	all := map[string]string{}
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			all[p.Title+" "+q.RefID] = variables.Replace(q.Expr)
		}
	}
	for i, a := range d.Annotations.List {
		all[fmt.Sprint("annotation ", i)] = variables.Replace(a.Expr)
	}
	return all
}

// TestPrometheusReadsTheDashboardsQueries has its parser read each of them.
func TestPrometheusReadsTheDashboardsQueries(t *testing.T) {
	var rules strings.Builder
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	n := 0
	for where, expr := range read(t).expressions() {
		if strings.Contains(expr, "$") {
			t.Errorf("%s has a variable that nobody fills in: %s", where, expr)
		}
		n++
		text, _ := json.Marshal(expr)
		fmt.Fprintf(&rules, "  - record: query_%d\n    expr: %s\n", n, text)
	}
	if n < 20 {
		t.Errorf("only %d queries", n)
	}
	path := filepath.Join(t.TempDir(), "queries.yml")
	if err := os.WriteFile(path, []byte(rules.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", path)
}

// TestGrafanaReadsTheDashboard has Grafana's own types read it strictly: every field that they want is there, and none that they do not know.
func TestGrafanaReadsTheDashboard(t *testing.T) {
	kinds := cog.NewRuntime()
	kinds.RegisterPanelcfgVariant(stat.VariantConfig())
	kinds.RegisterPanelcfgVariant(timeseries.VariantConfig())
	kinds.RegisterPanelcfgVariant(statetimeline.VariantConfig())
	kinds.RegisterDataqueryVariant(prometheus.VariantConfig())
	data, err := os.ReadFile("grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	complaints := func(d *grafana.Dashboard, data []byte) string { // a list of errors that is empty is an error there, too
		if err := d.UnmarshalJSONStrict(data); err != nil {
			return err.Error()
		}
		return ""
	}
	var d grafana.Dashboard
	if list := complaints(&d, data); list != "" {
		t.Errorf("Grafana does not read it:\n%s", list)
	}
	if err := d.Validate(); err != nil {
		t.Errorf("Grafana reads it, and does not take it:\n%v", err)
	}
	for _, broken := range []string{`"expr"`, `"graphMode"`, `"gridPos"`} {
		var d grafana.Dashboard
		if complaints(&d, []byte(strings.Replace(string(data), broken, `"exprr"`, 1))) == "" {
			t.Errorf("without one of its %s Grafana takes it too: this test sees nothing", broken)
		}
	}
}

// TestDashboardIsOne: what Grafana's importer asks for is there, and its panels do not lie on each other.
func TestDashboardIsOne(t *testing.T) {
	d := read(t)
	if d.UID == "" || d.Title == "" || d.SchemaVersion < 30 || len(d.Panels) < 15 {
		t.Errorf("uid %q, title %q, schema %d, %d panels", d.UID, d.Title, d.SchemaVersion, len(d.Panels))
	}
	kinds := map[string]bool{"stat": true, "timeseries": true, "state-timeline": true, "table": true}
	ids := map[int]bool{}
	for i, p := range d.Panels {
		if ids[p.ID] || p.ID == 0 || !kinds[p.Type] || p.Description == "" || len(p.Targets) == 0 {
			t.Errorf("panel %q: id %d, type %q, description %q, %d queries", p.Title, p.ID, p.Type, p.Description, len(p.Targets))
		}
		ids[p.ID] = true
		if g := p.GridPos; g.X < 0 || g.X+g.W > 24 || g.W < 1 || g.H < 1 {
			t.Errorf("panel %q does not fit: %+v", p.Title, g)
		}
		for _, q := range p.Targets {
			if q.Datasource.UID != "${datasource}" || p.Datasource.UID != "${datasource}" || q.LegendFormat == "" {
				t.Errorf("panel %q asks %q, and calls it %q", p.Title, q.Datasource.UID, q.LegendFormat)
			}
		}
		for _, o := range d.Panels[:i] {
			a, b := p.GridPos, o.GridPos
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("panels %q and %q lie on each other", p.Title, o.Title)
			}
		}
	}
	var variables []string
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name+" "+v.Type)
	}
	if !slices.Contains(variables, "datasource datasource") || !slices.Contains(variables, "instance query") {
		t.Errorf("variables %v", variables)
	}
}

// told are the families that the program writes.
func told(t *testing.T) map[string]string {
	t.Helper()
	source, err := os.ReadFile("../../heartbeat/daemon/metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	families := map[string]string{}
	for _, m := range regexp.MustCompile(`\("((?:heartbeat|process)_\w+)", "(gauge|counter|histogram)"`).FindAllStringSubmatch(string(source), -1) {
		families[m[1]] = m[2]
	}
	for _, m := range regexp.MustCompile(`counter\("(heartbeat_\w+)", haresources`).FindAllStringSubmatch(string(source), -1) {
		families[m[1]] = "counter"
	}
	if len(families) < 50 {
		t.Fatalf("only %d families were found: %v", len(families), families)
	}
	return families
}

var metricName = regexp.MustCompile(`\b(?:heartbeat|process)_[a-z_]+`)

// TestWhatIsAskedForIsTold: rules, dashboard and guide name no metric that the program does not have, and the guide names all.
func TestWhatIsAskedForIsTold(t *testing.T) {
	families := told(t)
	check := func(where, text string) {
		for _, name := range metricName.FindAllString(text, -1) {
			base := name
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if cut, found := strings.CutSuffix(name, suffix); found && families[cut] == "histogram" {
					base = cut
				}
			}
			if families[base] == "" {
				t.Errorf("%s names %s, which nobody tells", where, name)
			}
		}
	}
	for _, file := range []string{"alerts.yml", "alerts_test.yml", "../../docs/monitoring.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		check(file, string(text))
		if strings.HasSuffix(file, ".md") {
			for name := range families {
				if strings.HasPrefix(name, "heartbeat_") && !strings.Contains(string(text), "`"+name+"`") {
					t.Errorf("%s does not say what %s is", file, name)
				}
			}
		}
	}
	for where, expr := range read(t).expressions() {
		check(where, expr)
	}
}

// TestAlertsAreExplained: the guide says of each alert what to do, and of no other.
func TestAlertsAreExplained(t *testing.T) {
	rules, err := os.ReadFile("alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	guide, err := os.ReadFile("../../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	names := func(pattern string, text []byte) (list []string) {
		for _, m := range regexp.MustCompile(pattern).FindAllSubmatch(text, -1) {
			list = append(list, string(m[1]))
		}
		slices.Sort(list)
		return list
	}
	there, explained := names(`(?m)- alert: (\w+)`, rules), names("(?m)^\\| `(Heartbeat\\w+)` \\|", guide)
	if len(there) < 15 || !slices.Equal(there, explained) {
		t.Errorf("alerts:    %v\nexplained: %v", there, explained)
	}
}
