package main

import (
	"io"
	"os"
	"strconv"
	"strings"

	"charm.land/lipgloss/v2"
	"golang.org/x/sys/unix"
)

// screen is where text for a person goes: how wide it is, 0 where lines may have any length, and whether it shows colours.
type screen struct {
	width  int
	colour bool
}

// narrowest is the width below which nothing is broken any further.
const narrowest = 40

// screenOf finds out what a writer is. A file or a pipe has no width, unless COLUMNS says one, and no colours (nor has a terminal with
// NO_COLOR).
func screenOf(w io.Writer) screen {
	var s screen
	if f, ok := w.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil {
			s.width, s.colour = int(size.Col), os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
		}
	}
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		s.width = n
	}
	if s.width > 0 {
		s.width = max(s.width, narrowest)
	}
	return s
}

// paint gives text a style where there are colours.
func (s screen) paint(style lipgloss.Style, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return style.Render(text)
}

// stateStyle is the colour of a state, of a node, link, group or resource.
func stateStyle(state string) lipgloss.Style {
	switch state {
	case "active", "standby", "up", "held", "running", "healthy":
		return styleGood
	case "dead", "unusable", "failed", "stuck", "unreachable", "oneway", "nobody", "BOTH":
		return styleBad
	case "idle", "stopped", "":
		return lipgloss.NewStyle()
	}
	return styleDoubt
}

// wrap breaks text so that it fits behind a first mark and an indent as wide.
func (s screen) wrap(mark, text string) (lines []string) {
	room := s.width - lipgloss.Width(mark)
	if s.width == 0 || lipgloss.Width(mark)+lipgloss.Width(text) <= s.width {
		return []string{mark + text}
	}
	indent := strings.Repeat(" ", lipgloss.Width(mark))
	line := ""
	for _, word := range strings.Fields(text) {
		for lipgloss.Width(word) > room { // a path, or the like: cut where it has to be
			r := []rune(word)
			free := room - lipgloss.Width(line)
			if line != "" {
				free--
			}
			if free < room/2 && line != "" {
				lines, line = append(lines, line), ""
				continue
			}
			line = strings.TrimLeft(line+" "+string(r[:free]), " ")
			word = string(r[free:])
			lines, line = append(lines, line), ""
		}
		if line != "" && lipgloss.Width(line)+1+lipgloss.Width(word) > room {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimLeft(line+" "+word, " ")
	}
	if line != "" {
		lines = append(lines, line)
	}
	for i := range lines {
		if i == 0 {
			lines[i] = mark + lines[i]
		} else {
			lines[i] = indent + lines[i]
		}
	}
	return lines
}

// row is one line of a table: cells, and a remark behind them that goes to lines of its own where it does not fit.
type row struct {
	cells  []string
	remark string
	indent int
}

// table aligns rows. Where they are too wide columns go, the last in drop first, and then remarks go below their rows.
func (s screen) table(rows []row, drop ...int) (lines []string) {
	shown := map[int]bool{}
	widths := map[int]int{}
	for _, r := range rows {
		for i, c := range r.cells {
			shown[i] = true
			widths[i] = max(widths[i], lipgloss.Width(c))
		}
	}
	total := func() (n int) {
		for i, w := range widths {
			if shown[i] && w > 0 {
				n += w + 2
			}
		}
		return n
	}
	for k := len(drop) - 1; k >= 0 && s.width > 0 && total() > s.width; k-- {
		shown[drop[k]] = false
	}
	for _, r := range rows {
		line := strings.Repeat(" ", r.indent)
		for i, c := range r.cells {
			if shown[i] && widths[i] > 0 {
				line += "  " + c + strings.Repeat(" ", widths[i]-lipgloss.Width(c))
			}
		}
		bare := strings.TrimRight(line, " ")
		switch {
		case r.remark == "":
			lines = append(lines, bare)
		case s.width == 0 || lipgloss.Width(line)+2+lipgloss.Width(r.remark) <= s.width:
			lines = append(lines, line+"  "+r.remark)
		default:
			lines = append(append(lines, bare), s.wrap(strings.Repeat(" ", r.indent+6), r.remark)...)
		}
	}
	return lines
}
