package rehearsal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// findNft finds the nft program also where a user's PATH does not look.
func findNft() (string, error) {
	for _, name := range []string{"nft", "/usr/sbin/nft", "/sbin/nft"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no nft program here: apt-get install nftables")
}

// doLose drops frames between the nodes at random, in the switches and in the serial cables, for a while; those that one
// node sends, or those of both.
func doLose(ctx context.Context, r *run, node int, s step) error {
	percent, err := strconv.Atoi(s.what)
	if err != nil {
		return fmt.Errorf("lose %q %%: %w", s.what, err)
	}
	loss := [2]int{percent, percent}
	if node != nobody {
		loss[1-node] = 0
	}
	if err := r.world.setLoss(loss); err != nil {
		return err
	}
	err = pause(ctx, s.span.of(r.timing))
	return errors.Join(err, r.world.setLoss([2]int{}))
}

// doBeginLoss is doLose without end.
func doBeginLoss(_ context.Context, r *run, _ int, s step) error {
	percent, err := strconv.Atoi(s.what)
	if err != nil {
		return fmt.Errorf("lose %q %%: %w", s.what, err)
	}
	return r.world.setLoss([2]int{percent, percent})
}

// doLoseBusy is doLose and doBusy at the same time.
func doLoseBusy(ctx context.Context, r *run, node int, s step) error {
	var lost error
	var wait sync.WaitGroup
	wait.Go(func() { lost = doLose(ctx, r, node, s) })
	err := doBusy(ctx, r, node, s)
	wait.Wait()
	return errors.Join(lost, err)
}

// setLoss makes every link between the nodes lose a share, in percent, of the frames that each node sends.
func (w *world) setLoss(loss [2]int) error {
	w.losing = loss != [2]int{}
	for _, c := range w.cables {
		for i, e := range c.Ends {
			e.Lose(float64(loss[i]) / 100)
		}
	}
	var rules strings.Builder
	for _, n := range w.pair.networks {
		for i, from := range w.nodes {
			to := w.nodes[1-i]
			if loss[i] > 0 && w.works(from) && w.works(to) {
				chance := fmt.Sprintf("numgen random mod 100 < %d", loss[i])
				if loss[i] >= 100 {
					chance = "" // nft refuses what is always true
				}
				fmt.Fprintf(&rules, "  iifname %q oifname %q %s drop\n", from.machine.Ports[n.index].Name, to.machine.Ports[n.index].Name, chance)
			}
		}
	}
	return filterBridges(rules.String())
}

// filterBridges has the switches drop what the rules name, and nothing else.
func filterBridges(rules string) error {
	var b strings.Builder
	b.WriteString("add table bridge rehearsal\ndelete table bridge rehearsal\ntable bridge rehearsal {\n")
	b.WriteString(" chain forward {\n  type filter hook forward priority 0; policy accept;\n")
	b.WriteString(rules)
	b.WriteString(" }\n}\n")
	nft, err := findNft()
	if err != nil {
		return fmt.Errorf("lose frames: %w", err)
	}
	cmd := exec.Command(nft, "-f", "-")
	cmd.Stdin = strings.NewReader(b.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("lose frames: nft: %w: %s", err, lastLines(string(out), 3))
	}
	return nil
}

// doBusy keeps every core busy for a while.
func doBusy(ctx context.Context, r *run, _ int, s step) error {
	ctx, cancel := context.WithTimeout(ctx, s.span.of(r.timing))
	defer cancel()
	keepBusy(ctx)
	return nil
}

// keepBusy runs an endless loop on each core, at normal priority, until ctx ends.
func keepBusy(ctx context.Context) {
	var wait sync.WaitGroup
	for range runtime.NumCPU() {
		wait.Go(func() {
			runtime.LockOSThread() // the child dies with the thread that made it
			defer runtime.UnlockOSThread()
			cmd := exec.CommandContext(ctx, "sh", "-c", "while :; do :; done")
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			cmd.Run()
		})
	}
	wait.Wait()
}

// floodRate is how many garbage frames are sent every ten milliseconds to each destination.
const floodRate = 20

// doFlood sends garbage to the heartbeat port on every network, and down the serial lines, for a while: noise, nothing,
// too much, and copies of real heartbeats cut short, with flipped bits, or unchanged but late.
func doFlood(ctx context.Context, r *run, _ int, s step) error {
	w := r.world
	ctx, cancel := context.WithTimeout(ctx, s.span.of(r.timing))
	defer cancel()
	return w.intruder.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(unix.ETH_P_IP>>8|unix.ETH_P_IP&0xff<<8))
		if err != nil {
			return fmt.Errorf("listen for heartbeats: %w", err)
		}
		defer unix.Close(fd)
		conn, err := (&net.ListenConfig{Control: allowBroadcast}).ListenPacket(ctx, "udp4", ":0")
		if err != nil {
			return fmt.Errorf("open a socket: %w", err)
		}
		defer conn.Close()
		f := &flooder{world: w, conn: conn, capture: fd, destinations: w.floodDestinations()}
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				w.note("rehearsal", KindAction, fmt.Sprintf("%d garbage frames were sent", f.sent))
				return nil
			case <-ticker.C:
				f.burst()
			}
		}
	})
}

