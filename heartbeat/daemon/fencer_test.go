package daemon

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hapair/heartbeat/config"
	"hapair/heartbeat/stonith"
)

// labDevice is a device of the laboratory: it takes a second.
type labDevice struct {
	err  error
	done func()
}

func (d labDevice) Fence(ctx context.Context, _ string, how stonith.Verb) (stonith.Evidence, error) {
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return stonith.Evidence{}, context.Cause(ctx)
	}
	if d.err == nil && d.done != nil && how != stonith.On {
		d.done()
	}
	return stonith.Evidence{Device: "lab", Certain: true, Seen: []string{"the lamp is off"}}, d.err
}

func (d labDevice) Check(context.Context) error { return d.err }

// fencedLab is a pair in which beta has a device, and no delay.
func fencedLab(t *testing.T, device func(alpha *labNode) stonith.Fencer) (alpha, beta *labNode) {
	t.Helper()
	cables := map[string]*cable{"eth0": newCable("eth0"), "eth1": newCable("eth1")}
	alpha = boot(t, testConfig(t, "alpha", "eth0", "eth1"), cables, 10)
	c := testConfig(t, "beta", "eth0", "eth1")
	c.StonithHosts = []config.StonithHost{{Host: "*", Type: "null", Params: "alpha beta", Line: 1}}
	beta = boot(t, c, cables, 20)
	beta.fencing.replace(device(alpha), stonith.Reset)
	time.Sleep(time.Second)
	alpha.wants(t, "web")
	beta.wants(t, "mail")
	return alpha, beta
}

func TestTakeoverWaitsForTheDeviceAndGoesThroughTheSecondLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alpha, beta := fencedLab(t, func(*labNode) stonith.Fencer {
			return stonith.NewLevels([][]stonith.Fencer{{labDevice{err: errors.New("no answer from the first")}}, {labDevice{}}}, func(stonith.Level, string) {})
		})
		alpha.end()
		time.Sleep(2800 * time.Millisecond) // the dead time, and two devices of a second
		beta.wants(t, "mail")
		time.Sleep(300 * time.Millisecond)
		beta.wants(t, "mail web")
		s, err := beta.status(context.Background())
		if err != nil || s.Fencing == nil || s.Fencing.State != "confirmed" || len(s.Alarms) != 0 {
			t.Errorf("%v: %+v, alarms %v", err, s.Fencing, s.Alarms)
		}
		for _, want := range []string{"Resetting node alpha", "STONITH: the lamp is off", "node alpha now reset."} {
			if !strings.Contains(beta.sink.text(), want) {
				t.Errorf("the log does not say %q:\n%s", want, beta.sink.text())
			}
		}
		beta.end()
		beta.fencing.tasks.Wait()
	})
}

func TestFailedFencingIsAnAlarmUntilAPersonConfirms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alpha, beta := fencedLab(t, func(*labNode) stonith.Fencer { return labDevice{err: errors.New("no answer")} })
		who := caller{uid: 0, may: true}
		confirm := func(name string) Reply {
			return beta.answer(context.Background(), who, Request{Command: CommandConfirmDead, Name: name})
		}
		if r := confirm("alpha"); r.OK || !strings.Contains(r.Error, "alpha is alive") {
			t.Errorf("while alpha lives: %+v", r)
		}
		alpha.end()
		time.Sleep(3 * time.Second) // the dead time, the attempt, and a second for the alarm
		s, err := beta.status(context.Background())
		if err != nil || len(s.Alarms) != 1 || !strings.Contains(s.Alarms[0], "STONITH of alpha failed, nothing is taken over (no answer)") {
			t.Errorf("%v, alarms %v", err, s.Alarms)
		}
		time.Sleep(5 * time.Minute)
		beta.wants(t, "mail")
		if r := confirm("beta"); r.OK || !strings.Contains(r.Error, `the peer is "alpha"`) {
			t.Errorf("the wrong node: %+v", r)
		}
		if r := confirm("alpha"); !r.OK {
			t.Error(r.Error)
		}
		time.Sleep(100 * time.Millisecond)
		beta.wants(t, "mail web")
		if s, _ := beta.status(context.Background()); len(s.Alarms) != 0 {
			t.Errorf("alarms %v", s.Alarms)
		}
		beta.end()
		beta.fencing.tasks.Wait()
	})
}
