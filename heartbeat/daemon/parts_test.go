package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hapair/heartbeat"
	"hapair/heartbeat/stonith"
	"hapair/heartbeat/wire"
)

func TestRingDropsTheOldest(t *testing.T) {
	r := newRing[int](3)
	for i := range 5 {
		if dropped := r.put(i); dropped != (i >= 3) {
			t.Errorf("put(%d) dropped: %v", i, dropped)
		}
	}
	for want := 2; want < 5; want++ {
		if got, ok := r.take(); !ok || got != want {
			t.Errorf("take = %d, %v; want %d", got, ok, want)
		}
	}
	if _, ok := r.take(); ok || !r.empty() || r.lost() != 2 {
		t.Errorf("an empty ring gave something, or lost %d instead of 2", r.lost())
	}
}

func TestInboxIsFairAndBounded(t *testing.T) {
	b := newInbox()
	flood, _ := b.attach()
	quiet, detach := b.attach()
	for i := range 10 * inboxSize {
		flood(heartbeat.Received{Link: "flood", From: fmt.Sprint(i)})
	}
	quiet(heartbeat.Received{Link: "quiet"})
	var order []string
	b.drain(func(m heartbeat.Received) { order = append(order, m.Link) })
	if len(order) != inboxSize+1 || order[1] != "quiet" {
		t.Errorf("%d messages, beginning %v: want one of each link in turn, and no more than %d of the flood", len(order), order[:2], inboxSize)
	}
	detach()
	quiet(heartbeat.Received{Link: "quiet"})
	if n := b.drain(func(heartbeat.Received) {}); n != 0 {
		t.Errorf("a detached link delivered %d messages", n)
	}
}

func TestSeriesRunsOneAtATimeInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSeries(t.Context(), 3)
		var ran []int
		var busy atomic.Int32
		for i := range 5 {
			added := s.add(func(context.Context) {
				if busy.Add(1) > 1 {
					t.Error("two at once")
				}
				time.Sleep(time.Second)
				ran = append(ran, i)
				busy.Add(-1)
			})
			if i == 0 {
				synctest.Wait() // the first is running, and waits no more
			}
			if added != (i < 4) {
				t.Errorf("job %d added: %v", i, added)
			}
		}
		s.wait()
		if got := fmt.Sprint(ran); got != "[0 1 2 3]" {
			t.Errorf("ran %s", got)
		}
	})
}

func TestBadFramesAreOneLineAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var said []string
		var say atomic.Bool
		say.Store(true)
		b := newBadFrames("bcast eth0", &say, func(format string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			said = append(said, fmt.Sprintf(format, args...))
		})
		read := func() []string {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(said)
		}
		b.add(fmt.Errorf("%w: junk", wire.ErrMalformed), "10.0.0.9")
		for range 1000 {
			b.add(wire.ErrDigest, "10.0.0.66")
		}
		b.add(wire.ErrKey, "10.0.0.66")
		b.add(wire.ErrTooLong, "10.0.0.66")
		lines := read()
		if len(lines) != 1 || !strings.HasPrefix(lines[0], "bcast eth0: 1 invalid frame(s) dropped, last from 10.0.0.9 (1 malformed): something else") {
			t.Errorf("at once: %q", lines)
		}
		time.Sleep(2 * badEvery)
		synctest.Wait()
		lines = read()
		if len(lines) != 2 || !strings.Contains(lines[1], "1002 invalid frame(s) dropped, last from 10.0.0.66 (1 too long, 1 unknown key index, 1000 wrong signature)") ||
			!strings.Contains(lines[1], "compare authkeys") {
			t.Errorf("after a minute: %q", lines)
		}
		say.Store(false)
		b.add(wire.ErrDigest, "")
		time.Sleep(2 * badEvery)
		synctest.Wait()
		lines = read()
		if len(lines) != 2 || b.totals()["wrong signature"] != 1001 {
			t.Errorf("log_badpack off: %q, %v", lines, b.totals())
		}
		b.stop()
	})
}

