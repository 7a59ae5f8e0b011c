package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// WriteClassic replaces the heartbeat.toml of a directory by an ha.cf and a haresources that say the same, as far as those can: lost names
// what they cannot. authkeys stays as it is. Where there is no heartbeat.toml nothing is done.
func WriteClassic(dir string) (lost []string, err error) {
	path := filepath.Join(dir, tomlFile)
	if _, err := os.Lstat(path); err != nil {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	c, faults := readTOML(dir, "", text)
	if err := relevant(faults, c); err != nil {
		return nil, fmt.Errorf("correct this first:\n%w", err)
	}
	main, lost := c.classic()
	for name, text := range map[string]string{classicFile: main, "haresources": c.Table.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, fmt.Errorf("write the three files: %w", err)
		}
	}
	if err := os.Remove(path); err != nil {
		return nil, fmt.Errorf("write the three files: %w", err)
	}
	return lost, nil
}

// classic is the ha.cf of a configuration that was read from heartbeat.toml.
func (c *Config) classic() (text string, lost []string) {
	var b strings.Builder
	line := func(words ...string) { b.WriteString(strings.TrimSpace(strings.Join(words, " ")) + "\n") }
	line(append([]string{"node"}, c.Nodes...)...)
	for _, g := range c.Pragmas {
		if g.Key != fenceLevel {
			line(pragmaMark, g.Key+"="+g.Value)
		}
	}
	for _, d := range basicScalars() {
		if raw, found := c.Directive(d); found && raw != "" {
			line(d, raw)
		}
	}
	line("auto_failback", c.AutoFailback)
	lost = c.classicLinks(line)
	for _, g := range c.Pings {
		if g.Kind == "ping_group" {
			line(append([]string{"ping_group", g.Name}, g.Hosts...)...)
			continue
		}
		line(g.Kind, g.Hosts[0])
	}
	for _, d := range c.orderedDevices() {
		line(pragmaMark, fmt.Sprintf("%s=%d", fenceLevel, max(d.Level, 1)))
		if d.File != "" {
			line("stonith", d.Type, d.File)
		} else {
			line("stonith_host", d.node, d.Type, d.Params)
		}
	}
	for _, e := range c.Env {
		if strings.ContainsAny(e.Value, " \t,#") {
			lost = append(lost, "env "+e.Name+": ha.cf cannot hold blanks, commas and # in a value")
			continue
		}
		line("env", e.Name+"="+e.Value)
	}
	for _, r := range c.Respawn {
		line("respawn", r.User, r.Command)
	}
	for _, r := range c.FailFast {
		line("failfast", r.User, r.Command)
	}
	if c.IPFail {
		line("respawn hacluster /usr/lib/heartbeat/ipfail")
	}
	for _, a := range c.APIAuth {
		if a.Line > 0 {
			line("apiauth", rawAPIAuth(a))
		}
	}
	for _, g := range c.Table.Groups {
		if g.Name != g.Resources[0].Spec {
			lost = append(lost, fmt.Sprintf("the name of the group %s: in haresources its first resource names it, %s", g.Name, g.Resources[0].Spec))
		}
	}
	return b.String(), lost
}

// basicScalars are the directives with one value whose raw text is all there is to say.
func basicScalars() (list []string) {
	several := append([]string{"node", "auto_failback", "nice_failback", "stonith", "stonith_host", "respawn", "failfast", "apiauth", "env", "udpport", "baud"}, linkKinds...)
	several = append(several, "ping", "ping6", "ping_group")
	for _, d := range directives() {
		if !slices.Contains(several, d.name) && d.without == "" && without[d.name] == "" {
			list = append(list, d.name)
		}
	}
	return list
}

// classicLinks writes the links; the ports of links of one kind over UDP are one in ha.cf.
func (c *Config) classicLinks(line func(...string)) (lost []string) {
	ports, baud, said := map[string]int{}, 0, defaultPort
	if _, given := c.Directive("udpport"); given {
		said = 0
	}
	for _, l := range c.Links {
		loop := map[bool]string{true: "1", false: "0"}[l.Loop]
		switch {
		case l.Kind == "serial" && baud != 0 && l.Baud != baud:
			lost = append(lost, fmt.Sprintf("baud %d of %s: ha.cf has one speed for all serial lines", l.Baud, l.ID))
		case l.Kind == "serial" && baud == 0:
			baud = l.Baud
			line("baud", strconv.Itoa(baud))
		case l.Group == "" && l.Kind != "serial" && ports[l.Kind] == 0:
			if ports[l.Kind] = l.Port; l.Port != said {
				said = l.Port
				line("udpport", strconv.Itoa(said))
			}
		case l.Group == "" && l.Kind != "serial" && ports[l.Kind] != l.Port:
			lost = append(lost, fmt.Sprintf("port %d of %s: ha.cf has one port for all %s links", l.Port, l.ID, l.Kind))
		}
		switch {
		case l.Group != "":
			line(l.Kind, l.Device, l.Group, strconv.Itoa(l.Port), strconv.Itoa(l.TTL), loop)
		default:
			line(l.Kind, l.Device, l.Peer)
		}
	}
	return lost
}

// orderedDevices are all fencing devices, whoever has them, in the order of the file.
func (c *Config) orderedDevices() (list []usedDevice) {
	for _, s := range c.Stoniths {
		list = append(list, usedDevice{Device{Type: s.Type, File: s.File, Level: s.Level, Line: s.Line}, "*"})
	}
	for _, h := range c.StonithHosts {
		list = append(list, usedDevice{Device{Type: h.Type, Params: h.Params, Level: h.Level, Line: h.Line}, h.Host})
	}
	slices.SortStableFunc(list, func(a, b usedDevice) int { return a.Line - b.Line })
	return list
}
