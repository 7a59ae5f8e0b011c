package agent

import (
	"context"
	"errors"

	"hapair/haresources"
	"hapair/heartbeat/host"
)

// Watch puts the active rules back when somebody changes them, and loads changed files after a reload.
func (f *firewall) Watch(report func(haresources.State, error)) func() {
	if kept := f.Complaint(); kept != nil {
		report(haresources.Running, kept)
	}
	r := &repairer{watch: host.WatchNFT, status: f.Status, start: f.Start, redo: f.redo, report: report}
	r.reload = func(ctx context.Context) error {
		if err := f.Start(ctx); err != nil {
			return err
		}
		return f.Complaint()
	}
	return r.begin()
}

// Complaint is why the rules of another role are in force, or could not be if they were wanted; nil when all is well.
func (f *firewall) Complaint() error {
	f.faulty.Lock()
	defer f.faulty.Unlock()
	return errors.Join(f.kept, f.untried)
}
