package daemon

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"hapair/heartbeat/config"
	"hapair/heartbeat/fault"
	"hapair/heartbeat/stonith"
)

// FencingTool drives the devices of a configuration by hand, beside the daemon or without one.
type FencingTool struct {
	Node, Peer string
	File       string // that names the devices: ha.cf or heartbeat.toml

	devices []fencingDevice
	levels  *stonith.Levels
	several bool // there is more than one level
}

// fencingDevice is one of them, with its place.
type fencingDevice struct {
	config.Device
	level  int
	fencer stonith.Fencer
}

// DeviceReport is what became of the check of one device. Cause is one of stonith's, "" where it works.
type DeviceReport struct {
	Level  int    `json:"level"` // from 1
	Line   int    `json:"line"`  // in ha.cf
	Type   string `json:"type"`
	OK     bool   `json:"ok"`
	Cause  string `json:"cause,omitempty"`
	Error  string `json:"error,omitempty"`
	Power  string `json:"power"` // of the peer, as the device sees it: on, off, unknown
	TookMS int64  `json:"took_ms"`
}

// OpenFencing reads the configuration of a directory and opens its devices. say gets what they write. The error says what is wrong with
// the configuration, or that it names no device.
func OpenFencing(p Paths, say func(string)) (*FencingTool, error) {
	c, faults := LoadConfig(p)
	if err := faults.Err(); err != nil {
		return nil, errors.New("the configuration holds errors: run `heartbeat check`")
	}
	t := &FencingTool{Node: c.Node, Peer: c.Peer, File: filepath.Base(c.File)}
	levels := c.FencingLevels()
	if len(levels) == 0 {
		return nil, fmt.Errorf("%s names no fencing device for %s: write one (docs/fencing.md)", t.File, c.Node)
	}
	env := stonith.Environment{Dir: p.Config, Environ: environ(c, p), Timeout: c.FenceTimeout, Log: func(_ stonith.Level, text string) { say(text) }}
	var opened [][]stonith.Fencer
	for i, level := range levels {
		var list []stonith.Fencer
		for _, d := range level {
			f, err := stonith.Open(deviceSpec(d, c.Peer), env)
			if err != nil {
				return nil, fmt.Errorf("%s:%d: %w", t.File, d.Line, err)
			}
			list = append(list, f)
			t.devices = append(t.devices, fencingDevice{d, i + 1, f})
		}
		opened = append(opened, list)
	}
	t.levels, t.several = stonith.NewLevels(opened, env.Log), len(levels) > 1
	return t, nil
}

// Check asks every device whether it would work, one after the other. alive says that the peer's heartbeats arrive: a device that then calls
// it switched off is wired to another machine.
func (t *FencingTool) Check(ctx context.Context, alive bool) []DeviceReport {
	var reports []DeviceReport
	for _, d := range t.devices {
		began := time.Now()
		r := DeviceReport{Level: d.level, Line: d.Line, Type: d.Type, Power: stonith.PowerUnknown.String()}
		err := d.fencer.Check(ctx)
		r.TookMS = time.Since(began).Milliseconds()
		if e, can := d.fencer.(stonith.Examiner); can && err == nil {
			power, powerErr := e.Power(ctx, t.Peer)
			r.Power = power.String()
			if powerErr == nil && power == stonith.PowerOff && alive {
				err = &stonith.Failure{Device: d.Type, Cause: stonith.CauseHost,
					What:   fmt.Sprintf("it says that %s is off, but its heartbeats arrive: it is wired to another machine", t.Peer),
					Remedy: fmt.Sprintf("correct the plug, port or address in %s line %d", t.File, d.Line)}
			}
		}
		if r.OK = err == nil; err != nil {
			r.Error, r.Cause = err.Error(), string(stonith.CauseOf(err))
		}
		reports = append(reports, r)
	}
	return reports
}

// Several tells whether there is more than one level.
func (t *FencingTool) Several() bool { return t.several }

// Power asks the first device that can tell whether the peer is on.
func (t *FencingTool) Power(ctx context.Context) (stonith.Power, error) {
	return t.levels.Power(ctx, t.Peer)
}

// Fence does how to the peer, through the levels as the daemon does it. What a reset left off (Evidence.LeftOff) is for SwitchOn.
func (t *FencingTool) Fence(ctx context.Context, how stonith.Verb) (stonith.Evidence, error) {
	return t.levels.Fence(ctx, t.Peer, how)
}

// SwitchOn lets the peer come back after a reset that left it off.
func (t *FencingTool) SwitchOn(ctx context.Context) error {
	_, err := t.levels.Fence(ctx, t.Peer, stonith.On)
	return err
}

// deviceSpec is a line of ha.cf as a device is opened from it.
func deviceSpec(d config.Device, peer string) stonith.Spec {
	return stonith.Spec{Type: d.Type, Params: d.Params, File: d.File, Hosts: []string{peer}, Shared: d.Shared}
}

// checkDevices looks for the program of each fencing device, and for what its line alone shows.
func checkDevices(c *config.Config, p Paths) fault.List {
	var faults fault.List
	for _, level := range c.FencingLevels() {
		for _, d := range level {
			at := fault.Fault{File: c.File, Line: d.Line, Severity: fault.Error}
			env := stonith.Environment{Dir: p.Config, Log: func(l stonith.Level, text string) {
				warning := at
				if warning.Severity = fault.Warning; l == stonith.Info {
					warning.Severity = fault.Notice
				}
				faults.Addf(warning, "", "%s", text)
			}}
			f, err := stonith.Open(deviceSpec(d, c.Peer), env)
			if l, can := f.(stonith.Located); err == nil && can {
				err = l.Locate()
			}
			var failure *stonith.Failure
			if errors.As(err, &failure) {
				faults.Addf(at, failure.Remedy, "%s: %s", failure.Device, failure.What)
			}
		}
	}
	return faults
}