func allowBroadcast(_, _ string, raw syscall.RawConn) error {
	var err error
	if controlErr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1) }); controlErr != nil {
		return controlErr
	}
	return err
}

// floodDestinations are both nodes and the broadcast address on every heartbeat network, at every port in use.
func (w *world) floodDestinations() []net.Addr {
	var all []net.Addr
	for _, n := range w.pair.networks {
		if !n.heartbeat {
			continue
		}
		s := n.subnets[0]
		for _, a := range []netip.Addr{s.nodes[0], s.nodes[1], last(s.prefix)} {
			if a.Is4() {
				all = append(all, net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, uint16(w.pair.port))))
			}
		}
	}
	return all
}

// flooder makes and sends garbage.
type flooder struct {
	world        *world
	conn         net.PacketConn
	capture      int // a packet socket that hears what is broadcast
	destinations []net.Addr
	heard        [][]byte
	sent         int
}

// burst sends one round of garbage everywhere.
func (f *flooder) burst() {
	f.listen()
	for range floodRate {
		garbage := f.garbage()
		for _, d := range f.destinations {
			if _, err := f.conn.WriteTo(garbage, d); err == nil {
				f.sent++
			}
		}
	}
	for _, c := range f.world.cables {
		garbage := f.garbage()
		c.Inject(rand.IntN(2), garbage[:min(len(garbage), 64)])
		f.sent++
	}
}

// listen collects real heartbeats, as far as the intruder hears any.
func (f *flooder) listen() {
	buffer := make([]byte, 4096)
	for {
		n, _, err := unix.Recvfrom(f.capture, buffer, 0)
		if err != nil {
			return
		}
		if n > 28 && buffer[9] == unix.IPPROTO_UDP && len(f.heard) < 1000 && (bytes.HasPrefix(buffer[28:n], []byte("###")) || bytes.HasPrefix(buffer[28:n], []byte(">>>"))) {
			f.heard = append(f.heard, bytes.Clone(buffer[28:n]))
		}
	}
}

// garbage makes one frame.
func (f *flooder) garbage() []byte {
	kind := rand.IntN(6)
	if len(f.heard) == 0 {
		kind %= 3
	}
	switch kind {
	case 0:
		return noise(rand.IntN(1400))
	case 1:
		return noise(20000 + rand.IntN(40000))
	case 2:
		return fmt.Appendf(nil, "###\n12:(0)t=status,14:(0)src=%s,%%%%%%\n42:1 %040x,", f.world.nodes[rand.IntN(2)].name, rand.Uint64())
	}
	frame := bytes.Clone(f.heard[rand.IntN(len(f.heard))])
	switch kind {
	case 3:
		return frame[:rand.IntN(len(frame))]
	case 4:
		frame[rand.IntN(len(frame))] ^= 1 << rand.IntN(8)
	}
	return frame
}

func noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}
