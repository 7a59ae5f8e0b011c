package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hapair/haresources"
	"hapair/heartbeat/host"
)

// syncLink is one way that connections are told to the other node.
type syncLink struct {
	device string
	peer   netip.Addr // invalid: everybody who listens to the multicast group
}

// links are those given, or the pair's own: heartbeat links with a device, each once. conntrackd cannot have multicast beside links with
// a peer, so those are all where there is one.
func (c *conntrack) links() (list []syncLink, err error) {
	if c.device != "" {
		l := syncLink{device: c.device}
		if c.peer != "" {
			if l.peer, err = netip.ParseAddr(c.peer); err != nil {
				return nil, fmt.Errorf("peer: %q is not an address", c.peer)
			}
		}
		return []syncLink{l}, nil
	}
	seen := map[string]int{}
	for _, p := range c.env.now().Pass {
		if p.Device == "" || p.Port == 0 {
			continue
		}
		at, known := seen[p.Device]
		if !known {
			seen[p.Device] = len(list)
			list = append(list, syncLink{device: p.Device, peer: p.Peer})
		} else if !list[at].peer.IsValid() {
			list[at].peer = p.Peer
		}
	}
	if known := func(l syncLink) bool { return l.peer.IsValid() }; slices.ContainsFunc(list, known) {
		list = slices.DeleteFunc(list, func(l syncLink) bool { return !known(l) })
	}
	if len(list) == 0 {
		return nil, errors.New("the pair has no link over a network that connections could be sent by")
	}
	return list, nil
}

// section is the part of the configuration for a link.
func (l syncLink) section(port int, first bool) (string, error) {
	i, err := host.InterfaceByName(l.device)
	if err != nil {
		return "", err
	}
	own, err := l.ownAddress(i)
	if err != nil {
		return "", err
	}
	mode := ""
	if first {
		mode = " Default"
	}
	family := "IPv4"
	if own.Is6() {
		family = "IPv6"
	}
	const buffers = "\t\tSndSocketBuffer 1249280\n\t\tRcvSocketBuffer 1249280\n\t\tChecksum on\n\t}\n"
	if !l.peer.IsValid() {
		return fmt.Sprintf("\tMulticast%s {\n\t\tIPv4_address 225.0.0.50\n\t\tGroup %d\n\t\tIPv4_interface %v\n\t\tInterface %s\n%s", mode, port, own, l.device, buffers), nil
	}
	return fmt.Sprintf("\tUDP%s {\n\t\t%s_address %v\n\t\t%s_Destination_Address %v\n\t\tPort %d\n\t\tInterface %s\n%s",
		mode, family, own, family, l.peer.WithZone(""), port, l.device, buffers), nil
}

// ownAddress is the address of this node on the link: one in the peer's subnet, else the first of its family.
func (l syncLink) ownAddress(i host.Interface) (own netip.Addr, err error) {
	for _, a := range i.Addrs {
		addr := a.Prefix.Addr()
		fits := !l.peer.IsValid() && addr.Is4() || l.peer.IsValid() && addr.Is6() == l.peer.Is6()
		if !fits || a.Secondary {
			continue
		}
		if l.peer.IsValid() && a.Prefix.Contains(l.peer.WithZone("")) {
			return addr, nil
		}
		if !own.IsValid() {
			own = addr
		}
	}
	if !own.IsValid() {
		return own, fmt.Errorf("%s has no address that connections could be sent from", l.device)
	}
	return own, nil
}

// configuration is the whole file.
func (c *conntrack) configuration() (string, error) {
	links, err := c.links()
	if err != nil {
		return "", err
	}
	var sections strings.Builder
	var errs []error
	for _, l := range links {
		text, err := l.section(c.port, sections.Len() == 0)
		sections.WriteString(text)
		errs = append(errs, err)
	}
	if sections.Len() == 0 {
		return "", errors.Join(errs...)
	}
	buckets, limit := tableSize()
	return fmt.Sprintf(`# Written by heartbeat for the resource Conntrack, and written again at each start.
Sync {
	Mode FTFW {
		StartupResync yes
		DisableExternalCache no
		PurgeTimeout 60
		ResendQueueSize 131072
	}
%s	Options {
		ExpectationSync On
	}
}
General {
	Systemd off
	HashSize %d
	HashLimit %d
	LogFile off
	Syslog on
	LockFile %s
	UNIX {
		Path %s
	}
	NetlinkBufferSize 2097152
	NetlinkBufferSizeMaxGrowth 16777216
	NetlinkOverrunResync On
	NetlinkEventsReliable On
	EventIterationLimit 200
	Filter From Userspace {
		Protocol Accept {
			TCP
			UDP
			ICMP
			IPv6-ICMP
			SCTP
			DCCP
		}
		Address Ignore {
			IPv4_address 127.0.0.1
			IPv6_address ::1
%s		}
	}
}
`, sections.String(), buckets, limit, c.sibling("lock"), c.sibling("ctl"), ignored(links)), nil
}

