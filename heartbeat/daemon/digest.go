package daemon

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"hapair/heartbeat"
	"hapair/heartbeat/config"
	"hapair/heartbeat/fault"
)

// How often what belongs to no reload is looked at again, and how patient a comparison is.
const (
	digestEvery   = time.Minute             // scripts change without a reload
	digestSettle  = 1500 * time.Millisecond // a change that is being made on both nodes is no difference yet
	digestRetry   = 30 * time.Second
	compareWithin = 8 * time.Second
)

// whatItems is the question for all items of the other node: the argument names the key that digests are made with.
const whatItems = "items"

// FilesView is what is known of whether both nodes have the same files, scripts and program.
type FilesView struct {
	State       string   `json:"state"`                 // equal, different, unknown (not compared yet, or the peer is away), unsupported (Linux-HA)
	Differences []string `json:"differences,omitempty"` // worst first, one sentence each

	degrading []string // those that are no mere notices
}

// comparer keeps the peer informed of what this node's files, scripts and program are, and compares them with the peer's.
type comparer struct {
	e     *engine
	calls *calls
	sums  sums
	kick  chan struct{} // a token: something changed

	mu     sync.Mutex
	peer   string // what the peer's heartbeats told
	own    string // what this node's tell
	files  FilesView
	faults fault.List
	said   map[string]bool // differences that are in the log
}

// newComparer makes one; run works.
func newComparer(ctx context.Context, e *engine) *comparer {
	k := &comparer{e: e, calls: newCalls(ctx, e), kick: make(chan struct{}, 1), files: FilesView{State: "unknown"}, said: map[string]bool{}}
	k.calls.answers[whatItems] = k.tellItems
	k.calls.answers[whatDoctor] = e.tellDoctor
	return k
}

// run computes and compares until ctx ends.
func (k *comparer) run(ctx context.Context) {
	every := time.NewTicker(digestEvery)
	defer every.Stop()
	k.refresh()
	var later <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			k.refresh()
		case <-k.kick:
			k.refresh()
			if k.differs() == nil {
				k.settle(fault.List{}, "equal")
				later = nil
			} else {
				later = time.After(digestSettle)
			}
		case <-later:
			later = nil
			if parts := k.differs(); parts != nil && !k.compare(ctx, parts) {
				later = time.After(digestRetry)
			}
		}
	}
}

// peerCalls is how this daemon and the peer's ask each other; nil where they do not.
func (e *engine) peerCalls() *calls {
	if e.compare == nil {
		return nil
	}
	return e.compare.calls
}

// changed is called when a configuration came into force.
func (k *comparer) changed() {
	if k != nil {
		wake(k.kick)
	}
}

// heard takes what the peer's heartbeats told; it runs in the loop.
func (k *comparer) heard(text string) {
	if k == nil {
		return
	}
	k.mu.Lock()
	k.peer = text
	k.mu.Unlock()
	wake(k.kick)
}

// refresh tells the peer what this node has, should that have changed.
func (k *comparer) refresh() {
	c := k.e.conf()
	if c.Keys == nil || c.Peer == "" {
		return
	}
	index, _ := c.Keys.Signing()
	text := digest(c, k.sums.items(c, k.e.paths), index)
	k.mu.Lock()
	k.own = text
	k.mu.Unlock()
	k.e.in.post(heartbeat.Digest{Text: text})
}

// differs lists the parts that are not the same on both nodes; nil where all are, or nothing is known.
func (k *comparer) differs() (parts []string) {
	k.mu.Lock()
	text := k.peer
	k.mu.Unlock()
	index, theirs, err := parseDigest(text)
	c := k.e.conf()
	if err != nil || c.Keys == nil {
		return nil
	}
	_, mine, _ := parseDigest(digest(c, k.sums.items(c, k.e.paths), index))
	for _, part := range digestParts {
		if theirs[part] != "" && theirs[part] != mine[part] {
			parts = append(parts, part)
		}
	}
	return parts
}

// compare asks the peer for its items and finds out what differs; false where it should be tried again.
func (k *comparer) compare(ctx context.Context, parts []string) bool {
	list, err := k.fetch(ctx)
	if err != nil {
		var names []string
		for _, part := range parts {
			names = append(names, partName(k.e.conf(), part))
		}
		k.settle(fault.List{{Severity: fault.Warning, Message: fmt.Sprintf("%s differ from %s's, and what exactly is not known: %v",
			strings.Join(names, ", "), k.e.conf().Peer, err), Hint: "compare them by hand"}}, "different")
		return errors.Is(err, errClassicPeer)
	}
	state := "different"
	if len(list) == 0 {
		state = "equal"
	}
	k.settle(list, state)
	return true
}

