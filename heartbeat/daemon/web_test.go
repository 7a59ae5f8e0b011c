package daemon

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hapair/haresources"
	"hapair/heartbeat"
	"hapair/heartbeat/config"
	"hapair/heartbeat/rehearsal/require"
)

// freePort is a port of the loopback that nobody uses.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// webPair is a pair in real time; alpha tells its metrics at a place.
func webPair(t *testing.T, place string) (alpha, beta *labNode) {
	t.Helper()
	cables := map[string]*cable{"eth0": newCable("eth0"), "eth1": newCable("eth1")}
	alpha = boot(t, testConfig(t, "alpha", "eth0", "eth1"), cables, 1)
	beta = boot(t, testConfig(t, "beta", "eth0", "eth1"), cables, 1)
	ctx, cancel := context.WithCancel(context.Background())
	alpha.web = newWeb(ctx, alpha.engine)
	alpha.web.apply(place)
	t.Cleanup(func() {
		cancel()
		alpha.web.close()
		alpha.end()
		beta.end()
	})
	soon(t, "both nodes serve", func() bool { return alpha.manager.runs() == "web" && beta.manager.runs() == "mail" })
	return alpha, beta
}

// soon fails the test unless something is so within ten seconds.
func soon(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within ten seconds: %s", what)
		}
	}
}

// get asks for a page.
func get(t *testing.T, client *http.Client, method, url, host string) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		r.Host = host
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, string(text)
}

// value is that of one sample of an exposition, "" where there is none.
func value(text, sample string) string {
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(sample) + ` (\S+)$`).FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	return m[1]
}

// TestMetrics: what a pair tells is what it is, in a form that Prometheus reads.
func TestMetrics(t *testing.T) {
	place := freePort(t)
	alpha, _ := webPair(t, place)
	alpha.figures.operated(haresources.Event{Group: "web", Resource: "web", Operation: haresources.OpStart, Phase: haresources.End, Took: 3 * time.Millisecond})
	now := time.Now()
	alpha.figures.held("web", true, now.Add(-5*time.Second))
	alpha.figures.held("web", false, now)
	alpha.media.find("eth0").bad.add(fmt.Errorf("junk"), "10.0.0.9")
	soon(t, "heartbeats on both links", func() bool {
		s, err := alpha.status(t.Context())
		return err == nil && s.Links[0].Timing != nil && s.Links[1].Timing != nil && s.Timing.Heartbeats > 3 && alpha.snapshot.loop.delays.n > 0
	})
	code, header, text := get(t, http.DefaultClient, "GET", "http://"+place+"/metrics", "")
	if code != 200 || header.Get("Content-Type") != expositionType {
		t.Fatalf("%d, %v", code, header)
	}
	for sample, want := range map[string]string{
		`heartbeat_state{state="active"}`: "1", `heartbeat_state{state="standby"}`: "0",
		`heartbeat_peer_state{state="active"}`: "1", `heartbeat_peer_state{state="dead"}`: "0",
		`heartbeat_group_held{group="web"}`: "1", `heartbeat_group_held{group="mail"}`: "0", `heartbeat_group_served{group="mail"}`: "1",
		`heartbeat_group_state{group="web",state="held"}`: "1", `heartbeat_group_epoch{group="web"}`: "1",
		`heartbeat_group_changes_total{group="web",change="acquire",cause="start"}`: "1",
		`heartbeat_group_double{group="web"}`:                                       "0", `heartbeat_group_double_seconds_total{group="web"}`: "5",
		`heartbeat_link_up{link="eth0",kind="bcast"}`:                                                          "1",
		`heartbeat_link_frames_invalid_total{link="eth0",kind="bcast",cause="malformed"}`:                      "1",
		`heartbeat_link_heartbeats_lost_total{link="eth1",kind="bcast"}`:                                       "0",
		`heartbeat_resource_running{group="web",resource="web"}`:                                               "1",
		`heartbeat_resource_operation_seconds_count{group="web",resource="web",operation="start"}`:             "1",
		`heartbeat_resource_operation_seconds_bucket{group="web",resource="web",operation="start",le="0.002"}`: "0",
		`heartbeat_resource_operation_seconds_bucket{group="web",resource="web",operation="start",le="0.005"}`: "1",
		`heartbeat_resource_operation_failures_total{group="web",resource="web",operation="start"}`:            "0",
		`heartbeat_deadtime_seconds`: "1", `heartbeat_keepalive_seconds`: "0.1", `heartbeat_fencing_configured`: "0", `heartbeat_alarms`: "0",
	} {
		if got := value(text, sample); got != want {
			t.Errorf("%s is %q, want %s", sample, got, want)
		}
	}
	for _, sample := range []string{`heartbeat_link_jitter_seconds_count{link="eth0",kind="bcast"}`, `heartbeat_loop_delay_seconds_count`, `process_cpu_seconds_total`,
		`heartbeat_link_frames_sent_total{link="eth0",kind="bcast"}`, `heartbeat_files_state{state="unknown"}`, `heartbeat_build_info{version="` + Version + `",node="alpha",peer="beta"}`} {
		if got := value(text, sample); got == "" || got == "0" {
			t.Errorf("%s is %q", sample, got)
		}
	}
	readByPrometheus(t, text)
}

