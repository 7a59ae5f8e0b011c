package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"hapair/haresources"
	"hapair/heartbeat/fault"
	"hapair/heartbeat/host"
)

// portblock is the resource portblock::PROTOCOL::PORTS::block|unblock[::ADDRESS[::DIRECTORY]]: while a group moves, no packet
// reaches the ports, so that clients are not told that nobody is there, but wait. On a line there are two of them: block
// before the service, unblock at the end.
//
// With a DIRECTORY on a shared file system the unblocking one keeps the list of connected clients there; the next node
// tickles them, so that they notice at once that their connection is gone.
type portblock struct {
	env     Environment
	proto   string
	ports   []portRange
	unblock bool
	addr    netip.Addr // invalid for any
	dir     string     // "" for no tickling
	table   host.Table // the rules; there while blocked
	mark    marker

	mu       sync.Mutex
	tickling *time.Timer
	tickled  int
	failed   error
}

// portRange is one port, or several.
type portRange struct{ first, last int }

// String is the range as nft writes it.
func (r portRange) String() string {
	if r.first == r.last {
		return strconv.Itoa(r.first)
	}
	return fmt.Sprintf("%d-%d", r.first, r.last)
}

var errPortblock = errors.New("write portblock::tcp|udp::PORT[,PORT…]::block|unblock[::ADDRESS[::DIRECTORY]]")

// openPortblock makes the agent.
func openPortblock(env Environment, r haresources.Resource) (haresources.Agent, error) {
	_, rest, _ := strings.Cut(r.Spec, "::")
	words := splitArguments(rest)
	if len(words) < 3 || len(words) > 5 {
		return nil, errPortblock
	}
	p := &portblock{env: env, proto: strings.ToLower(words[0]), mark: newMarker(env, r)}
	if p.proto != "tcp" && p.proto != "udp" {
		return nil, fmt.Errorf("%q is neither tcp nor udp: %w", words[0], errPortblock)
	}
	var err error
	if p.ports, err = parsePorts(words[1]); err != nil {
		return nil, fmt.Errorf("%w: %w", err, errPortblock)
	}
	if words[2] != "block" && words[2] != "unblock" {
		return nil, fmt.Errorf("%q is neither block nor unblock: %w", words[2], errPortblock)
	}
	p.unblock = words[2] == "unblock"
	if len(words) > 3 {
		if p.addr, err = netip.ParseAddr(firstPart(unbracket(words[3]))); err != nil {
			return nil, fmt.Errorf("%q is not an address: %w", words[3], errPortblock)
		}
	}
	if len(words) > 4 {
		p.dir = filepath.Clean(words[4])
	}
	if p.dir != "" && (!filepath.IsAbs(p.dir) || p.proto != "tcp" || !p.unblock) {
		return nil, errors.New("a directory for the list of clients goes with tcp and unblock, and begins with a slash")
	}
	p.table = host.Table{Family: "inet", Name: ownTable + "portblock_" + mix(p.proto+" "+p.portSet(), p.addrText())[:8]}
	return p, nil
}

// parsePorts reads PORT or FIRST:LAST or FIRST-LAST, several with commas.
func parsePorts(s string) (list []portRange, err error) {
	for _, word := range strings.Split(s, ",") {
		first, last, ranged := strings.Cut(strings.Replace(word, "-", ":", 1), ":")
		if !ranged {
			last = first
		}
		a, errA := strconv.ParseUint(first, 10, 16)
		b, errB := strconv.ParseUint(last, 10, 16)
		if errA != nil || errB != nil || a == 0 || a > b {
			return nil, fmt.Errorf("%q is not a port from 1 to 65535, or a range of them", word)
		}
		list = append(list, portRange{int(a), int(b)})
	}
	return list, nil
}

// portSet are the ports as nft writes them.
func (p *portblock) portSet() string {
	words := make([]string, len(p.ports))
	for i, r := range p.ports {
		words[i] = r.String()
	}
	return strings.Join(words, ", ")
}

// addrText is the address, or nothing.
func (p *portblock) addrText() string {
	if p.addr.IsValid() {
		return p.addr.String()
	}
	return ""
}