// partName is what a person calls a part.
func partName(c *config.Config, part string) string {
	switch part {
	case config.PartScripts:
		return "scripts"
	case config.PartProgram:
		return "the program"
	}
	return c.FileOf(part)
}

// fetch asks the peer for its items and compares them now.
func (k *comparer) fetch(ctx context.Context) (fault.List, error) {
	ctx, cancel := context.WithTimeout(ctx, compareWithin)
	defer cancel()
	c := k.e.conf()
	if c.Keys == nil {
		return nil, errors.New("this node has no keys")
	}
	index, _ := c.Keys.Signing()
	text, err := k.calls.ask(ctx, whatItems, fmt.Sprint(index))
	if err != nil {
		return nil, err
	}
	var theirs config.Side
	if err := unpack(text, &theirs); err != nil {
		return nil, fmt.Errorf("what %s answered makes no sense: %w", c.Peer, err)
	}
	return config.Compare(config.NewSide(c, k.sums.items(c, k.e.paths), index), theirs), nil
}

// tellItems answers the peer's question.
func (k *comparer) tellItems(_ context.Context, arg string) (string, error) {
	c := k.e.conf()
	var index int
	if _, err := fmt.Sscan(arg, &index); err != nil || c.Keys.Digest(index, nil) == "" {
		return "", fmt.Errorf("%s has no key %s", c.Node, arg)
	}
	return pack(config.NewSide(c, k.sums.items(c, k.e.paths), index))
}

// settle keeps the outcome, and logs what of it is new.
func (k *comparer) settle(list fault.List, state string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	was := k.files.State
	k.faults, k.files = list, FilesView{State: state}
	if k.peer == "" {
		k.files.State = "unknown"
	}
	said := map[string]bool{}
	for _, f := range list {
		text := sentenceOf(f)
		k.files.Differences = append(k.files.Differences, text)
		if said[text] = true; !k.said[text] {
			sev := sevWarn
			if f.Severity == fault.Notice {
				sev = sevNotice
			}
			k.e.log.logf(sev, "Not the same on both nodes: %s", text)
		}
	}
	if was == "different" && state == "equal" {
		k.e.log.Infof("Files, scripts and program are the same on both nodes now")
	}
	k.said = said
}

// sentenceOf renders a fault without its severity.
func sentenceOf(f fault.Fault) string {
	text := f.Error()
	return strings.Replace(text, f.Severity.String()+": ", "", 1)
}

// view is what status shows.
func (k *comparer) view(peer heartbeat.PeerStatus) *FilesView {
	if k == nil || peer.Name == "" {
		return nil
	}
	if peer.Kind == "linux-ha" {
		return &FilesView{State: "unsupported"}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	v := k.files
	if v.State == "equal" && !peer.Reachable {
		v.State = "unknown" // who knows what becomes of a node that is away
	}
	v.Differences = slices.Clone(v.Differences)
	for i, f := range k.faults {
		if f.Severity > fault.Notice {
			v.degrading = append(v.degrading, v.Differences[i])
		}
	}
	return &v
}

// Comparison answers CommandCompare.
type Comparison struct {
	Peer   string     `json:"peer"`
	State  string     `json:"state"`         // as in FilesView
	Why    string     `json:"why,omitempty"` // it could not be compared
	Faults fault.List `json:"faults"`
}

// answerCompare compares now.
func (e *engine) answerCompare(ctx context.Context) Reply {
	if e.compare == nil {
		return Reply{Error: "this daemon compares nothing"}
	}
	v := Comparison{Peer: e.conf().Peer, State: "equal", Faults: fault.List{}}
	list, err := e.compare.fetch(ctx)
	switch {
	case errors.Is(err, errClassicPeer):
		v.State, v.Why = "unsupported", err.Error()
	case err != nil:
		v.State, v.Why = "unknown", err.Error()
	case len(list) > 0:
		v.State, v.Faults = "different", list
	}
	return Reply{OK: true, Comparison: &v}
}

// pack renders a value for a message.
func pack(v any) (string, error) {
	var b bytes.Buffer
	text := base64.NewEncoder(base64.StdEncoding, &b)
	w, err := flate.NewWriter(text, flate.BestCompression)
	if err != nil {
		return "", err
	}
	if err := json.NewEncoder(w).Encode(v); err != nil {
		return "", err
	}
	if err := errors.Join(w.Close(), text.Close()); err != nil {
		return "", err
	}
	return b.String(), nil
}

// maxUnpacked bounds what a packed answer may become.
const maxUnpacked = 4 << 20

// unpack reads what pack made.
func unpack(text string, v any) error {
	r := flate.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(text)))
	return json.NewDecoder(io.LimitReader(r, maxUnpacked)).Decode(v)
}