// readByPrometheus has its own parser and linter read an exposition.
func readByPrometheus(t *testing.T, text string) {
	t.Helper()
	families := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\S+) `).FindAllStringSubmatch(text, -1) {
		if families[m[1]] {
			t.Errorf("%s is told twice", m[1])
		}
		families[m[1]] = true
	}
	require.Tool(t, "promtool", "what the metrics are for Prometheus' own parser")
	cmd := exec.Command("promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// TestExpositionEscapes: what a name holds cannot end the line.
func TestExpositionEscapes(t *testing.T) {
	x := &exposition{}
	x.family("heartbeat_nothing", "gauge", "Has no samples.")
	x.family("heartbeat_x", "gauge", "Has one.")
	x.sample(0.5, "group", "a\"b\\c\nd\xff", "node", "")
	want := "# HELP heartbeat_x Has one.\n# TYPE heartbeat_x gauge\nheartbeat_x{group=\"a\\\"b\\\\c\\nd\uFFFD\",node=\"\"} 0.5\n"
	if string(x.text) != want {
		t.Errorf("%q", x.text)
	}
	readByPrometheus(t, string(x.text))
}

// TestWebAnswersOnlyWhatItShould: reading, by a name of this machine, and not while the loop hangs.
func TestWebAnswersOnlyWhatItShould(t *testing.T) {
	place := freePort(t)
	alpha, _ := webPair(t, place)
	url := "http://" + place
	for _, tt := range []struct {
		method, path, host string
		want               int
	}{
		{"GET", "/", "", 200}, {"HEAD", "/metrics", "", 200}, {"GET", "/status.json", "localhost:9694", 200}, {"GET", "/metrics", "[::1]:9694", 200},
		{"GET", "/etc/passwd", "", 404}, {"GET", "/metrics/", "", 404}, {"POST", "/", "", 405}, {"DELETE", "/metrics", "", 405},
		{"GET", "/metrics", "evil.example", 403}, {"GET", "/", "127.0.0.1.evil.example:80", 403},
	} {
		if code, _, text := get(t, http.DefaultClient, tt.method, url+tt.path, tt.host); code != tt.want {
			t.Errorf("%s %s as %q: %d, want %d\n%s", tt.method, tt.path, tt.host, code, tt.want, text)
		}
	}
	// Whoever holds connections open keeps nobody else out for long, and this daemon up not at all.
	var held []net.Conn
	for range 2 * webClients {
		if c, err := net.Dial("tcp", place); err == nil {
			held = append(held, c)
		}
	}
	if s, err := alpha.status(t.Context()); err != nil || s.Health != Healthy {
		t.Errorf("%+v, %v", s, err)
	}
	for _, c := range held {
		c.Close()
	}
	soon(t, "an answer after a crowd", func() bool {
		answer, err := http.Get(url + "/metrics")
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		return answer.StatusCode == 200
	})
	release := make(chan struct{})
	alpha.in.post(func() { <-release })
	time.Sleep(wedgedAfter + 500*time.Millisecond)
	code, _, text := get(t, http.DefaultClient, "GET", url+"/metrics", "")
	close(release)
	if code != http.StatusServiceUnavailable || !strings.Contains(text, "has not answered") {
		t.Errorf("with a loop that hangs: %d, %s", code, text)
	}
}

// TestWebMoves: from nowhere to a socket, to a port that is taken, to nowhere.
func TestWebMoves(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics")
	alpha, _ := webPair(t, "")
	if s, err := alpha.status(t.Context()); err != nil || len(s.Alarms) > 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	for range 2 { // the second time on what the first left
		alpha.web.apply("unix:" + path)
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}}}
		soon(t, "a socket", func() bool {
			c, err := net.Dial("unix", path)
			if err == nil {
				c.Close()
			}
			return err == nil
		})
		if code, _, text := get(t, client, "GET", "http://alpha/metrics", ""); code != 200 || value(text, `heartbeat_group_held{group="web"}`) != "1" {
			t.Errorf("%d\n%s", code, text)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o666 {
			t.Errorf("%v, %v", info, err)
		}
		alpha.web.apply("")
		left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatalf("the place was not left: %v", err)
		}
		left.SetUnlinkOnClose(false)
		left.Close() // as a daemon that was killed leaves it
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	alpha.web.apply(taken.Addr().String())
	soon(t, "an alarm", func() bool {
		return slices.ContainsFunc(alpha.alarms.texts(), func(a string) bool { return strings.Contains(a, "address already in use") })
	})
	alpha.web.apply("")
	if a := alpha.alarms.texts(); len(a) > 0 {
		t.Errorf("alarms %v where nothing is to be told", a)
	}
}

// TestTimelineFromJournal: what was held before this daemon started is known from the journal.
func TestTimelineFromJournal(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 11, 2, 3, minute, 0, 0, time.UTC) }
	var l timeline
	l.note([]heartbeat.GroupStatus{{Name: "web", Owner: "beta"}}, at(30))
	l.note([]heartbeat.GroupStatus{{Name: "web", Owner: "beta"}}, at(31))
	l.note([]heartbeat.GroupStatus{{Name: "web", Owner: ""}}, at(32))
	l.recall([]JournalEntry{
		{Time: at(10), Node: "alpha", What: "Resource group web runs here (started in 3ms)"}, {Time: at(11), Node: "alpha", What: "Link beta:eth0 dead."},
		{Time: at(20), Node: "alpha", What: "Resource group web released (in 2ms)"}, {Time: at(31), Node: "alpha", What: "Resource group web runs here (started in 3ms)"},
	})
	var got []string
	for _, c := range l.view(at(40)) {
		got = append(got, fmt.Sprintf("%s %s %q", c.At.Format("15:04"), c.Group, c.Owner))
	}
	if want := `03:10 web "alpha",03:20 web "?",03:30 web "beta",03:32 web ""`; strings.Join(got, ",") != want {
		t.Errorf("%s\nwant %s", strings.Join(got, ","), want)
	}
}

// pageStatus is a pair of which something is wrong, with names that would be markup.
func pageStatus() (*Status, []ownership) {
	now := time.Date(2026, 11, 2, 3, 0, 0, 0, time.UTC)
	timing := &TimingView{Heartbeats: 5000, Lost: 3, LossPercent: 0.06, RTTMS: 0.21, RTTMaxMS: 4, JitterMS: 1.25, JitterMaxMS: 30, SilenceMS: 131, SafeMS: 400}
	s := &Status{
		Schema: 1, Version: "1.0.0", Time: stamp(now), Health: Degraded, Problems: []string{"link ucast eth1 10.0.0.2 is dead: check the cable", "<script>alert(1)</script>"},
		Node: "alpha", State: "active", Holds: []string{"local"}, DeadtimeMS: 1000, KeepaliveMS: 100, Timing: timing,
		Peer: PeerView{Name: "beta", State: "active", Kind: "hapair", LastHeardMS: 40},
		Links: []LinkView{{ID: "bcast eth0", Kind: "bcast", State: "up", LastHeardMS: 40, Timing: timing},
			{ID: "ucast eth1 10.0.0.2", Kind: "ucast", State: "dead", LastHeardMS: 125000, Reason: "no such device", Timing: timing}},
		Pings: []PingView{{Name: "10.0.0.254", Up: true, LastHeardMS: 20}, {Name: "routers", LastHeardMS: -1}},
		Groups: []GroupView{
			{Name: "web", Node: "alpha", Owner: "alpha", State: "held", Since: stamp(now.Add(-time.Hour)), Reason: "beta is dead",
				Resources: []ResourceView{{Spec: "10.0.0.100/24/eth0", State: "running", Detail: "announced by 12 frames"}}},
			{Name: "mail", Node: "beta", Owner: "beta", State: "idle", Since: stamp(now.Add(-2 * time.Hour)), Reason: "handed over to beta"},
		},
		Transitions: []TransitionView{{Time: stamp(now.Add(-time.Hour)), What: "Acquiring resource group web", Reason: "beta is dead"}},
	}
	return s, []ownership{{now.Add(-5 * time.Hour), "web", "beta"}, {now.Add(-time.Hour - time.Second), "web", ""}, {now.Add(-time.Hour), "web", "alpha"}, {now.Add(-2 * time.Hour), "mail", "beta"}}
}

// TestPageIsSafeAndSelfContained: names are text, and nothing is loaded from anywhere.
func TestPageIsSafeAndSelfContained(t *testing.T) {
	text := string(renderPage(pageStatus()))
	if strings.Contains(text, "<script>alert") || !strings.Contains(text, "&lt;script&gt;alert(1)") {
		t.Error("a text became markup")
	}
	for _, m := range regexp.MustCompile(`(?:src|href|url)\s*[=(]\s*["']?([^"')> ]*)`).FindAllStringSubmatch(text, -1) {
		if m[1] != "data:," && m[1] != "/metrics" && m[1] != "/status.json" {
			t.Errorf("the page asks for %q", m[1])
		}
	}
	for _, want := range []string{"alpha is active", "DEGRADED", "bcast eth0", "0.21 ms there and back", "10.0.0.254", "beta is dead", "<title>web: nobody, from", "stroke-dasharray"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	if lone := string(renderPage(&Status{Node: "alpha", State: "active", Health: Healthy, Time: stamp(time.Now())}, nil)); !strings.Contains(lone, "HEALTHY") {
		t.Error("a node alone has no page")
	}
}

// browser is a real one without a window; the test is skipped where none is.
func browser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	require.Skip(t, "the status page in a browser", "there is none (Debian: chromium-headless-shell)")
	return ""
}

