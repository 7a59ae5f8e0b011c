package daemon

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"time"

	"hapair/heartbeat"
	"hapair/heartbeat/config"
	"hapair/heartbeat/stonith"
)

// How often the device is asked whether it would work, and how long it may take over switching a machine on again.
const (
	deviceCheckEvery = time.Hour
	switchOnPatience = 2 * time.Minute
	keptPatience     = 5 * time.Second // for the note of an attempt at the start to be on disk
)

// After fenceMost resets of a peer that never stayed for fenceCalm in between, a person is asked.
const (
	fenceMost = 3
	fenceCalm = 10 * time.Minute
)

// errNoDevice answers the core where it asks for what nobody can do.
var errNoDevice = errors.New("no STONITH device is configured")

// openDevice opens what this node resets the peer with, level by level; nil where nothing is configured.
func openDevice(c *config.Config, p Paths, log *Log) (stonith.Fencer, error) {
	say := func(l stonith.Level, text string) { logDevice(log, l, text) }
	env := stonith.Environment{Dir: p.Config, Environ: environ(c, p), Timeout: c.FenceTimeout, Log: say}
	var levels [][]stonith.Fencer
	for _, line := range c.FencingLevels() {
		var level []stonith.Fencer
		for _, d := range line {
			f, err := stonith.Open(deviceSpec(d, c.Peer), env)
			if err != nil {
				return nil, fmt.Errorf("%s:%d: STONITH device: %w", filepath.Base(c.File), d.Line, err)
			}
			level = append(level, f)
		}
		levels = append(levels, level)
	}
	if len(levels) == 0 {
		return nil, nil
	}
	return stonith.NewLevels(levels, say), nil
}

// deviceNames is what is configured, for status.
func deviceNames(c *config.Config) string {
	var levels []string
	for _, level := range c.FencingLevels() {
		var names []string
		for _, d := range level {
			names = append(names, d.Type)
		}
		levels = append(levels, strings.Join(names, " and "))
	}
	return strings.Join(levels, ", else ")
}

// sameDevices tells whether two configurations name the same devices in the same way.
func sameDevices(a, b *config.Config) bool {
	return reflect.DeepEqual(a.FencingLevels(), b.FencingLevels()) && a.FenceTimeout == b.FenceTimeout && a.FenceAction == b.FenceAction
}

// fenceVerb is what is done to the other machine.
func fenceVerb(c *config.Config) stonith.Verb {
	if c.FenceAction == "off" {
		return stonith.Off
	}
	return stonith.Reset
}

// logDevice writes a device's line.
func logDevice(log *Log, l stonith.Level, text string) {
	sev := sevInfo
	switch l {
	case stonith.Warn:
		sev = sevWarn
	case stonith.Crit:
		sev = sevCrit
	}
	log.logf(sev, "%s", text)
}

// fencing carries out what the core asks for, each attempt in a goroutine of its own, and asks the device now and then
// whether it would work.
type fencing struct {
	in     *inbox
	log    *Log
	alarms *alarms
	ctx    context.Context
	tasks  sync.WaitGroup

	figures *figures // what is counted

	mu       sync.Mutex
	device   stonith.Fencer
	verb     stonith.Verb
	attempts map[heartbeat.OpID]context.CancelFunc
	changed  chan struct{} // closed when the device is replaced
	checked  deviceCheck
}

// deviceCheck is what became of the last question whether the device would work.
type deviceCheck struct {
	at   time.Time // zero before the first answer
	took time.Duration
	err  error
}

// newFencing makes the worker, for a device that may be nil; ctx ends whatever it does.
func newFencing(ctx context.Context, device stonith.Fencer, verb stonith.Verb, in *inbox, a *alarms) *fencing {
	return &fencing{in: in, log: a.log, alarms: a, ctx: ctx, device: device, verb: verb, attempts: map[heartbeat.OpID]context.CancelFunc{}, changed: make(chan struct{}), figures: &figures{}}
}

// replace makes further attempts with another device, which may be nil, and another verb.
func (f *fencing) replace(device stonith.Fencer, verb stonith.Verb) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.device, f.verb, f.checked = device, verb, deviceCheck{}
	close(f.changed)
	f.changed = make(chan struct{})
}

