package daemon

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hapair/heartbeat"
	"hapair/heartbeat/config"
)

// verdicts collects what checks say, and scripts decides what their scripts say.
type verdicts struct {
	mu   sync.Mutex
	said []string
	fail map[string]error
	runs map[string]int
}

func (v *verdicts) post(u heartbeat.Unfit) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.said = append(v.said, u.Reason)
}

func (v *verdicts) run(_ context.Context, k config.Check) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.runs[k.Name]++
	return v.fail[k.Name]
}

func (v *verdicts) set(name string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.fail[name] = err
}

func (v *verdicts) ran(name string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.runs[name]
}

func (v *verdicts) last() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.said[len(v.said)-1]
}

func TestChecksRiseAndFall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		log := newLog(0, &memorySink{})
		defer log.Close()
		v := &verdicts{fail: map[string]error{}, runs: map[string]int{}}
		a := newAlarms(log)
		c := newChecks(ctx, newInbox(), log, a)
		c.run, c.post = v.run, v.post
		web := config.Check{Name: "web", Path: "/x", Interval: time.Second, Rise: 2, Fall: 3}
		tell := config.Check{Name: "disk", Path: "/y", Interval: time.Second, Rise: 1, Fall: 1, Tell: true}
		c.apply([]config.Check{web, tell})
		time.Sleep(5500 * time.Millisecond)
		v.set("web", errors.New("exit code 1"))
		v.set("disk", errors.New("full"))
		time.Sleep(2 * time.Second)
		if got := v.last(); got != "" {
			t.Errorf("unfit after two failures: %q", got)
		}
		time.Sleep(time.Second)
		if got := v.last(); got != "check web has failed 3 times in a row: exit code 1" {
			t.Errorf("verdict %q", got)
		}
		if n := len(a.texts()); n != 2 {
			t.Errorf("%d alarms stand, want 2", n)
		}
		c.apply([]config.Check{web}) // what did not change goes on where it was
		if got := v.last(); got == "" {
			t.Error("a reload forgot the verdict")
		}
		v.set("web", nil)
		time.Sleep(2 * time.Second)
		if got := v.last(); got != "" {
			t.Errorf("verdict %q after two successes", got)
		}
		c.apply(nil)
		before := v.ran("web")
		time.Sleep(10 * time.Second)
		if more := v.ran("web") - before; more != 0 || len(a.texts()) != 0 {
			t.Errorf("%d more runs, alarms %v", more, a.texts())
		}
		cancel()
		c.tasks.Wait()
	})
}

func TestResetSelf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alpha, beta, _ := pair(t)
		reset := make(chan string, 1)
		alpha.engine.reset = func(reason string) { reset <- reason }
		alpha.in.post(func() { alpha.act(heartbeat.ResetSelf{Group: "web", Reason: "stop failed: busy"}) })
		if got := <-reset; got != "resource group web: stop failed: busy" {
			t.Errorf("reason %q", got)
		}
		alpha.end()
		beta.end()
	})
}