// look opens a page in the browser, as large as a window, lets it live for a while, and returns what became of it and what was to be seen. What
// the browser complained about is an error.
func look(t *testing.T, url string, wide int) (dom string, seen image.Image) {
	t.Helper()
	program := browser(t)
	shot := filepath.Join(t.TempDir(), "page.png")
	run := func(args ...string) string {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		all := append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--hide-scrollbars",
			"--user-data-dir=" + t.TempDir(), "--enable-logging=stderr", fmt.Sprintf("--window-size=%d,1200", wide)}, args...)
		cmd := exec.CommandContext(ctx, program, append(all, url)...)
		var out, said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &said
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s: %v\n%s", filepath.Base(program), err, said.String())
		}
		for line := range strings.Lines(said.String()) {
			if strings.Contains(line, "CONSOLE") {
				t.Errorf("the browser complains: %s", line)
			}
		}
		return out.String()
	}
	dom = run("--virtual-time-budget=5000", "--dump-dom")
	run("--screenshot=" + shot)
	f, err := os.Open(shot)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if seen, err = png.Decode(f); err != nil {
		t.Fatal(err)
	}
	return dom, seen
}

// share is how much of a picture is about of a colour.
func share(seen image.Image, r, g, b int) float64 {
	near := func(a uint32, b int) bool { d := int(a>>8) - b; return d > -24 && d < 24 }
	count, all := 0, seen.Bounds()
	for y := all.Min.Y; y < all.Max.Y; y++ {
		for x := all.Min.X; x < all.Max.X; x++ {
			if cr, cg, cb, _ := seen.At(x, y).RGBA(); near(cr, r) && near(cg, g) && near(cb, b) {
				count++
			}
		}
	}
	return float64(count) / float64(all.Dx()*all.Dy())
}

