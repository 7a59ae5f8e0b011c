package daemon

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"hapair/heartbeat"
	"hapair/heartbeat/wire"
)

// fifo takes messages from local programs in the classic way (protocol section 3.1): `>>>`, lines, `<<<`, no signature.
// Only root can open it.
type fifo struct {
	file *os.File
	done chan struct{}
}

// openFIFO makes the FIFO if need be and reads it until close; deliver gets each message.
func openFIFO(path string, log *Log, deliver func(wire.Message)) (*fifo, error) {
	info, err := os.Lstat(path)
	if err == nil && info.Mode()&os.ModeType != os.ModeNamedPipe {
		return nil, fmt.Errorf("open FIFO: %s is something else: remove it", path)
	}
	if errors.Is(err, os.ErrNotExist) {
		log.Infof("Creating FIFO %s.", path)
		err = syscall.Mkfifo(path, 0o600)
	}
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("open FIFO: %w", err)
	}
	// Opened for writing too, so that it has no end when the last writer closes.
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open FIFO: %w", err)
	}
	p := &fifo{file: f, done: make(chan struct{})}
	go p.run(log, deliver)
	return p, nil
}

func (p *fifo) run(log *Log, deliver func(wire.Message)) {
	defer close(p.done)
	in := bufio.NewScanner(p.file)
	in.Buffer(nil, wire.MaxFrame)
	in.Split(wire.Split)
	for in.Scan() {
		m, err := wire.Parse(in.Bytes())
		if err != nil {
			log.Warnf("FIFO: message ignored: %v", err)
			continue
		}
		deliver(m)
	}
	if err := in.Err(); err != nil && !errors.Is(err, os.ErrClosed) {
		log.Errorf("FIFO: %v: local programs cannot send messages until heartbeat is restarted", err)
	}
}

// close ends the reader.
func (p *fifo) close() {
	p.file.Close()
	<-p.done
}

// Messages that only the daemon itself may send: whoever sent them by hand would forge what other nodes decide by.
var reservedTypes = map[string]bool{
	"status": true, "starting": true, "resource": true, "shutdone": true, "reqnodes": true, "repnodes": true, "stonith": true,
	"ip-request": true, "ip-request-resp": true, letterType: true,
}

// administration is answered with an explanation: the node table of a pair is its ha.cf.
var administration = map[string]bool{"addnode": true, "delnode": true, "setweight": true, "setsite": true}

// fromFIFO translates a local program's message into what the core understands. The event is nil, and the sentence says why,
// when there is nothing to do.
func fromFIFO(m wire.Message) (ev heartbeat.Event, refused string) {
	kind := m.Kind()
	request := func(k heartbeat.RequestKind) heartbeat.Event {
		return heartbeat.Request{Kind: k, Which: m.Get("rsc_hold"), By: "a local program (FIFO)"}
	}
	switch {
	case kind == "":
		return nil, "message without a type (field t)"
	case kind == "ask_resources":
		if info := m.Get("info"); info != "me" {
			return nil, fmt.Sprintf("ask_resources with info=%q: only \"me\" is for local programs", info)
		}
		return request(heartbeat.RequestStandby), ""
	case kind == "hb_takeover":
		return request(heartbeat.RequestTakeover), ""
	case administration[kind]:
		return nil, kind + ": the nodes of a pair are those of ha.cf; edit it on both and run `heartbeat reload`"
	case reservedTypes[kind] || strings.HasPrefix(kind, "NS_"):
		return nil, kind + ": this type is the daemon's own"
	}
	return heartbeat.Submit{Msg: m}, ""
}
