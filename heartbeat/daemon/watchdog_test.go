package daemon

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// fakeWatchdog is a device of whole seconds that bites.
type fakeWatchdog struct {
	mu                sync.Mutex
	timeout           int // in force
	fixed             int // cannot be changed; 0: can be
	coarse            int // rounded up to this many seconds; 0: kept as it is
	options           uint32
	supportErr, kaErr error
	hang              chan struct{} // Keepalive blocks until it is closed; nil: it does not

	fed      time.Time
	disarmed bool
	fedTimes int
}

func (d *fakeWatchdog) Support() (string, uint32, error) {
	return "fake watchdog", d.options, d.supportErr
}

func (d *fakeWatchdog) SetTimeout(seconds int) (int, error) {
	if d.fixed > 0 {
		return 0, unix.EOPNOTSUPP
	}
	d.timeout = seconds
	if d.coarse > 0 {
		d.timeout = (seconds + d.coarse - 1) / d.coarse * d.coarse
	}
	return d.timeout, nil
}

func (d *fakeWatchdog) Timeout() (int, error) {
	d.timeout = d.fixed
	return d.fixed, nil
}

func (d *fakeWatchdog) Keepalive() error {
	if d.hang != nil {
		<-d.hang
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fed = time.Now()
	d.fedTimes++
	return d.kaErr
}

func (d *fakeWatchdog) Disarm() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.disarmed = true
	return nil
}

// times tells how often it was fed.
func (d *fakeWatchdog) times() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fedTimes
}

// bitten tells whether the device has reset the machine by now.
func (d *fakeWatchdog) bitten() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.disarmed && time.Since(d.fed) > time.Duration(d.timeout)*time.Second
}

// startFake arms a fake device, with the bubble's clock.
func startFake(t *testing.T, d *fakeWatchdog, timeout, keepalive time.Duration) (*watchdog, *memorySink, error) {
	t.Helper()
	sink := &memorySink{}
	log := newLog(0, sink)
	t.Cleanup(log.Close)
	w, err := startWatchdog("/dev/watchdog", d, timeout, keepalive, log)
	if w != nil {
		began := time.Now()
		w.clock = func() time.Duration { return time.Since(began) }
	}
	synctest.Wait()
	return w, sink, err
}

func TestWatchdogBitesOnlyWhenTheLoopIsDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeWatchdog{options: unix.WDIOF_MAGICCLOSE | unix.WDIOF_SETTIMEOUT}
		w, _, err := startFake(t, d, 2*time.Second, 100*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for time.Since(began) < 30*time.Second {
			time.Sleep(100 * time.Millisecond)
			w.alive(time.Since(began))
			if d.bitten() {
				t.Fatalf("a healthy node was reset after %v", time.Since(began))
			}
		}
		if d.times() < 250 {
			t.Errorf("fed %d times in 30 s", d.times())
		}
		time.Sleep(1900 * time.Millisecond)
		if d.bitten() {
			t.Error("it bites too early")
		}
		time.Sleep(200 * time.Millisecond)
		if !d.bitten() {
			t.Error("a dead loop was not noticed")
		}
		w.close()
		if !d.disarmed {
			t.Error("a polite end does not disarm it")
		}
	})
}

// TestWatchdogIsNotFedByAnOldWord: the device hung while the loop died; what the loop said before is not written after.
func TestWatchdogIsNotFedByAnOldWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeWatchdog{}
		w, sink, err := startFake(t, d, 2*time.Second, 100*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(sink.text(), "is disarmed by the kernel when heartbeat is killed") {
			t.Errorf("no word about a missing magic close: %s", sink.text())
		}
		d.hang = make(chan struct{})
		w.alive(time.Second)
		synctest.Wait()
		w.alive(2 * time.Second) // waits behind the first
		time.Sleep(5 * time.Second)
		before := d.fedTimes
		close(d.hang)
		synctest.Wait()
		if d.fedTimes != before+1 {
			t.Errorf("fed %d times, want only the word that was being written", d.fedTimes-before)
		}
		w.close()
	})
}

func TestWatchdogRefusals(t *testing.T) {
	for _, tt := range []struct {
		device *fakeWatchdog
		want   string
	}{
		{&fakeWatchdog{supportErr: unix.ENOTTY}, "no watchdog device"},
		{&fakeWatchdog{fixed: 60}, "its time-out is 60 s and cannot be 4 s: the peer would have taken over before this machine is reset; write deadtime 61 or more"},
		{&fakeWatchdog{coarse: 10}, "its time-out is 10 s and cannot be 4 s"},
		{&fakeWatchdog{fixed: -1}, "cannot set its time-out"},
		{&fakeWatchdog{kaErr: errors.New("input/output error")}, "input/output error"},
		{&fakeWatchdog{fixed: 3}, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := tt.device
			if d.fixed < 0 {
				w, _, err := startFake(t, &fakeWatchdog{fixed: 0}, 0, time.Second)
				if w != nil || err == nil || !strings.Contains(err.Error(), "a healthy node would be reset") {
					t.Errorf("a time-out of nothing: %v", err)
				}
				return
			}
			w, _, err := startFake(t, d, 4*time.Second, time.Second)
			if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || !d.disarmed) {
				t.Errorf("%v, disarmed %v; want %q", err, d.disarmed, tt.want)
			}
			if w != nil {
				w.close()
			}
		})
	}
}

func TestWatchdogThatCannotBeOpenedIsExplained(t *testing.T) {
	for path, want := range map[string]string{
		"/nonexistent/watchdog": "modprobe softdog",
		"/etc/passwd":           "not a character device",
		"/dev/null":             "no watchdog device",
	} {
		if _, err := openWatchdog(path, 4*time.Second, time.Second, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if err := watchdogRefusal("/dev/watchdog", fmt.Errorf("open /dev/watchdog: %w", unix.EBUSY)); !strings.Contains(err.Error(), "RuntimeWatchdogSec=0") {
		t.Error(err)
	}
}