// TestPageInABrowser looks at the page of a pair with a real browser: it renews itself, is what it should be, and breaks no rule of its own.
func TestPageInABrowser(t *testing.T) {
	browser(t)
	alpha, _ := webPair(t, freePort(t))
	var asked atomic.Int32
	pages := alpha.web.handler(true)
	s := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			asked.Add(1)
		}
		pages.ServeHTTP(out, r)
	}))
	defer s.Close()
	dom, seen := look(t, s.URL+"/", 1100)
	for _, want := range []string{"alpha is active", "HEALTHY", "<svg", "web", "mail", "eth1", "Who held what"} {
		if !strings.Contains(dom, want) {
			t.Errorf("the browser does not show %q", want)
		}
	}
	if n := asked.Load(); n < 4 { // one for the picture, and in the browser's five seconds one every two
		t.Errorf("the page was asked for %d times: it does not renew itself", n)
	}
	if regexp.MustCompile(`No answer since \d`).MatchString(dom) {
		t.Error("the page says that the daemon does not answer")
	}
	blue, orange, green := share(seen, 0x25, 0x63, 0xeb), share(seen, 0xb4, 0x53, 0x09), share(seen, 0x1a, 0x7f, 0x37)
	if blue < 0.002 || orange < 0.002 || green < 0.0005 {
		t.Errorf("of the picture %.4f are blue (alpha's), %.4f orange (beta's), %.4f green", blue, orange, green)
	}
	keep(t, "healthy", seen)
}