// Timeout leaves room for a busy nft.
func (p *portblock) Timeout(haresources.Operation) time.Duration { return 10 * time.Second }

// rules are the commands that block. Packets of this machine to itself pass, since its own checks do.
func (p *portblock) rules() string {
	family, to, from := "", "", ""
	if p.addr.IsValid() {
		family = "ip "
		if p.addr.Is6() {
			family = "ip6 "
		}
		to, from = family+"daddr "+p.addrText()+" ", family+"saddr "+p.addrText()+" "
	}
	return removeTable(p.table) + fmt.Sprintf(`table %v {
	chain in {
		type filter hook input priority filter - 20; policy accept;
		iifname != "lo" %s%s dport { %s } drop
	}
	chain out {
		type filter hook output priority filter - 20; policy accept;
		oifname != "lo" %s%s sport { %s } drop
	}
}
`, p.table, to, p.proto, p.portSet(), from, p.proto, p.portSet())
}

// blocked says whether the rules are there.
func (p *portblock) blocked() (bool, error) {
	n, err := host.OpenNFT()
	if err != nil {
		return false, err
	}
	defer n.Close()
	r, err := n.List()
	return slices.Contains(r.Tables, p.table), err
}

// block puts the rules in force.
func (p *portblock) block(ctx context.Context) error {
	lines, err := tool{name: "nft", args: []string{"-f", "-"}, stdin: p.rules()}.run(ctx, p.env)
	if err != nil {
		return fmt.Errorf("block the ports: %w", lastWords(err, lines))
	}
	return nil
}

// free removes the rules.
func (p *portblock) free() error {
	n, err := host.OpenNFT()
	if err != nil {
		return err
	}
	defer n.Close()
	return n.MarkTable(p.table)
}

// Start blocks or unblocks.
func (p *portblock) Start(ctx context.Context) error {
	if !p.unblock {
		if err := p.block(ctx); err != nil {
			return err
		}
		return p.mark.set()
	}
	if err := p.free(); err != nil {
		return err
	}
	if p.dir != "" {
		p.tickle(ctx)
	}
	return p.mark.set()
}

// Stop does the opposite: an unblocked port is blocked first, a blocked one is freed at the very end.
func (p *portblock) Stop(ctx context.Context) error {
	state, err := p.mark.status()
	if err != nil {
		return err
	}
	if !p.unblock {
		return errors.Join(p.free(), p.mark.clear())
	}
	p.endTickling()
	if state != haresources.Running {
		return nil
	}
	if p.dir != "" {
		p.save(ctx)
	}
	if err := p.block(ctx); err != nil {
		return err
	}
	p.forgetClients(ctx)
	return p.mark.clear()
}

// Status says whether Start was called since Stop and, for one that unblocks, whether the ports are open. It keeps the list
// of clients current.
func (p *portblock) Status(ctx context.Context) (haresources.State, error) {
	state, err := p.mark.status()
	if err != nil || state != haresources.Running || !p.unblock {
		return state, err
	}
	blocked, err := p.blocked()
	switch {
	case err != nil:
		return haresources.Unknown, err
	case blocked:
		return haresources.Failed, errors.New("the ports are blocked again")
	}
	if p.dir != "" {
		p.save(ctx)
	}
	return haresources.Running, nil
}

// Close ends the tickling.
func (p *portblock) Close() error {
	p.endTickling()
	return nil
}

// Describe says what is blocked.
func (p *portblock) Describe() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := fmt.Sprintf("%s port %s %s", p.proto, p.portSet(), p.addrText())
	if p.tickled > 0 {
		text += fmt.Sprintf(", %d clients tickled", p.tickled)
	}
	if p.failed != nil {
		text += ": " + p.failed.Error()
	}
	return text
}

// Check looks for nft and for the partner on the line, as far as one resource can.
func (p *portblock) Check() (list fault.List) {
	if _, err := findTool(p.env, "nft"); err != nil {
		list.Addf(fault.Fault{Severity: fault.Error}, "install nftables", "%v", err)
	}
	return list
}