// sibling is a file beside the configuration.
func (c *conntrack) sibling(ending string) string {
	return strings.TrimSuffix(c.file, ".conf") + "." + ending
}

// ignored are the addresses of this pair's own traffic on the links: the synchronisation must not tell of itself.
func ignored(links []syncLink) string {
	var b strings.Builder
	add := func(a netip.Addr) {
		family := "IPv4"
		if a.Is6() {
			family = "IPv6"
		}
		fmt.Fprintf(&b, "\t\t\t%s_address %v\n", family, a.WithZone(""))
	}
	for _, l := range links {
		if l.peer.IsValid() {
			add(l.peer)
			if i, err := host.InterfaceByName(l.device); err == nil {
				if own, err := l.ownAddress(i); err == nil {
					add(own)
				}
			}
		}
	}
	return b.String()
}

// tableSize is the size of the cache: twice as many as the kernel may track, in a quarter as many buckets.
func tableSize() (buckets, limit int) {
	limit = 524288
	if text, err := host.ReadSysctl("net/netfilter/nf_conntrack_max"); err == nil {
		fmt.Sscan(text, &limit)
		limit = max(2*limit, 65536)
	}
	return limit / 4, limit
}

// keep sees to it that conntrackd runs; call it locked. It waits until it answers, at most as long as ctx lasts.
func (c *conntrack) keep(ctx context.Context) error {
	if c.keeping != nil {
		return nil
	}
	changed, err := c.write()
	if err != nil {
		return err
	}
	if _, err := c.ctl(ctx, "-s"); err == nil && changed {
		c.end(ctx) // it has another configuration
	}
	s := &supervisor{conntrack: c, first: make(chan error, 1)}
	life, cancel := context.WithCancel(context.Background())
	c.keeping, c.kept = cancel, make(chan struct{})
	go s.run(life, c.kept)
	select {
	case err := <-s.first:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// end ends the conntrackd that runs, and waits until it has gone.
func (c *conntrack) end(ctx context.Context) {
	_, err := c.ctl(ctx, "-k")
	for tries := 0; err == nil && tries < 50 && wait(ctx, 20*time.Millisecond) == nil; tries++ {
		_, err = c.ctl(ctx, "-s")
	}
}

// write writes the configuration, and says whether it was another one before.
func (c *conntrack) write() (changed bool, err error) {
	if !c.own {
		return false, nil
	}
	text, err := c.configuration()
	if err != nil {
		return false, err
	}
	if err := os.MkdirAll(filepath.Dir(c.file), 0o755); err != nil {
		return false, fmt.Errorf("write the configuration of conntrackd: %w", err)
	}
	old, _ := os.ReadFile(c.file)
	if err := replaceFile(c.file, []byte(text)); err != nil {
		return false, fmt.Errorf("write the configuration of conntrackd: %w", err)
	}
	return string(old) != text, nil
}

// answerTime is how long conntrackd may take to answer after it was started.
const answerTime = 5 * time.Second

// WithConntrack adds what the Conntrack resources of a table send between the nodes to what no Firewall may hold up.
func WithConntrack(passes []Pass, t haresources.Table) []Pass {
	for _, g := range t.Groups {
		for _, r := range g.Resources {
			if r.Class != haresources.ClassHeartbeat || r.Name != "Conntrack" {
				continue
			}
			a, err := openConntrack(Environment{Pass: passes}, r)
			if err != nil {
				continue // said where the resource is checked
			}
			passes = append(passes, a.(*conntrack).passes()...)
		}
	}
	return passes
}

// passes is what conntrackd sends: by the links of the pair, or as a configuration of the administrator's says.
func (c *conntrack) passes() (list []Pass) {
	if !c.own {
		text, _ := os.ReadFile(c.file) // that it cannot be read is said where the resource is checked
		return passesOf(string(text))
	}
	links, _ := c.links()
	for _, l := range links {
		list = append(list, Pass{Device: l.device, Port: c.port, IPv6: l.peer.Is6(), Peer: l.peer})
	}
	return list
}

// passesOf reads a configuration of conntrackd: each section UDP or Multicast of it is a way to the other node.
func passesOf(text string) (list []Pass) {
	var p *Pass
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(strings.NewReplacer("{", " { ", "}", " } ").Replace(line))
		for i, word := range words {
			switch {
			case word == "}":
				if p != nil && p.Port > 0 {
					list = append(list, *p)
				}
				p = nil
				continue
			case (word == "UDP" || word == "Multicast") && slices.Contains(words[i:], "{"):
				p = &Pass{}
				continue
			case p == nil || i+1 == len(words):
				continue
			}
			switch value := words[i+1]; word {
			case "Port", "Group":
				_, _ = fmt.Sscan(value, &p.Port) // nonsense is conntrackd's to complain of
			case "Interface":
				p.Device = value
			case "IPv4_Destination_Address", "IPv6_Destination_Address":
				p.Peer, _ = netip.ParseAddr(value)
			case "IPv6_address":
				p.IPv6 = true
			}
		}
	}
	return list
}
