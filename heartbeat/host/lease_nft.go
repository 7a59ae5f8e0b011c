package host

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// nftLease is the lease as a table of nftables enforces it, where BPF is refused: an element with a time-out for each group. It is coarser
// (the kernel counts ticks), relative (so that a renewal which is held up between its computation and the kernel arms late), stands still
// while the machine is suspended, and goes with `nft flush ruleset`, until Keep notices. docs/safety.md has the difference.
type nftLease struct {
	nft     *NFT
	view    *View
	ns      netns.NsHandle
	watcher [2]*os.File // of the rules and of the interfaces

	mu       sync.Mutex
	list     []Protection
	attached []string
	ends     map[string]time.Duration // of each group of list
	closed   bool
}

// nftGrain is two ticks of the slowest kernels.
const nftGrain = 20 * time.Millisecond

// leaseTable is the table that is the lease's alone.
var leaseTable = Table{Family: "netdev", Name: "hapair_lease"}

// rename keeps the end of the lease for the table that the next protect loads.
func (n *nftLease) rename(from, to string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	end, ok := n.ends[from]
	if !ok {
		return ErrNoLease
	}
	n.ends[to] = end
	return nil
}

// share keeps the same end for the table that the next protect loads.
func (n *nftLease) share(from, to string) error {
	return n.rename(from, to) // which leaves the old one what it is
}

func openNFTLease() (_ *nftLease, err error) {
	if _, err := exec.LookPath("nft"); err != nil {
		return nil, fmt.Errorf("the program nft is not installed: %w", err)
	}
	n := &nftLease{ns: netns.None(), ends: map[string]time.Duration{}}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	if n.ns, err = netns.Get(); err != nil {
		return nil, fmt.Errorf("remember the network namespace: %w", err)
	}
	if n.nft, err = OpenNFT(); err != nil {
		return nil, err
	}
	if n.view, err = NewView(); err != nil {
		return nil, err
	}
	if n.watcher[0], err = watchNetlink(unix.NETLINK_NETFILTER, 1<<(unix.NFNLGRP_NFTABLES-1)); err != nil {
		return nil, err
	}
	if n.watcher[1], err = watchNetlink(unix.NETLINK_ROUTE, unix.RTMGRP_LINK); err != nil {
		return nil, err
	}
	// Whether this kernel has what the table needs is known when it has taken an empty one; it is checked, not loaded.
	return n, n.script("-c", n.ruleset())
}

func (n *nftLease) kind() Mechanism      { return MechanismNFT }
func (n *nftLease) grain() time.Duration { return nftGrain }

// script runs nft in the lease's namespace, from whatever thread.
func (n *nftLease) script(options, ruleset string) error {
	cmd := exec.Command("nft", options, "-f", "-")
	if options == "" {
		cmd = exec.Command("nft", "-f", "-")
	}
	cmd.Stdin = strings.NewReader(ruleset)
	out, err := n.run(cmd)
	if err != nil {
		return fmt.Errorf("load the lease's table: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

func (n *nftLease) run(cmd *exec.Cmd) (out []byte, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		if err = netns.Set(n.ns); err == nil {
			out, err = cmd.CombinedOutput()
		}
	}()
	<-done
	return out, err
}

// word is a group's name as nft takes it.
func word(group string) string {
	key := keyOf(group)
	return hex.EncodeToString(key[:])
}

// hexName is an interface's name as nft takes it in the name of a chain: it may have any character.
func hexName(ifname string) string { return hex.EncodeToString([]byte(ifname)) }

// ruleset is the whole table, with what is in force: loading it is one transaction.
func (n *nftLease) ruleset() string {
	var s strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&s, format+"\n", args...) }
	line("table %v\ndelete table %v\ntable %v {", leaseTable, leaseTable, leaseTable)
	var to4, from4, to6, from6, macs, neighbours []string
	for _, p := range n.list {
		w := word(p.Group)
		line("set live_%s { type ether_type; flags timeout; %s }", w, n.elements(p.Group))
		line("counter drops_%s { }", w)
		line("chain judge_%s { meta protocol @live_%s return; counter name drops_%s drop; }", w, w, w)
		line("chain through_%s { fib daddr type unicast return; goto judge_%s; }", w, w)
		line("chain router_%s { fib daddr type unicast goto judge_%s; }", w, w)
		for _, addr := range p.Addrs {
			a := bare(addr)
			if a.Is4() {
				to4, from4 = append(to4, fmt.Sprintf("%v : jump through_%s", a, w)), append(from4, fmt.Sprintf("%v : jump judge_%s", a, w))
				continue
			}
			to6, from6 = append(to6, fmt.Sprintf("%v : jump through_%s", a, w)), append(from6, fmt.Sprintf("%v : jump judge_%s", a, w))
			neighbours = append(neighbours, fmt.Sprintf("icmpv6 type nd-neighbor-advert @nh,384,128 0x%x jump judge_%s", a.As16(), w))
		}
		for _, mac := range p.MACs {
			macs = append(macs, fmt.Sprintf("%v : jump judge_%s", mac, w))
		}
	}
	for _, m := range []struct {
		name, kind string
		elements   []string
	}{{"to4", "ipv4_addr", to4}, {"from4", "ipv4_addr", from4}, {"to6", "ipv6_addr", to6}, {"from6", "ipv6_addr", from6}, {"macs", "ether_addr", macs}} {
		line("map %s { type %s : verdict; %s }", m.name, m.kind, braced(m.elements))
	}
	line("chain come { vlan id 1-4095 return\nether daddr vmap @macs\nmeta pkttype other return\nip daddr vmap @to4\nip6 daddr vmap @to6\n}")
	line("chain leave { ether saddr vmap @macs\nip saddr vmap @from4\nip6 saddr vmap @from6\narp saddr ip vmap @from4\n%s\n}", strings.Join(neighbours, "\n"))
	for _, name := range n.attached {
		if _, err := n.view.Interface(name); err != nil {
			continue // it cannot be named before it is there; Keep comes again
		}
		line("chain in_%s { type filter hook ingress device %q priority -500; policy accept; %s jump come; }", hexName(name), name, n.router(name))
		line("chain out_%s { type filter hook egress device %q priority 500; policy accept; jump leave; }", hexName(name), name)
	}
	line("}")
	return s.String()
}

