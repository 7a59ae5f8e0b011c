package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hapair/haresources"
	"hapair/heartbeat/host"
)

// Stop unmounts the file system, with everything that is mounted below it. Those who use it get TERM, then KILL, and are
// named. If even that does not help it is taken out of the directory tree; where its device stays in use that is an error,
// since nobody else may write to it.
func (f *filesystem) Stop(ctx context.Context) error {
	m, mounted, ours, err := f.find()
	if err != nil {
		return err
	}
	if mounted && !ours {
		say(ctx, fmt.Sprintf("WARN: %s is not mounted, but %s is at %s, and stays", f.device, m.Source, m.Point))
		return nil
	}
	if !mounted {
		if f.detached && host.DeviceBusy(f.path()) {
			return f.stillBusy()
		}
		f.detached = false
		return nil
	}
	for range 20 { // as often as it is mounted over itself
		if err := f.unmountAll(ctx); err != nil {
			return err
		}
		if _, _, ours, err = f.find(); err != nil || !ours {
			break
		}
	}
	if err != nil {
		return err
	}
	return f.elsewhere(ctx, m)
}

// say hands a line to the journal.
func say(ctx context.Context, text string) {
	if line := haresources.OutputTo(ctx); line != nil {
		line(text)
	}
}

// unmountAll unmounts what is below, deepest first, and the file system itself.
func (f *filesystem) unmountAll(ctx context.Context) error {
	list, err := host.Mounts()
	if err != nil {
		return err
	}
	m, mounted := host.MountedAt(list, f.point())
	if !mounted {
		return nil
	}
	for _, below := range append(host.MountsBelow(list, m.Point), m) {
		if err := f.unmount(ctx, below); err != nil {
			return err
		}
	}
	return nil
}

// unmount unmounts one file system, whatever it takes.
func (f *filesystem) unmount(ctx context.Context, m host.Mount) error {
	err := f.umount(ctx, m)
	if err == nil || ctx.Err() != nil {
		return err
	}
	for _, step := range []struct {
		signal unix.Signal
		name   string
		grace  time.Duration
	}{{unix.SIGTERM, "TERM", termGrace}, {unix.SIGKILL, "KILL", killGrace}} {
		users, listErr := host.MountUsers([]host.Mount{m})
		if listErr != nil {
			return errors.Join(err, listErr)
		}
		if len(users) == 0 {
			break
		}
		for _, u := range users {
			say(ctx, fmt.Sprintf("WARN: %s is in use: %v: sent %s", m.Point, u, step.name))
			err = errors.Join(err, host.Signal(u.PID, step.signal))
		}
		if err = f.retry(ctx, m, step.grace); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return f.detach(ctx, m, err)
}

// retry tries again until the users are gone, or time is up.
func (f *filesystem) retry(ctx context.Context, m host.Mount, grace time.Duration) error {
	for deadline := time.Now().Add(grace); ; {
		if err := wait(ctx, 100*time.Millisecond); err != nil {
			return err
		}
		users, err := host.MountUsers([]host.Mount{m})
		late := time.Now().After(deadline)
		if err == nil && len(users) > 0 && !late {
			continue
		}
		if err = f.umount(ctx, m); err == nil || late || ctx.Err() != nil {
			return err
		}
	}
}

// umount runs the program once.
func (f *filesystem) umount(ctx context.Context, m host.Mount) error {
	limited, cancel := context.WithTimeout(ctx, umountLimit)
	defer cancel()
	args := []string{m.Point}
	if strings.HasPrefix(m.Type, "nfs") {
		args = []string{"-f", m.Point}
	}
	lines, err := tool{name: "umount", args: args}.run(limited, f.env)
	if err == nil {
		return nil
	}
	list, listErr := host.Mounts()
	if listErr != nil {
		return listErr
	}
	for _, have := range list {
		if have.ID == m.ID {
			return lastWords(err, lines)
		}
	}
	return nil // somebody else was quicker
}

// detach takes a file system out of the directory tree, as the last thing that can be done.
func (f *filesystem) detach(ctx context.Context, m host.Mount, why error) error {
	holders := host.KernelUsers([]host.Mount{m})
	users, _ := host.MountUsers([]host.Mount{m})
	for _, u := range users {
		holders = append(holders, "process "+u.String())
	}
	if len(holders) > 0 {
		why = fmt.Errorf("%w; in use by: %s", why, strings.Join(holders, ", "))
	}
	say(ctx, fmt.Sprintf("ERROR: %s cannot be unmounted (%v): detached, as the last resort", m.Point, why))
	if err := host.Detach(m.Point); err != nil {
		return errors.Join(why, err)
	}
	if _, block := host.DeviceNumber(m.Source); !block {
		return nil // nothing of it is here that another node could spoil
	}
	f.detached = true
	for deadline := time.Now().Add(killGrace); host.DeviceBusy(m.Source); {
		if time.Now().After(deadline) || wait(ctx, 100*time.Millisecond) != nil {
			return fmt.Errorf("%w: %w", f.stillBusy(), why)
		}
	}
	f.detached = false
	return nil
}

// stillBusy says that the device must not be given to another node.
func (f *filesystem) stillBusy() error {
	return fmt.Errorf("%s was detached from %s, but the kernel still writes to it", f.device, f.dir)
}

// elsewhere makes sure that the file system is not mounted for somebody else who would keep on writing to its device.
func (f *filesystem) elsewhere(ctx context.Context, m host.Mount) error {
	if _, block := host.DeviceNumber(m.Source); !block || !host.DeviceBusy(m.Source) {
		return nil
	}
	users := host.OtherMounts(m.Device)
	if len(users) == 0 {
		return nil // mounted a second time here, or taken by what stands above it: not this resource's affair
	}
	var names []string
	for _, u := range users {
		names = append(names, u.String())
		say(ctx, fmt.Sprintf("ERROR: %s is unmounted here, but process %v", f.device, u))
	}
	return fmt.Errorf("%s is unmounted, but others have it in mount namespaces of their own: %s", f.device, strings.Join(names, "; "))
}
