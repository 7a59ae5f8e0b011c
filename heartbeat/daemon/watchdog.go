package daemon

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// watchdog is ha.cf's watchdog device: it resets the machine when the loop no longer lives (protocol section 6.7). The loop
// only hands in tokens; a goroutine writes, because some devices take their time.
type watchdog struct {
	file *os.File
	feed chan struct{}
	stop chan bool // whether to disarm
	done chan struct{}

	every time.Duration
	fed   time.Duration // Mono of the last token, the loop's own
}

// openWatchdog arms the device with the dead time, rounded up to whole seconds.
func openWatchdog(path string, deadtime, keepalive time.Duration, log *Log) (*watchdog, error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("open watchdog: %w", err)
	}
	seconds := int((deadtime + 10*time.Millisecond + time.Second - 1) / time.Second)
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.WDIOC_SETTIMEOUT, seconds); err != nil {
		log.Warnf("Watchdog %s: cannot set its time-out to %d s (%v): it keeps its own", path, seconds, err)
	} else {
		log.Infof("Watchdog %s resets this machine when heartbeat does not run for %d s", path, seconds)
	}
	w := &watchdog{file: f, feed: make(chan struct{}, 1), stop: make(chan bool, 1), done: make(chan struct{}), every: min(keepalive, time.Second/2)}
	go w.run(log)
	return w, nil
}

// alive is called by the loop at each turn.
func (w *watchdog) alive(mono time.Duration) {
	if mono-w.fed >= w.every {
		w.fed = mono
		wake(w.feed)
	}
}

func (w *watchdog) run(log *Log) {
	defer close(w.done)
	broken := false
	for {
		select {
		case <-w.feed:
			_, err := w.file.Write([]byte{0})
			if err != nil && !broken {
				log.Critf("Watchdog %s: %v", w.file.Name(), err)
			}
			broken = err != nil
		case disarm := <-w.stop:
			if disarm {
				w.file.Write([]byte("V"))
			}
			w.file.Close()
			return
		}
	}
}

// close disarms the device. Without this the machine is reset when its time-out ends.
func (w *watchdog) close() {
	w.stop <- true
	<-w.done
}