// TestPageInABrowserOnATelephone: nothing of a page with everything wrong is wider than a narrow window.
func TestPageInABrowserOnATelephone(t *testing.T) {
	browser(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		out.Header().Set("Content-Security-Policy", pagePolicy)
		out.Write(renderPage(pageStatus()))
	})}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	for _, wide := range []int{500, 1100} {
		dom, seen := look(t, "http://"+l.Addr().String()+"/", wide)
		if !strings.Contains(dom, "DEGRADED") || seen.Bounds().Dx() != wide {
			t.Errorf("%d wide: the picture is %v", wide, seen.Bounds())
		}
		if red := share(seen, 0xcf, 0x22, 0x2e); red < 0.0003 {
			t.Errorf("%d wide: what is dead is not to be seen: %.5f of the picture are red", wide, red)
		}
		keep(t, fmt.Sprint("degraded-", wide), seen)
	}
}

// keep leaves a picture for a person to look at, where HEARTBEAT_PICTURES says.
func keep(t *testing.T, name string, seen image.Image) {
	t.Helper()
	dir := os.Getenv("HEARTBEAT_PICTURES")
	if dir == "" {
		return
	}
	f, err := os.Create(filepath.Join(dir, name+".png"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, seen); err != nil {
		t.Fatal(err)
	}
}

// TestMetricsPlaces: where metrics may be told, and where not.
func TestMetricsPlaces(t *testing.T) {
	for value, want := range map[string]string{
		"off": "", "127.0.0.1:9694": "127.0.0.1:9694", "localhost:9694": "127.0.0.1:9694", "[::1]:9694": "[::1]:9694", "127.0.0.2:1": "127.0.0.2:1",
		"unix:/run/heartbeat/metrics": "unix:/run/heartbeat/metrics", "0.0.0.0:9694": "refused", ":9694": "refused", "10.0.0.1:9694": "refused", "9694": "refused",
		"127.0.0.1:0": "refused", "127.0.0.1:70000": "refused", "unix:metrics": "refused", "example.org:80": "refused",
	} {
		dir := t.TempDir()
		toml := "nodes = [\"alpha\", \"beta\"]\nmetrics = \"" + value + "\"\n[link.eth1]\nkind = \"bcast\"\n"
		for name, text := range map[string]string{"heartbeat.toml": toml, "authkeys": "auth 1\n1 sha1 Kv9x-fixture-2f81c7d4\n"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c, faults := config.Load(dir, config.WithNode("alpha"))
		got := c.Metrics
		if err := faults.Err(); err != nil {
			got = "refused"
			if !strings.Contains(err.Error(), "heartbeat.toml:2:11") || !strings.Contains(err.Error(), "127.0.0.1:9694") {
				t.Errorf("%q: %v", value, err)
			}
		}
		if got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}
