package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"hapair/haresources"
	"hapair/haresources/agent"
	"hapair/heartbeat/config"
	"hapair/heartbeat/fault"
	"hapair/heartbeat/host"
	"hapair/heartbeat/stonith"
)

// The patience of an examination.
const (
	doctorWithin  = 20 * time.Second // both nodes
	examineWithin = 12 * time.Second // one
	gatewayWithin = 200 * time.Millisecond
	claimWithin   = 50 * time.Millisecond
	claimsMost    = 64 // service addresses that are asked for: a sample of a thousand tells as much
)

// whatDoctor is the question for the peer's findings about itself.
const whatDoctor = "doctor"

// Examination is what `heartbeat doctor` found out. It moves nothing.
type Examination struct {
	Schema   int       `json:"schema"`
	Node     string    `json:"node"`
	Peer     string    `json:"peer"`
	Both     bool      `json:"both"`          // the peer examined itself too
	Why      string    `json:"why,omitempty"` // it did not
	Findings []Finding `json:"findings"`      // worst first
}

// ExitCode is that of check: 0 nothing but notices, 1 warnings, 2 errors.
func (x *Examination) ExitCode() int {
	worst := fault.Notice
	for _, f := range x.Findings {
		worst = max(worst, f.Severity)
	}
	return map[fault.Severity]int{fault.Notice: config.ExitClean, fault.Warning: config.ExitWarnings, fault.Error: config.ExitErrors}[worst]
}

