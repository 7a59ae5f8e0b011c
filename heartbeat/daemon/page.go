package daemon

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html"
	"slices"
	"strings"
	"time"
)

// The page is one text with everything in it: it loads nothing, and a browser on a machine without a way out shows it.
var (
	//go:embed page.css
	pageStyle string
	//go:embed page.js
	pageScript string

	// pagePolicy lets a browser take nothing but what the page brings along, and ask nobody but this daemon.
	pagePolicy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-" + scriptSum(pageScript) + "'; connect-src 'self'; img-src data:; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

func scriptSum(script string) string {
	sum := sha256.Sum256([]byte(script))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// page builds the text.
type page struct {
	strings.Builder
	s   *Status
	now time.Time
}

// f writes formatted text: every argument that is a string is made safe, those of type markup are taken as they are.
func (p *page) f(format string, args ...any) {
	for i, a := range args {
		if text, ok := a.(string); ok {
			args[i] = html.EscapeString(text)
		}
	}
	fmt.Fprintf(p, format, args...)
}

// renderPage is the status page.
func renderPage(s *Status, changes []ownership) []byte {
	p := &page{s: s}
	p.now, _ = time.Parse(time.RFC3339, s.Time)
	p.f("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">")
	p.f("<title>%s: %s</title><link rel=\"icon\" href=\"data:,\">", s.Node, string(s.Health))
	p.WriteString("<style>" + pageStyle + "</style></head><body><div id=\"gone\" role=\"alert\"></div>\n")
	p.f("<main>\n")
	p.verdict()
	p.picture()
	p.groups()
	p.timeline(changes)
	p.links()
	p.transitions()
	p.f("<p class=\"faint\">hapair %s on %s; renewed every two seconds. <a href=\"/metrics\">metrics</a>, <a href=\"/status.json\">status.json</a></p>\n</main>\n", s.Version, s.Node)
	p.WriteString("<script>" + pageScript + "</script></body></html>\n")
	return []byte(p.String())
}

func (p *page) verdict() {
	s := p.s
	holds := s.HoldsPhrase(s.Node)
	p.f("<header class=\"%s\"><h1>%s is %s%s: <strong>%s</strong></h1>", string(s.Health), s.Node, s.State, holds, strings.ToUpper(string(s.Health)))
	p.f("<span class=\"faint\">%s</span></header>\n", p.now.Format("2006-01-02 15:04:05 MST"))
	if len(s.Problems) == 0 {
		return
	}
	p.f("<ul class=\"problems\">")
	for _, text := range s.Problems {
		p.f("<li>%s</li>", text)
	}
	p.f("</ul>\n")
}

// colour is the class of a state.
func colour(state string) string {
	switch state {
	case "active", "standby", "up", "held", "running", "idle", "stopped":
		return "good"
	case "dead", "unusable", "failed", "stuck", "unreachable", "oneway":
		return "bad"
	}
	return "doubt"
}

// The measures of the picture.
const (
	pictureWidth = 900
	boxWidth     = 250
	rowHeight    = 34
)

// picture draws the two nodes, what each holds, and what joins them.
func (p *page) picture() {
	s := p.s
	held := map[string][]GroupView{}
	for _, g := range s.Groups {
		held[g.Owner] = append(held[g.Owner], g)
	}
	rows := max(len(held[s.Node]), len(held[s.Peer.Name]), len(s.Links), 1)
	height := 90 + rows*rowHeight
	top := 16
	full := height
	if len(s.Pings) > 0 {
		full += 56
	}
	p.f("<h2>The pair</h2>\n<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">\n", pictureWidth, full+top, "the two nodes and the links between them")
	if s.Peer.Name != "" {
		for i, l := range s.Links {
			p.wire(l, top+78+i*rowHeight)
		}
	}
	p.box(0, top, height-16, s.Node, s.State, "this node", held[s.Node], "a")
	if s.Peer.Name != "" {
		p.box(pictureWidth-boxWidth, top, height-16, s.Peer.Name, s.Peer.State, "heard "+agoPhrase(s.Peer.LastHeardMS), held[s.Peer.Name], "b")
	}
	for i, q := range s.Pings {
		x, state := 20+i*220, "dead"
		if q.Up {
			state = "up"
		}
		p.f("<polyline points=\"%d,%d %d,%d %d,%d %d,%d\" fill=\"none\" stroke=\"var(--%s)\" stroke-width=\"2\"%s/>",
			20, height, 20, height+12, x, height+12, x, height+30, colour(state), dashed(state))
		p.f("<circle cx=\"%d\" cy=\"%d\" r=\"7\" fill=\"var(--%s)\"/><text x=\"%d\" y=\"%d\">ping %s: %s</text>\n", x, height+30, colour(state), x+12, height+35, q.Name, state)
	}
	p.f("</svg>\n")
}

// box draws a node.
func (p *page) box(x, y, height int, name, state, note string, groups []GroupView, hue string) {
	p.f("<g><rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"8\" fill=\"var(--back)\" stroke=\"var(--%s)\" stroke-width=\"3\"/>", x+2, y, boxWidth-4, height, colour(state))
	p.f("<text class=\"name\" x=\"%d\" y=\"%d\">%s</text>", x+16, y+28, shorten(name, 24))
	p.f("<text x=\"%d\" y=\"%d\"><tspan class=\"%s\">%s</tspan><tspan class=\"faint\"> · %s</tspan></text>", x+16, y+48, colour(state), state, note)
	for i, g := range groups {
		top := y + 62 + i*rowHeight
		p.f("<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"5\" fill=\"var(--%s)\"/>", x+12, top, boxWidth-28, rowHeight-8, hue)
		p.f("<text x=\"%d\" y=\"%d\" style=\"fill:var(--card);font-weight:600\">%s</text>", x+20, top+18, shorten(g.Name, 28))
	}
	p.f("</g>\n")
}

// wire draws a link.
func (p *page) wire(l LinkView, y int) {
	left, right := boxWidth, pictureWidth-boxWidth
	p.f("<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" stroke=\"var(--%s)\" stroke-width=\"3\"%s/>", left, y, right, y, colour(l.State), dashed(l.State))
	text := ""
	if t := l.Timing; t != nil && l.State == "up" {
		if t.RTTMS >= 0 {
			text = fmt.Sprintf(" · %s there and back", milliseconds(t.RTTMS))
		}
		if t.LossPercent > 0 {
			text += fmt.Sprintf(" · %.2g %% lost", t.LossPercent)
		}
	}
	p.f("<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s: <tspan class=\"%s\">%s</tspan><tspan class=\"faint\">%s</tspan></text>\n",
		pictureWidth/2, y-7, shorten(l.ID, 34), colour(l.State), l.State, text)
}

// dashed is how what is not well is drawn, for who does not see the colours.
func dashed(state string) markup {
	if colour(state) == "good" {
		return ""
	}
	return " stroke-dasharray=\"7 6\""
}

// markup is text that is no text of others.
type markup string

func (p *page) groups() {
	if len(p.s.Groups) == 0 {
		return
	}
	p.f("<h2>Resource groups</h2>\n<div class=\"table\"><table><tr><th>group</th><th>on</th><th>since</th><th>why</th></tr>\n")
	for _, g := range p.s.Groups {
		where, class := g.Owner, "good"
		switch {
		case g.Double:
			where, class = "both nodes", "bad"
		case where == "":
			where, class = "nobody", "bad"
		}
		if g.State != "held" && g.State != "idle" {
			where, class = where+" ("+g.State+" here)", "doubt"
		}
		p.f("<tr><td>%s</td><td class=\"%s\">%s</td><td>%s</td><td>%s</td></tr>\n", g.Name, class, where, p.clock(g.Since), g.Reason)
		for _, r := range g.Resources {
			if g.Owner != p.s.Node && r.Error == "" && g.State == "idle" {
				continue
			}
			text := r.Error
			if text == "" {
				text = r.Detail
			}
			if r.Doing != "" {
				text = fmt.Sprintf("%s for %s; %s", r.Doing, agePhrase(r.DoingMS), r.LastOutput)
			}
			p.f("<tr class=\"resource\"><td>%s</td><td class=\"%s\">%s</td><td>%s</td><td class=\"faint\">%s</td></tr>\n", r.Spec, colour(r.State), r.State, p.clock(r.Since), text)
		}
	}
	p.f("</table></div>\n")
}

func (p *page) links() {
	if len(p.s.Links) == 0 {
		return
	}
	p.f("<h2>Links</h2>\n<div class=\"table\"><table><tr><th>link</th><th>state</th><th class=\"number\">heard</th><th class=\"number\">lost</th>" +
		"<th class=\"number\">there and back</th><th class=\"number\">late by</th><th class=\"number\">longest silence</th><th></th></tr>\n")
	row := func(name, state, heard string, t *TimingView, why string) {
		p.f("<tr><td>%s</td><td class=\"%s\">%s</td><td class=\"number\">%s</td>", name, colour(state), state, heard)
		if t == nil {
			p.f("<td></td><td></td><td></td><td></td>")
		} else {
			p.f("<td class=\"number\">%s</td><td class=\"number\">%s</td><td class=\"number\">%s</td><td class=\"number\">%s</td>",
				fmt.Sprintf("%.2g %%", t.LossPercent), milliseconds(t.RTTMS), milliseconds(t.JitterMS), milliseconds(t.SilenceMS))
		}
		p.f("<td>%s</td></tr>\n", why)
	}
	for _, l := range p.s.Links {
		row(l.ID, l.State, agoPhrase(l.LastHeardMS), l.Timing, l.Reason)
	}
	for _, q := range p.s.Pings {
		state := "dead"
		if q.Up {
			state = "up"
		}
		row("ping "+q.Name, state, agoPhrase(q.LastHeardMS), nil, "")
	}
	p.f("</table></div>\n")
	if t := p.s.Timing; t != nil && t.SafeMS > 0 {
		p.f("<p class=\"faint\">%s</p>\n", DeadtimeAdvice(p.s))
	}
}

func (p *page) transitions() {
	if len(p.s.Transitions) == 0 {
		return
	}
	p.f("<h2>Last transitions</h2>\n<div class=\"table\"><table><tr><th>when</th><th>what</th><th>why</th></tr>\n")
	for _, t := range slices.Backward(p.s.Transitions) {
		p.f("<tr><td>%s</td><td>%s</td><td>%s</td></tr>\n", p.clock(t.Time), t.What, t.Reason)
	}
	p.f("</table></div>\n")
}

// shownChanges is how many of the last changes of a group the time line goes back to.
const shownChanges = 8

// timeline draws who held each group when.
func (p *page) timeline(changes []ownership) {
	begin := p.now.Add(-10 * time.Minute)
	for _, g := range p.s.Groups {
		var of []time.Time
		for _, c := range changes {
			if c.Group == g.Name {
				of = append(of, c.At)
			}
		}
		if len(of) > 1 { // the first is where knowledge begins
			if first := of[max(1, len(of)-shownChanges)]; first.Before(begin) {
				begin = first.Add(-p.now.Sub(first) / 20)
			}
		}
	}
	span := p.now.Sub(begin)
	if len(p.s.Groups) == 0 || span <= 0 {
		return
	}
	const left, width = 190, pictureWidth - 190 - 10
	at := func(t time.Time) float64 {
		return left + float64(width)*min(1, max(0, float64(t.Sub(begin))/float64(span)))
	}
	height := 30 + len(p.s.Groups)*rowHeight + 18
	p.f("<h2>Who held what</h2>\n<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">\n", pictureWidth, height, "time line of the groups' owners")
	for i, g := range p.s.Groups {
		y := 10 + i*rowHeight
		p.f("<text x=\"10\" y=\"%d\">%s</text>", y+17, shorten(g.Name, 22))
		p.f("<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"none\" stroke=\"var(--line)\"/>", left, y, width, rowHeight-10)
		var of []ownership
		for _, c := range changes {
			if c.Group == g.Name {
				of = append(of, c)
			}
		}
		for _, nobody := range []bool{false, true} { // a short time without service is to be seen, above what it lies between
			for k, c := range of {
				end := p.now
				if k+1 < len(of) {
					end = of[k+1].At
				}
				switch x, w := at(c.At), at(end)-at(c.At); {
				case (c.Owner == "") != nobody || !end.After(begin):
				case nobody:
					p.bar(c, end, x, max(w, 3), y)
				default:
					p.bar(c, end, x, max(w, 1), y)
				}
			}
		}
		p.f("\n")
	}
	y := 10 + len(p.s.Groups)*rowHeight + 12
	p.f("<text class=\"faint\" x=\"%d\" y=\"%d\">%s</text><text class=\"faint\" x=\"%d\" y=\"%d\" text-anchor=\"end\">now</text>", left, y, p.clock(stamp(begin)), left+width, y)
	p.f("<text x=\"%d\" y=\"%d\" text-anchor=\"middle\"><tspan style=\"fill:var(--a)\">■ %s</tspan>  <tspan style=\"fill:var(--b)\">■ %s</tspan>  <tspan class=\"bad\">■ nobody</tspan></text></svg>\n",
		left+width/2, y, p.s.Node, p.s.Peer.Name)
}

// bar is one stretch of the time line.
func (p *page) bar(c ownership, end time.Time, x, width float64, y int) {
	fill, who := "var(--bad)", "nobody"
	switch c.Owner {
	case "":
	case elsewhere:
		fill, who = "var(--line)", "not "+p.s.Node
	case p.s.Node:
		fill, who = "var(--a)", c.Owner
	default:
		fill, who = "var(--b)", c.Owner
	}
	p.f("<rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"%s\"><title>%s: %s, from %s for %s</title></rect>", x, y, width, rowHeight-10, fill,
		c.Group, who, p.clock(stamp(c.At)), agePhrase(end.Sub(c.At).Milliseconds()))
}

// clock renders a time of a status: of today without the date.
func (p *page) clock(text string) string {
	t, err := time.Parse(time.RFC3339, text)
	switch {
	case err != nil:
		return text
	case t.Year() == p.now.Year() && t.YearDay() == p.now.YearDay():
		return t.Format("15:04:05")
	}
	return t.Format("2006-01-02 15:04:05")
}

// agoPhrase renders an age.
func agoPhrase(ms int64) string {
	if ms < 0 {
		return "never"
	}
	return agePhrase(ms) + " ago"
}

// milliseconds renders a time of a TimingView.
func milliseconds(ms float64) string {
	switch {
	case ms < 0:
		return "?"
	case ms < 10:
		return fmt.Sprintf("%.2g ms", ms)
	case ms < 10000:
		return fmt.Sprintf("%.0f ms", ms)
	}
	return fmt.Sprintf("%.1f s", ms/1000)
}

// shorten cuts a name to so many characters.
func shorten(name string, most int) string {
	if r := []rune(name); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return name
}
