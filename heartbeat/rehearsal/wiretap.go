package rehearsal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"hapair/heartbeat/rehearsal/lab"
	"hapair/heartbeat/wire"
)

// wiretap listens to what both nodes say to each other, at the switches' end of their cables: what is lost between the nodes has been heard here.
type wiretap struct {
	now func() time.Duration

	mu     sync.Mutex
	frames [2][]tapped
	kept   [2][][]byte
	zipped [2]int // messages that were compressed as a whole
}

// tapped is one frame of a node.
type tapped struct {
	at    time.Duration
	asks  bool // for a lost message (NS_rexmit)
	again bool // a message that it has sent on this link before
	word  bool // that it has released what it was to give
}

// mostKept is how many frames of each node are kept whole, for who wants to verify them.
const mostKept = 400

// onlyUDP lets through what the nodes' heartbeats are: the clients' probes on the same networks are far more.
var onlyUDP = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 12},                              // 0: the Ethernet type
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.ETH_P_IP, Jt: 1, Jf: 0},    // 1: IPv4: 3
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.ETH_P_IPV6, Jt: 2, Jf: 4},  // 2: IPv6: 5; else 7
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 23},                              // 3: the protocol
	{Code: unix.BPF_JMP | unix.BPF_JA, K: 1},                                            // 4: 6
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 20},                              // 5: the next header
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.IPPROTO_UDP, Jt: 1, Jf: 0}, // 6: UDP: 8
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},                                             // 7: nothing of it
	{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 16},                                       // 8: all of it
}

// listen hears what a node sends on its ports, until its power is cut. A serial cable is heard for good.
func (t *wiretap) listen(node int, ports []*lab.Plug) error {
	for _, p := range ports {
		fd, err := openTap(p)
		if err != nil {
			return fmt.Errorf("listen at %s: %w", p.Name, err)
		}
		go t.read(node, p, fd)
	}
	return nil
}

// openTap opens a packet socket at the switch's end of a cable.
func openTap(p *lab.Plug) (int, error) {
	const all = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL&0xff<<8
	index, err := p.Index()
	if err != nil {
		return 0, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(onlyUDP)), Filter: &onlyUDP[0]})
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index})
	}
	if err != nil {
		unix.Close(fd)
		return 0, err
	}
	return fd, nil
}

// read reads a tap until its port is gone.
func (t *wiretap) read(node int, p *lab.Plug, fd int) {
	defer unix.Close(fd)
	buffer, control := make([]byte, 1<<16), make([]byte, 128)
	seen := map[string]bool{}
	for {
		n, oobn, _, from, err := unix.Recvmsg(fd, buffer, control, 0)
		if err == unix.ENETDOWN { // the cable was pulled, or is gone for good
			_, err = p.Index()
			if err == nil {
				continue
			}
		}
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return
		}
		if link, is := from.(*unix.SockaddrLinklayer); is && link.Pkttype == unix.PACKET_OUTGOING {
			continue // to the node
		}
		if payload := udpPayload(buffer[:n]); payload != nil {
			t.hear(node, t.now()-ago(control[:oobn]), payload, seen)
		}
	}
}

// ago is how long ago the kernel received a packet.
func ago(control []byte) time.Duration {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16 {
			stamp := time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
			return max(0, time.Since(stamp))
		}
	}
	return 0
}

// udpPayload is what an Ethernet frame with a whole UDP datagram in it carries.
func udpPayload(frame []byte) []byte {
	header := 14
	switch {
	case len(frame) > 34 && frame[12] == 0x08:
		header += int(frame[14]&0xf) * 4
	case len(frame) > 54:
		header += 40
	}
	if len(frame) <= header+8 {
		return nil
	}
	length := int(frame[header+4])<<8 | int(frame[header+5])
	if length < 8 || len(frame) < header+length {
		return nil
	}
	return frame[header+8 : header+length]
}

// serial is a tap for one end of a serial cable.
func (t *wiretap) serial(node int) func([]byte) {
	var rest []byte
	seen := map[string]bool{}
	return func(b []byte) {
		rest = append(rest, b...)
		for {
			advance, frame, err := wire.Split(rest, false)
			if err != nil || advance == 0 {
				break
			}
			if frame != nil {
				t.hear(node, t.now(), frame, seen)
			}
			rest = rest[advance:]
		}
		if len(rest) > 1<<16 {
			rest = nil
		}
	}
}

// hear notes one frame; seen are the messages that came by the same way before.
func (t *wiretap) hear(node int, at time.Duration, frame []byte, seen map[string]bool) {
	m, err := wire.Parse(frame)
	if err != nil {
		return
	}
	f := tapped{at: at, asks: m.Kind() == "NS_rexmit", word: m.Kind() == "ask_resources" && m.Get("info") == "done" || m.Kind() == "shutdone"}
	if !strings.HasPrefix(m.Kind(), "NS_") && m.Get("seq") != "" {
		key := m.Get("hg") + "/" + m.Get("seq")
		f.again, seen[key] = seen[key], true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.frames[node] = append(t.frames[node], f)
	if _, is := m.Lookup("_compressed_payload"); is {
		t.zipped[node]++
	}
	if len(t.kept[node]) < mostKept || m.Kind() != "status" && len(t.kept[node]) < 2*mostKept {
		t.kept[node] = append(t.kept[node], bytes.Clone(frame))
	}
}

// packed is how many messages a node has sent compressed.
func (t *wiretap) packed(node int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.zipped[node]
}

// Bounds of what may be said again. A gap of deadtime is at most a hundred heartbeats, each of which is asked for on every link; more than that within one second
// is a storm.
const (
	mostAsked   = 400
	mostAgain   = 400
	calmedAfter = 300 * time.Millisecond // at the end of a phase: nobody asks any more
)

// judgeTraffic finds storms of retransmissions in a phase.
func (r *run) judgeTraffic(result *Phase, from, to time.Duration) {
	t := r.world.tap
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, n := range r.world.nodes {
		var asked, again []time.Duration
		late := 0
		for _, f := range t.frames[i] {
			if f.at < from || f.at > to {
				continue
			}
			if f.asks {
				asked = append(asked, f.at)
				if f.at > to-calmedAfter {
					late++
				}
			}
			if f.again {
				again = append(again, f.at)
			}
		}
		if len(asked) > 0 || len(again) > 0 {
			result.Traffic = append(result.Traffic, Traffic{Node: n.name, Asked: len(asked), Again: len(again)})
		}
		if most := densest(asked, time.Second); most > mostAsked {
			result.fail("%s asked %d times within a second for lost messages", n.name, most)
		}
		if most := densest(again, time.Second); most > mostAgain {
			result.fail("%s sent %d messages within a second once more", n.name, most)
		}
		if late > 0 && !r.world.losing {
			result.fail("%s still asks for lost messages in the end (%d times in the last %v)", n.name, late, calmedAfter)
		}
	}
}

// released is when a node gave its word, within a stretch of time, that it had released what it was to give; false when it did not.
func (t *wiretap) released(node int, from, to time.Duration) (time.Duration, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.frames[node] {
		if f.word && f.at >= from && f.at <= to {
			return f.at, true
		}
	}
	return 0, false
}

// densest is the greatest number of instants within a stretch of time.
func densest(at []time.Duration, within time.Duration) int {
	most, first := 0, 0
	for i := range at {
		for at[i]-at[first] > within {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}