func TestFIFOMessages(t *testing.T) {
	message := func(fields ...string) wire.Message {
		var m wire.Message
		for i := 0; i < len(fields); i += 2 {
			m.Add(fields[i], fields[i+1])
		}
		return m
	}
	tests := []struct {
		m    wire.Message
		want string
	}{
		{message("t", "ask_resources", "rsc_hold", "foreign", "info", "me"), `1 foreign a local program (FIFO)`},
		{message("t", "hb_takeover", "rsc_hold", "local"), `2 local a local program (FIFO)`},
		{message("t", "ask_resources", "info", "other"), "only \"me\""},
		{message("t", "backup-done", "info", "x"), "backup-done"},
		{message("t", "status", "st", "dead"), "daemon's own"},
		{message("t", "NS_rexmit"), "daemon's own"},
		{message("t", "addnode", "node", "gamma"), "ha.cf"},
		{message("info", "x"), "without a type"},
	}
	for _, tt := range tests {
		ev, refused := fromFIFO(tt.m)
		got := refused
		switch ev := ev.(type) {
		case heartbeat.Request:
			got = fmt.Sprintf("%d %s %s", ev.Kind, ev.Which, ev.By)
		case heartbeat.Submit:
			got = ev.Msg.Kind()
		}
		if !strings.Contains(got, tt.want) {
			t.Errorf("%v: %q, want %q", tt.m.Fields(), got, tt.want)
		}
	}
}

func TestFIFOReadsWhatScriptsWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	sink := &memorySink{}
	log := newLog(0, sink)
	defer log.Close()
	got := make(chan wire.Message, 10)
	p, err := openFIFO(path, log, func(m wire.Message) { got <- m })
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || info.Mode()&os.ModeNamedPipe == 0 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	for range 2 { // the first writer's end is not the end
		w, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		w.WriteString("garbage\n>>>\nt=ask_resources\nrsc_hold=all\ninfo=me\n<<<\n")
		w.Close()
		if m := <-got; m.Kind() != "ask_resources" || m.Get("rsc_hold") != "all" {
			t.Errorf("got %v", m.Fields())
		}
	}
	plain := filepath.Join(t.TempDir(), "plain")
	os.WriteFile(plain, nil, 0o600)
	if _, err := openFIFO(plain, log, nil); err == nil || !strings.Contains(err.Error(), "something else") {
		t.Errorf("a plain file in its place: %v", err)
	}
}

// slowDevice takes a minute, and works where its name is "good".
type slowDevice string

func (d slowDevice) Fence(ctx context.Context, node string, how stonith.Verb) (stonith.Evidence, error) {
	select {
	case <-time.After(time.Minute):
	case <-ctx.Done():
		return stonith.Evidence{}, ctx.Err()
	}
	if d != "good" {
		return stonith.Evidence{}, errors.New("no answer")
	}
	return stonith.Evidence{Device: string(d), Certain: true, LeftOff: how == stonith.Reset}, nil
}

func (d slowDevice) Check(ctx context.Context) error {
	time.Sleep(2 * time.Second)
	if d != "good" {
		return errors.New("no answer")
	}
	return nil
}

func TestFencingAnswersUnlessCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(0)
		in := newInbox()
		f := newFencing(t.Context(), slowDevice("good"), stonith.Reset, in, newAlarms(log))
		f.do(heartbeat.Fence{Op: 1, Node: "beta"}, closed)
		f.do(heartbeat.Fence{Op: 2, Node: "beta"}, closed)
		never := make(chan struct{})
		f.do(heartbeat.Fence{Op: 3, Node: "beta"}, never)
		time.Sleep(time.Second)
		f.cancel(2)
		f.cancel(3)
		f.cancel(99)
		f.tasks.Wait()
		f.replace(slowDevice("bad"), stonith.Reset)
		f.do(heartbeat.Fence{Op: 4, Node: "beta"}, closed)
		f.tasks.Wait()
		f.replace(nil, stonith.Reset)
		f.do(heartbeat.Fence{Op: 5, Node: "beta"}, closed)
		var got []string
		for _, ev := range in.takePosted() {
			done := ev.(heartbeat.Done)
			got = append(got, fmt.Sprint(done.Op, " ", done.Err))
		}
		if want := []string{"1 <nil>", "4 no answer", "5 no STONITH device is configured"}; !slices.Equal(got, want) {
			t.Errorf("posted %q, want %q", got, want)
		}
		log.Close()
	})
}