// router is the rule about packets that arrive by an interface of a router group.
func (n *nftLease) router(ifname string) string {
	for _, p := range n.list {
		if slices.Contains(p.Interfaces, ifname) {
			return "jump router_" + word(p.Group) + ";"
		}
	}
	return ""
}

func braced(elements []string) string {
	if len(elements) == 0 {
		return ""
	}
	return "elements = { " + strings.Join(elements, ", ") + " }"
}

// elements are what remains of a group's lease, one for each kind of packet: a set has no element that means "any".
func (n *nftLease) elements(group string) string {
	left := n.left(group)
	if left <= 0 {
		return ""
	}
	var list []string
	for _, kind := range leaseKinds {
		list = append(list, fmt.Sprintf("0x%04x timeout %dms", kind, left))
	}
	return braced(list)
}

// left is how many whole milliseconds a group's lease has.
func (n *nftLease) left(group string) int64 {
	return int64(min(n.ends[group]-readClock(unix.CLOCK_BOOTTIME), longestTimeout) / time.Millisecond)
}

// longestTimeout stands for a lease without an end.
const longestTimeout = 365 * 24 * time.Hour

// leaseKinds are the Ethernet types that a lease lets through.
var leaseKinds = []uint16{unix.ETH_P_IP, unix.ETH_P_IPV6, unix.ETH_P_ARP}

func (n *nftLease) ensure(ifname string) (bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return false, os.ErrClosed
	}
	if !slices.Contains(n.attached, ifname) {
		n.attached = append(n.attached, ifname)
	}
	if _, err := n.view.Interface(ifname); err != nil {
		return false, err
	}
	rules, err := n.nft.List()
	if err != nil {
		return false, err
	}
	_, in := rules.Chain(leaseTable, "in_"+hexName(ifname))
	_, out := rules.Chain(leaseTable, "out_"+hexName(ifname))
	if in && out {
		return false, nil
	}
	return true, n.script("", n.ruleset())
}

func (n *nftLease) detach(ifname string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.attached = slices.DeleteFunc(n.attached, func(name string) bool { return name == ifname })
	return n.script("", n.ruleset())
}

// protect first learns from the kernel how long the leases of an earlier process last.
func (n *nftLease) protect(list []Protection) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return os.ErrClosed
	}
	ends := map[string]time.Duration{}
	for _, p := range list {
		if end, known := n.ends[p.Group]; known {
			ends[p.Group] = end
		} else if end, err := n.inForce(p.Group); err == nil {
			ends[p.Group] = end
		} else {
			ends[p.Group] = 0
		}
	}
	n.list, n.ends = slices.Clone(list), ends
	return n.script("", n.ruleset())
}

func (n *nftLease) until(group string) (time.Duration, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if end, known := n.ends[group]; known {
		return end, nil
	}
	return n.inForce(group)
}

func (n *nftLease) dropped(group string) (uint64, error) {
	out, err := n.run(exec.Command("nft", "list", "counter", leaseTable.Family, leaseTable.Name, "drops_"+word(group)))
	if err != nil {
		return 0, ErrNoLease
	}
	_, after, _ := strings.Cut(string(out), "packets ")
	count, _, _ := strings.Cut(after, " ")
	return strconv.ParseUint(count, 10, 64)
}

func (n *nftLease) watch(ctx context.Context, changed func()) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(ctx, func() {
		for _, w := range n.watcher {
			_ = w.SetReadDeadline(time.Unix(1, 0))
		}
	})()
	ended := make(chan error, len(n.watcher))
	for _, w := range n.watcher {
		go func() {
			buf := make([]byte, 64<<10)
			for {
				size, err := w.Read(buf)
				if err != nil && !errors.Is(err, unix.ENOBUFS) {
					ended <- err
					return
				}
				if err != nil || !onlyElements(buf[:size]) {
					changed()
				}
			}
		}()
	}
	err := <-ended
	stop()
	<-ended
	return err
}

// onlyElements says whether all that a notification tells of are set elements: our own renewals, most of all.
func onlyElements(data []byte) bool {
	others := 0
	_ = walk(data, func(h unix.NlMsghdr, _ []byte) error {
		switch h.Type {
		case unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWSETELEM, unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_DELSETELEM,
			unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWGEN:
		default:
			others++
		}
		return nil
	})
	return others == 0
}

func (n *nftLease) close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil
	}
	n.closed = true
	var errs []error
	if n.nft != nil {
		errs = append(errs, n.nft.Close())
	}
	if n.view != nil {
		n.view.Close()
	}
	for _, w := range n.watcher {
		if w != nil {
			errs = append(errs, w.Close())
		}
	}
	if n.ns.IsOpen() {
		errs = append(errs, n.ns.Close())
	}
	return errors.Join(errs...)
}

func (n *nftLease) remove() error {
	return n.script("", fmt.Sprintf("table %v\ndelete table %v\n", leaseTable, leaseTable))
}