// current is the device and what is closed when it is replaced.
func (f *fencing) current() (stonith.Fencer, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.device, f.changed
}

// do begins an attempt once ready is closed, and answers it with a Done.
func (f *fencing) do(a heartbeat.Fence, ready <-chan struct{}) {
	device, _ := f.current()
	if device == nil {
		f.in.post(heartbeat.Done{Op: a.Op, Err: errNoDevice})
		return
	}
	ctx, cancel := context.WithCancel(f.ctx)
	f.mu.Lock()
	f.attempts[a.Op] = cancel
	verb := f.verb
	f.mu.Unlock()
	f.tasks.Go(func() {
		defer f.forget(a.Op)
		select {
		case <-ready:
		case <-time.After(keptPatience): // a full disk must not cost the service
		case <-ctx.Done():
			return
		}
		f.log.Infof("Resetting node %s with [%s]", a.Node, stonith.NameOf(device))
		evidence, err := device.Fence(ctx, a.Node, verb)
		for _, seen := range evidence.Seen {
			f.log.Infof("STONITH: %s", seen)
		}
		if ctx.Err() != nil {
			return // not wanted any more: nobody waits for the answer
		}
		if err == nil && !evidence.Certain {
			f.log.Warnf("STONITH: %s says that %s was reset and cannot prove it: fit for tests only", evidence.Device, a.Node)
		}
		f.figures.fenced(err)
		f.in.post(heartbeat.Done{Op: a.Op, Err: err})
		if err == nil && evidence.LeftOff {
			f.switchOn(device, a.Node)
		}
	})
}

// switchOn lets the machine that was left off come back; that nothing waits for.
func (f *fencing) switchOn(device stonith.Fencer, node string) {
	ctx, cancel := context.WithTimeout(f.ctx, switchOnPatience)
	defer cancel()
	if _, err := device.Fence(ctx, node, stonith.On); err != nil {
		f.log.Warnf("STONITH: %s is off and could not be switched on again: %v", node, err)
	}
}

// cancel ends an attempt that is not wanted any more.
func (f *fencing) cancel(op heartbeat.OpID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if cancel := f.attempts[op]; cancel != nil {
		cancel()
	}
}

// forget drops an attempt that has ended.
func (f *fencing) forget(op heartbeat.OpID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if cancel := f.attempts[op]; cancel != nil {
		cancel()
		delete(f.attempts, op)
	}
}

// watch asks the device at once, when it is replaced, and every hour whether it would work, until ctx ends.
func (f *fencing) watch() {
	for f.ctx.Err() == nil {
		device, changed := f.current()
		if device != nil {
			f.check(device)
		} else {
			f.alarms.clear("stonith")
		}
		timer := time.NewTimer(deviceCheckEvery)
		select {
		case <-timer.C:
		case <-changed:
		case <-f.ctx.Done():
		}
		timer.Stop()
	}
}

// check asks the device once, and tells the core how long that took: its attempts will take about twice that.
func (f *fencing) check(device stonith.Fencer) {
	f.log.Debugf("Checking status of STONITH device [%s]", stonith.NameOf(device))
	begin := time.Now()
	err := device.Check(f.ctx)
	took := time.Since(begin)
	if f.ctx.Err() != nil {
		return
	}
	f.mu.Lock()
	if f.device == device {
		f.checked = deviceCheck{time.Now(), took, err}
	}
	f.mu.Unlock()
	switch {
	case err != nil:
		f.alarms.raise("stonith", fmt.Sprintf("STONITH device %s not operational: %v", stonith.NameOf(device), err))
	default:
		f.alarms.clear("stonith")
		f.in.post(heartbeat.DeviceChecked{Took: took})
	}
}

// lastCheck tells what became of the last question.
func (f *fencing) lastCheck(v *FencingView) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.checked.at.IsZero() {
		return
	}
	v.Checked, v.CheckMS = stamp(f.checked.at), f.checked.took.Milliseconds()
	if f.checked.err != nil {
		v.CheckError = f.checked.err.Error()
	}
}
