package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"hapair/heartbeat/daemon"
)

// watchPatience is how long one status may take before watch says that none came.
const watchPatience = 2 * time.Second

func (a *app) watchCommand() *cobra.Command {
	interval := time.Second
	c := &cobra.Command{
		Use: "watch", Short: "Show the status live in the terminal, with the last transitions", Args: cobra.NoArgs,
		Long: "Show who is active for what, the links and the groups, renewed every second, and below them the last transitions as they come. It asks the\n" +
			"running daemon of this node and changes nothing. Up and down scroll through the transitions, q ends it.",
		RunE: func(*cobra.Command, []string) error {
			if interval < 100*time.Millisecond {
				return fmt.Errorf("--interval %v: from 100ms on", interval)
			}
			if _, err := unix.IoctlGetWinsize(int(os.Stdout.Fd()), unix.TIOCGWINSZ); err != nil {
				return &exit{exitUsage, fmt.Errorf("watch needs a terminal; for a file or a pipe there is heartbeat status")}
			}
			paths := a.dirs.paths()
			fetch := func() (*daemon.Status, error) {
				ctx, cancel := context.WithTimeout(context.Background(), watchPatience)
				defer cancel()
				return daemon.FetchStatus(ctx, paths)
			}
			_, err := tea.NewProgram(newWatch(fetch, interval)).Run()
			if err != nil {
				return &exit{exitFailure, err}
			}
			return nil
		},
	}
	c.Flags().Var((*timeFlag)(&interval), "interval", "how often the daemon is asked")
	return c
}

// watch is what the terminal shows: a model in the sense of bubbletea, changed by messages only.
type watch struct {
	fetch    func() (*daemon.Status, error)
	interval time.Duration

	width, height int
	status        *daemon.Status // the last one that came; nil before the first
	err           error          // why none came since
	transitions   []daemon.TransitionView
	back          int // how many lines the transitions are scrolled back
}

// The size of a terminal that does not tell, and how many transitions are kept to scroll back to.
const (
	watchWidth, watchHeight = 80, 24
	watchKept               = 1000
)

// newWatch makes the model; fetch is asked every interval, in a goroutine of bubbletea's.
func newWatch(fetch func() (*daemon.Status, error), interval time.Duration) watch {
	return watch{fetch: fetch, interval: interval, width: watchWidth, height: watchHeight}
}

// fetched is the message that a status came, or did not.
type fetched struct {
	status *daemon.Status
	err    error
}

// due is the message that it is time to ask again.
type due struct{}

// ask asks the daemon.
func (w watch) ask() tea.Msg {
	s, err := w.fetch()
	return fetched{s, err}
}

// Init asks for the first status.
func (w watch) Init() tea.Cmd { return w.ask }

// Update takes a key, a new size, or a status.
func (w watch) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.KeyPressMsg:
		switch msg.String() {
		case "q", "esc", "ctrl+c":
			return w, tea.Quit
		case "up", "k":
			w.back++
		case "down", "j":
			w.back--
		case "pgup":
			w.back += w.height / 2
		case "pgdown":
			w.back -= w.height / 2
		case "home", "g":
			w.back = len(w.transitions)
		case "end", "G":
			w.back = 0
		}
		w.back = max(0, min(w.back, len(w.transitions)-1))
	case tea.WindowSizeMsg:
		w.width, w.height = msg.Width, msg.Height
	case fetched:
		if w.err = msg.err; msg.err == nil {
			w.status = msg.status
			w.remember(msg.status.Transitions)
		}
		return w, tea.Tick(w.interval, func(time.Time) tea.Msg { return due{} })
	case due:
		return w, w.ask
	}
	return w, nil
}

// remember appends the transitions that are new. A status brings the last ones only.
func (w *watch) remember(list []daemon.TransitionView) {
	fresh := list
	if n := len(w.transitions); n > 0 {
		if i := slices.Index(list, w.transitions[n-1]); i >= 0 {
			fresh = list[i+1:]
		}
	}
	w.transitions = append(slices.Clone(w.transitions), fresh...)
	if extra := len(w.transitions) - watchKept; extra > 0 {
		w.transitions = w.transitions[extra:]
	}
	if w.back > 0 {
		w.back += len(fresh) // what a person reads stays where it is
	}
}

// The styles.
var (
	styleTitle = lipgloss.NewStyle().Bold(true)
	styleFaint = lipgloss.NewStyle().Faint(true)
	styleGood  = lipgloss.NewStyle().Foreground(lipgloss.Green)
	styleDoubt = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
	styleBad   = lipgloss.NewStyle().Foreground(lipgloss.Red).Bold(true)
)

// healthStyles colour a verdict.
var healthStyles = map[daemon.Health]lipgloss.Style{daemon.Healthy: styleGood, daemon.Degraded: styleDoubt, daemon.Failed: styleBad}

// View draws everything.
func (w watch) View() tea.View {
	v := tea.NewView(w.render())
	v.AltScreen = true
	v.WindowTitle = "heartbeat"
	return v
}

