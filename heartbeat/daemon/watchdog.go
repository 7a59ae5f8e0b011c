package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// watchdog is ha.cf's watchdog device: it resets the machine when the loop no longer lives (protocol section 6.7). It is fed with each
// heartbeat and by nothing else, so that its time-out and the peer's dead time are counted from the same moment, and the time-out is the
// shorter one: a node that hangs, or whose daemon was killed, is reset before its peer takes over.
//
// The loop only says that it lives; a goroutine writes, because some devices take their time.
type watchdog struct {
	path    string
	timeout time.Duration // in force
	device  watchdogDevice
	log     *Log
	every   time.Duration // between two writes
	feed    chan struct{}
	stop    chan struct{}
	left    atomic.Bool // stop without disarming
	done    chan struct{}
	once    sync.Once

	fed   time.Duration // Mono of the last word, the loop's own
	word  atomic.Int64  // the same, for the writer
	clock func() time.Duration
}

// watchdogDevice is what the kernel offers; *watchdogFile is the real one.
type watchdogDevice interface {
	// Support tells the device's name and abilities (WDIOF_*).
	Support() (name string, options uint32, err error)
	// SetTimeout sets the time-out in seconds and returns the one in force.
	SetTimeout(seconds int) (int, error)
	// Timeout reads the one in force.
	Timeout() (int, error)
	// Keepalive starts the time-out anew.
	Keepalive() error
	// Disarm closes the device so that the machine goes on running.
	Disarm() error
}

// openWatchdog arms a device. The error says why it would not do what it is for, and what to do; the device is then disarmed again.
func openWatchdog(path string, timeout, keepalive time.Duration, log *Log) (*watchdog, error) {
	device, err := openWatchdogFile(path)
	if err != nil {
		return nil, watchdogRefusal(path, err)
	}
	return startWatchdog(path, device, timeout, keepalive, log)
}

// startWatchdog arms a device that is open.
func startWatchdog(path string, device watchdogDevice, timeout, keepalive time.Duration, log *Log) (*watchdog, error) {
	name, options, err := device.Support()
	if err != nil {
		device.Disarm()
		return nil, fmt.Errorf("watchdog %s: %w: it is no watchdog device", path, err)
	}
	have, err := armWatchdog(device, timeout)
	if err != nil {
		device.Disarm()
		return nil, fmt.Errorf("watchdog %s (%s): %w", path, name, err)
	}
	log.Infof("Watchdog %s (%s) resets this machine when heartbeat does not run for %v", path, name, have)
	if options&unix.WDIOF_MAGICCLOSE == 0 {
		log.Warnf("Watchdog %s (%s) is disarmed by the kernel when heartbeat is killed: only a daemon that hangs is reset by it", path, name)
	}
	if watchdogStays(path) {
		log.Warnf("Watchdog %s (%s) cannot be disarmed (nowayout): stopping heartbeat resets this machine %v later, unless another program takes the "+
			"watchdog over", path, name, have)
	}
	w := &watchdog{
		path: path, timeout: have, device: device, log: log, every: min(keepalive, have/4),
		feed: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}), clock: func() time.Duration { return realClock().Mono },
	}
	w.fed = -w.every
	go w.run()
	return w, nil
}

// armWatchdog sets the time-out and makes sure that the device keeps it.
func armWatchdog(device watchdogDevice, timeout time.Duration) (time.Duration, error) {
	seconds := int(timeout / time.Second)
	have, err := device.SetTimeout(seconds)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOTTY) {
		have, err = device.Timeout()
	}
	if err != nil {
		return 0, fmt.Errorf("cannot set its time-out to %d s: %w; choose a longer deadtime, or another watchdog (modprobe softdog)", seconds, err)
	}
	if have > seconds {
		return 0, fmt.Errorf("its time-out is %d s and cannot be %d s: the peer would have taken over before this machine is reset; "+
			"write deadtime %d or more, or use another watchdog (modprobe softdog)", have, seconds, have+1)
	}
	if have < 1 {
		return 0, fmt.Errorf("its time-out is %d s: a healthy node would be reset", have)
	}
	return time.Duration(have) * time.Second, device.Keepalive()
}

// watchdogRefusal says what an error of opening means.
func watchdogRefusal(path string, err error) error {
	hint := ""
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		hint = "; load its driver, or without a hardware watchdog: modprobe softdog"
	case errors.Is(err, unix.EBUSY):
		hint = "; another program feeds it: set RuntimeWatchdogSec=0 in /etc/systemd/system.conf, stop the service watchdog, or name another device"
	case errors.Is(err, fs.ErrPermission):
		hint = "; heartbeat has to run as root, and in a container the device has to be handed in"
	}
	return fmt.Errorf("open watchdog: %w%s", err, hint)
}

// alive is called by the loop with each heartbeat.
func (w *watchdog) alive(mono time.Duration) {
	if mono-w.fed >= w.every {
		w.fed = mono
		w.word.Store(int64(mono))
		wake(w.feed)
	}
}

// staleWord is how old the loop's word may be when it is written: an older one says nothing of the loop any more.
const staleWord = 250 * time.Millisecond

func (w *watchdog) run() {
	defer close(w.done)
	broken := false
	for {
		select {
		case <-w.feed:
			if w.clock()-time.Duration(w.word.Load()) > staleWord {
				continue
			}
			err := w.device.Keepalive()
			if err != nil && !broken {
				w.log.Critf("Watchdog %s: %v: this machine may be reset at any moment", w.path, err)
			}
			broken = err != nil
		case <-w.stop:
			if w.left.Load() {
				if err := w.device.Keepalive(); err != nil {
					w.log.Errorf("Watchdog %s: %v", w.path, err)
				}
				return
			}
			if err := w.device.Disarm(); err != nil {
				w.log.Errorf("Watchdog %s: disarm: %v", w.path, err)
			}
			return
		}
	}
}

// leave ends the feeding and leaves the device armed, with its whole time-out before it. The device is closed by the exec that follows.
func (w *watchdog) leave() {
	w.left.Store(true)
	w.close()
}

// close disarms the device. Without this the machine is reset when its time-out ends. It may be called again.
func (w *watchdog) close() {
	w.once.Do(func() { close(w.stop) })
	<-w.done
}