// doctor examines both nodes.
func (e *engine) doctor(ctx context.Context) (*Examination, error) {
	ctx, cancel := context.WithTimeout(ctx, doctorWithin)
	defer cancel()
	x := &Examination{Schema: 1, Node: e.conf().Node, Peer: e.conf().Peer, Findings: []Finding{}}
	var theirs []Finding
	var compared fault.List
	var theirErr, compareErr error
	var beside sync.WaitGroup
	if e.compare != nil {
		beside.Go(func() {
			var text string
			if text, theirErr = e.compare.calls.ask(ctx, whatDoctor, ""); theirErr == nil {
				theirErr = unpack(text, &theirs)
			}
		})
		beside.Go(func() { compared, compareErr = e.compare.fetch(ctx) })
	} else {
		theirErr = errors.New("there is no peer")
	}
	mine, err := e.examine(ctx)
	beside.Wait()
	if err != nil {
		return nil, err
	}
	x.Findings = append(x.Findings, mine...)
	if x.Both = theirErr == nil; !x.Both {
		x.Why = theirErr.Error()
	}
	x.Findings = append(x.Findings, theirs...)
	if errors.Is(compareErr, errClassicPeer) || compareErr != nil && theirErr == nil {
		x.Findings = append(x.Findings, judgeComparison(x.Node, nil, compareErr)...)
	}
	x.Findings = append(x.Findings, judgeComparison(x.Node, compared, nil)...)
	slices.SortStableFunc(x.Findings, func(a, b Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	return x, nil
}

// answerDoctor serves the command.
func (e *engine) answerDoctor(ctx context.Context) Reply {
	x, err := e.doctor(ctx)
	return Reply{OK: err == nil, Error: sentence(err), Examination: x}
}

// tellDoctor answers the peer's question.
func (e *engine) tellDoctor(ctx context.Context, _ string) (string, error) {
	list, err := e.examine(ctx)
	if err != nil {
		return "", err
	}
	return pack(list)
}

// examine finds out about this node.
func (e *engine) examine(ctx context.Context) ([]Finding, error) {
	ctx, cancel := context.WithTimeout(ctx, examineWithin)
	defer cancel()
	s, err := e.status(ctx)
	if err != nil {
		return nil, err
	}
	core, _, err := e.coreStatus(ctx)
	if err != nil {
		return nil, err
	}
	f := facts{status: s, refused: e.refusals(), privileges: e.privileges(), disks: []diskFact{tryDisk(e.paths.State), tryDisk(e.paths.Run)}}
	c := e.conf()
	var tasks sync.WaitGroup
	tasks.Go(func() {
		onDisk, faults := config.Load(e.paths.Config)
		f.check = append(faults, checkHost(c, e.paths)...)
		if faults.Err() == nil {
			f.stale = staleParts(c, onDisk)
		}
	})
	if e.media.prober != nil && reachable(core) == nil {
		tasks.Go(func() { f.probes = e.media.prober.all(ctx) })
	}
	tasks.Go(func() {
		var places map[string][]haresources.Location
		places, f.placing = e.placesOf(ctx, c)
		f.lease = e.leaseFacts(c, s, places)
		f.answers = e.claims(ctx, s, core.Peer.MACs, places)
	})
	tasks.Go(func() { f.gateways = askGateways(ctx) })
	tasks.Go(func() { f.drbd = askDRBD(ctx, c, e.paths) })
	if device, _ := e.fencing.current(); device != nil {
		tasks.Go(func() {
			f.fencing = &fencingFact{device: stonith.NameOf(device)}
			if err := device.Check(ctx); err != nil {
				f.fencing.err = err.Error()
			}
		})
	}
	tasks.Wait()
	return f.judge(), nil
}

// refusals is what each link refused lately.
func (e *engine) refusals() map[string]refusal {
	found := map[string]refusal{}
	for _, m := range e.media.all() {
		if counts, from, at := m.bad.latest(); len(counts) > 0 {
			found[m.spec.ID] = refusal{counts: counts, from: from, ago: time.Since(at)}
		}
	}
	return found
}

// privileges looks at this process.
func (e *engine) privileges() privilegeFact {
	p := privilegeFact{lockWanted: e.wantsPrivileges, realtimeWanted: e.wantsPrivileges && e.conf().Realtime}
	tids, _ := os.ReadDir("/proc/self/task")
	for _, t := range tids {
		var tid int
		fmt.Sscan(t.Name(), &tid)
		if a, err := unix.SchedGetAttr(tid, 0); err == nil && (a.Policy == unix.SCHED_FIFO || a.Policy == unix.SCHED_RR) {
			p.realtime = true
		}
	}
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if kb, found := strings.CutPrefix(line, "VmLck:"); found {
			p.locked = strings.Trim(kb, " \tkB\n") != "0"
		}
	}
	return p
}

// tryDisk writes a file where this daemon keeps something, and removes it.
func tryDisk(dir string) diskFact {
	d := diskFact{path: dir, inodes: true, free: diskLeast}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err == nil {
		d.free, d.inodes = st.Bavail*uint64(st.Bsize), st.Files == 0 || st.Ffree > 0
	}
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err == nil {
		_, err = f.Write(make([]byte, 4096))
		err = errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
	}
	if err != nil {
		d.err = err.Error()
	}
	return d
}

// placesOf finds where the addresses of each group belong now.
func (e *engine) placesOf(ctx context.Context, c *config.Config) (places map[string][]haresources.Location, wrong map[string]string) {
	places, wrong = map[string][]haresources.Location{}, map[string]string{}
	l, ok := e.manager.(locator)
	if !ok {
		return places, wrong
	}
	for _, g := range c.Table.Groups {
		found, err := l.Locations(ctx, g.Name)
		if err != nil {
			wrong[g.Name] = err.Error()
		}
		places[g.Name] = found
	}
	return places, wrong
}

// leaseFacts looks at what the kernel enforces.
func (e *engine) leaseFacts(c *config.Config, s *Status, places map[string][]haresources.Location) leaseFact {
	f := leaseFact{wanted: e.managed && c.Peer != "" && c.Lease != "off", usable: e.leases != nil && e.leases.usable.Load()}
	for _, list := range places {
		f.addresses += len(list)
	}
	if !f.usable {
		return f
	}
	now := e.clock().Boot
	for _, g := range s.Groups {
		if g.State != "held" || g.Owner != s.Node || len(places[g.Name]) == 0 {
			continue
		}
		if until, err := e.leases.lease.Until(g.Name); err == nil && until < now {
			f.expired = append(f.expired, g.Name)
		}
	}
	return f
}

// claims asks on the service networks who answers for the groups' addresses, and keeps those that should not. Without knowing the peer's
// hardware addresses only what this node holds itself can be judged.
func (e *engine) claims(ctx context.Context, s *Status, peerMACs []string, places map[string][]haresources.Location) (found []answerFact) {
	var mu sync.Mutex
	var tasks sync.WaitGroup
	asked := 0
	for _, g := range s.Groups {
		if g.Owner != s.Node && len(peerMACs) == 0 || g.State != "held" && g.State != "idle" || g.Double {
			continue
		}
		for _, p := range places[g.Name] {
			if asked++; asked > claimsMost {
				break
			}
			tasks.Go(func() {
				macs, err := host.Probe(ctx, p.Interface, p.Addr, netip.Addr{}, claimWithin)
				if err != nil {
					return
				}
				for _, mac := range macs {
					if g.Owner == s.Peer.Name && g.Owner != "" && slices.Contains(peerMACs, mac.String()) || ownMAC(mac) {
						continue
					}
					mu.Lock()
					found = append(found, answerFact{addr: p.Addr.String(), device: p.Interface, mac: mac.String(), holder: g.Owner})
					mu.Unlock()
				}
			})
		}
	}
	tasks.Wait()
	slices.SortFunc(found, func(a, b answerFact) int { return strings.Compare(a.addr+a.mac, b.addr+b.mac) })
	return found
}

// ownMAC tells whether an interface of this machine has a hardware address.
func ownMAC(mac net.HardwareAddr) bool {
	list, err := host.Interfaces()
	return err == nil && slices.ContainsFunc(list, func(i host.Interface) bool { return i.HardwareAddr.String() == mac.String() })
}

// askGateways asks the default gateways on their networks. One that cannot be asked there says nothing.
func askGateways(ctx context.Context) (found []gatewayFact) {
	gateways, _ := host.DefaultGateways()
	list, _ := host.Interfaces()
	for _, gw := range gateways {
		for _, i := range list {
			k := slices.IndexFunc(i.Addrs, func(a host.InterfaceAddr) bool { return a.Prefix.Contains(gw) && a.Prefix.Addr() != gw })
			if k < 0 {
				continue
			}
			macs, err := host.Probe(ctx, i.Name, gw, i.Addrs[k].Prefix.Addr(), gatewayWithin)
			if err == nil {
				found = append(found, gatewayFact{addr: gw.String(), device: i.Name, answered: len(macs) > 0})
			}
			break
		}
	}
	return found
}

// askDRBD asks for the state of each DRBD resource that a group uses.
func askDRBD(ctx context.Context, c *config.Config, p Paths) (found []drbdFact) {
	seen := map[string]bool{}
	env := scriptEnvironment(c, p)
	for _, g := range c.Table.Groups {
		for _, r := range g.Resources {
			name := agent.DRBDName(r)
			if name == "" || seen[name] {
				continue
			}
			seen[name] = true
			state, err := agent.AskDRBD(ctx, name, env)
			found = append(found, drbdFact{state: state, err: sentence(err)})
		}
	}
	return found
}
