package agent

import (
	"context"

	"hapair/haresources"
	"hapair/heartbeat/host"
)

// Watch puts the active rules back when somebody changes them, and loads changed files after a reload.
func (f *firewall) Watch(report func(haresources.State, error)) func() {
	if kept := f.complaint(); kept != nil {
		report(haresources.Running, kept)
	}
	r := &repairer{watch: host.WatchNFT, status: f.Status, start: f.Start, redo: f.redo, report: report}
	r.reload = func(ctx context.Context) error {
		if err := f.Start(ctx); err != nil {
			return err
		}
		return f.complaint()
	}
	return r.begin()
}

// complaint is why the rules of another role are in force, nil when they are not.
func (f *firewall) complaint() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.kept
}