func TestFencingDeviceIsCheckedHourlyAndWhenReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(0)
		in, a := newInbox(), newAlarms(log)
		ctx, cancel := context.WithCancel(t.Context())
		f := newFencing(ctx, slowDevice("good"), stonith.Reset, in, a)
		f.tasks.Go(f.watch)
		time.Sleep(2*deviceCheckEvery + time.Minute)
		if got := fmt.Sprint(in.takePosted()); got != "[{2s} {2s} {2s}]" {
			t.Errorf("posted %s, want three checks of two seconds", got)
		}
		f.replace(slowDevice("bad"), stonith.Reset)
		time.Sleep(time.Minute)
		if got := fmt.Sprint(a.texts()); !strings.Contains(got, "not operational: no answer") {
			t.Errorf("alarms %s", got)
		}
		f.replace(nil, stonith.Reset)
		time.Sleep(time.Minute)
		if got := a.texts(); len(got) != 0 {
			t.Errorf("alarms %s after the device was removed", got)
		}
		cancel()
		f.tasks.Wait()
		log.Close()
	})
}

func TestSupervisorHears(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn := listenUnixgram(t, path)
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "3000000")
	s := newSupervisor()
	defer s.conn.Close()
	s.tell("READY=1", "STATUS=up")
	for _, mono := range []time.Duration{10000, 10500, 11000} {
		s.sent = mono * time.Millisecond
		s.turned(mono*time.Millisecond, 50*time.Millisecond)
	}
	s.turned(20*time.Second, 50*time.Millisecond) // no heartbeat was sent for nine seconds
	s.reloading()
	for _, want := range []string{"READY=1\nSTATUS=up", "WATCHDOG=1", "WATCHDOG=1", "RELOADING=1\nMONOTONIC_USEC="} {
		if got := receiveUnixgram(t, conn); !strings.HasPrefix(got, want) {
			t.Errorf("the manager got %q, want %q", got, want)
		}
	}
	(&supervisor{}).tell("READY=1") // nobody listens
}

// TestSupervisorThatDoesNotRead: a manager whose queue is full holds nobody up, and hears what matters as soon as it reads again.
func TestSupervisorThatDoesNotRead(t *testing.T) {
	name := fmt.Sprintf("hapair-test-%d", time.Now().UnixNano())
	conn := listenUnixgram(t, "\x00"+name)
	t.Setenv("NOTIFY_SOCKET", "@"+name)
	t.Setenv("WATCHDOG_USEC", "3000000")
	s := newSupervisor()
	defer s.conn.Close()
	begun := time.Now()
	for i := 0; s.write(fmt.Sprint("STATUS=", i)); i++ {
		if i > 1e6 {
			t.Fatal("the manager's queue never fills")
		}
	}
	s.tell("READY=1")
	s.sent = time.Hour
	s.turned(time.Hour, time.Second)
	for i := range 100 {
		s.tell(fmt.Sprint("STATUS=late ", i))
	}
	s.tell("STOPPING=1")
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it waited for the manager: %v", took)
	}
	if len(s.waiting) > supervisorQueue {
		t.Errorf("%d messages wait", len(s.waiting))
	}
	go s.tellLast(5*time.Second, "MAINPID=1")
	var last []string
	for len(last) == 0 || last[len(last)-1] != "MAINPID=1" {
		last = append(last, receiveUnixgram(t, conn))
	}
	if got := strings.Join(last[len(last)-4:], " "); got != "READY=1 STATUS=late 99 STOPPING=1 MAINPID=1" {
		t.Errorf("the manager heard %q at the end", got)
	}
}