// render is the screen as text: exactly as many lines as the terminal has, none wider than it.
func (w watch) render() string {
	top := w.top()
	room := max(0, w.height-1)
	top = top[:min(len(top), room)]
	lines := append(top, w.tail(room-len(top))...)
	for len(lines) < room {
		lines = append(lines, "")
	}
	lines = append(lines, styleFaint.Render("q quits, up and down scroll; renewed every "+w.interval.String()))
	cut := lipgloss.NewStyle().MaxWidth(max(1, w.width))
	for i, l := range lines {
		lines[i] = cut.Render(l)
	}
	return strings.Join(lines, "\n")
}

// top is what stands above the transitions.
func (w watch) top() []string {
	s := w.status
	if s == nil {
		if w.err != nil {
			return []string{styleBad.Render(w.err.Error())}
		}
		return []string{"asking the daemon…"}
	}
	most := max(2, (w.height-8)/4) // lines of each section, so that transitions have room too
	head := fmt.Sprintf("%s is %s%s", s.Node, s.State, s.HoldsPhrase(s.Node))
	lines := []string{styleTitle.Render(head+": ") + healthStyles[s.Health].Render(strings.ToUpper(string(s.Health))) + "  " + styleFaint.Render(clock(s.Time))}
	if w.err != nil {
		lines = append(lines, styleBad.Render("no answer since then: "+w.err.Error()))
	}
	lines = append(lines, bounded(w.problems(), 2*most)...)
	if p := s.Peer; p.Name != "" {
		text := fmt.Sprintf("peer %s is %s%s", p.Name, p.State, s.HoldsPhrase(p.Name))
		if p.Kind != "" {
			text += " (" + p.Kind + ")"
		}
		lines = append(lines, text+", heard "+ago(p.LastHeardMS))
	}
	if links := w.links(); len(links) > 0 {
		lines = append(append(lines, "", styleTitle.Render("links")), bounded(links, most)...)
	}
	if groups := w.groups(); len(groups) > 0 {
		lines = append(append(lines, "", styleTitle.Render("resource groups")), bounded(groups, most)...)
	}
	return lines
}

// bounded is a list with no more than so many lines; the last one then says how many there would be.
func bounded(list []string, most int) []string {
	if len(list) <= most {
		return list
	}
	return append(slices.Clone(list[:most-1]), styleFaint.Render(fmt.Sprintf("  … and %d more", len(list)-most+1)))
}

// problems are what is wrong, broken to the width.
func (w watch) problems() (lines []string) {
	for _, p := range w.status.Problems {
		wrapped := strings.Split(lipgloss.NewStyle().Width(max(20, w.width-4)).Render(p), "\n")
		for i, l := range wrapped {
			mark := "    "
			if i == 0 {
				mark = "  ! "
			}
			lines = append(lines, healthStyles[w.status.Health].Render(mark+strings.TrimRight(l, " ")))
		}
	}
	return lines
}

// screen is the terminal as the other commands know it.
func (w watch) screen() screen { return screen{width: max(narrowest, w.width), colour: true} }

// links is a line for each link and ping node, and another for what is wrong with it where one is too short.
func (w watch) links() (lines []string) {
	var rows []row
	for _, l := range w.status.Links {
		r := row{cells: []string{l.ID, stateStyle(l.State).Render(l.State), "last frame " + ago(l.LastHeardMS), "", "", ""}}
		if l.State != "up" {
			r.remark = l.Reason
		} else if t := l.Timing; t != nil {
			r.cells[3], r.cells[4], r.cells[5] = percent(t.LossPercent)+" lost", "round trip "+span(t.RTTMS), "jitter "+span(t.JitterMS)
		}
		rows = append(rows, r)
	}
	for _, p := range w.status.Pings {
		state := "dead"
		if p.Up {
			state = "up"
		}
		rows = append(rows, row{cells: []string{"ping " + p.Name, stateStyle(state).Render(state), "last reply " + ago(p.LastHeardMS)}})
	}
	return w.screen().table(rows, 2, 3, 4, 5)
}

// groups is a line for each group, and another for the reason where one is too short.
func (w watch) groups() []string {
	var rows []row
	for _, g := range w.status.Groups {
		where, style := "on nobody", styleBad
		switch {
		case g.Double:
			where = "on BOTH"
		case g.Owner != "":
			where, style = "on "+g.Owner, styleGood
		}
		state := g.State
		if state == "idle" || state == "held" {
			state = ""
		}
		rows = append(rows, row{cells: []string{g.Name, style.Render(where), state, "since " + clock(g.Since)}, remark: g.Reason})
	}
	return w.screen().table(rows, 3)
}

// tail is the transitions that fit into so many lines, newest last.
func (w watch) tail(room int) (lines []string) {
	const heading = 2
	if room <= heading || len(w.transitions) == 0 {
		return nil
	}
	end := len(w.transitions) - min(w.back, len(w.transitions)-1)
	begin := max(0, end-(room-heading))
	title := "last transitions"
	if w.back > 0 {
		title += fmt.Sprintf(" (%d newer below)", len(w.transitions)-end)
	}
	lines = []string{"", styleTitle.Render(title)}
	for _, t := range w.transitions[begin:end] {
		text := "  " + styleFaint.Render(clock(t.Time)) + "  " + t.What
		if t.Reason != "" {
			text += styleFaint.Render(" (" + t.Reason + ")")
		}
		lines = append(lines, text)
	}
	return lines
}
