package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hapair/haresources"
	"hapair/heartbeat"
)

// TestHooksOfOneGroupDelayNoOther: what happened to one group is told in its order, also where the program for one event takes long; the
// others are told at once, and however many groups there are, each is.
func TestHooksOfOneGroupDelayNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []string
		begin := time.Now()
		log := newLog(0, lineSink(func(string) {}))
		defer log.Close()
		q := newHookQueues(t.Context(), func(_ context.Context, h happening) {
			if h.group == "slow" && h.event == "post-acquire" {
				time.Sleep(10 * time.Second)
			}
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprintf("%s %s %v", h.group, h.event, time.Since(begin)))
			if !h.at.Equal(begin) {
				t.Errorf("%s %s says that it happened at %v", h.group, h.event, h.at)
			}
		}, log)
		for _, event := range []string{"post-acquire", "post-release", "became-standby"} {
			q.tell(happening{event: event, group: "slow"})
		}
		q.tell(happening{event: "peer-lost"})
		for i := range 1000 {
			q.tell(happening{event: "became-active", group: fmt.Sprint("g", i)})
		}
		q.wait()
		slow := slices.DeleteFunc(slices.Clone(told), func(s string) bool { return !strings.HasPrefix(s, "slow") })
		if got := strings.Join(slow, ", "); got != "slow post-acquire 10s, slow post-release 10s, slow became-standby 10s" {
			t.Errorf("of the slow group: %s", got)
		}
		if !slices.Contains(told, " peer-lost 0s") || !slices.Contains(told, "g999 became-active 0s") || len(told) != 1004 {
			t.Errorf("told %d events", len(told))
		}
	})
}

// TestHooksSayWhichResourceFailed, each time: also where it is restarted in place, and when its group is given up.
func TestHooksSayWhichResourceFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []string
		e := &engine{log: newLog(0, lineSink(func(string) {}))}
		defer e.log.Close()
		e.hooks = newHookQueues(t.Context(), func(_ context.Context, h happening) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprintf("%s %s %s: %s", h.event, h.facts["resource"], h.facts["action"], h.reason))
		}, e.log)
		why := &haresources.OperationError{Resource: "web::x", Operation: haresources.OpMonitor, Err: errors.New("it is stopped")}
		e.resourceEvent(haresources.Event{Group: "a", Resource: "web::x", Operation: haresources.OpMonitor, Phase: haresources.Failure, Err: why})
		e.culprit("a", why)
		e.hook(heartbeat.Hook{Event: "resource-failed", Group: "a", Reason: "given up"})
		e.hooks.wait()
		want := []string{`resource-failed web::x restart: monitor of "web::x": it is stopped`, "resource-failed web::x give-up: given up"}
		if !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
	})
}
