package haresources_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"hapair/haresources"
)

func TestReleaseRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		m := manager(t, w, "alpha a b c")
		if err := m.Acquire(context.Background(), "a"); err != nil {
			t.Fatal(err)
		}
		w.did()
		w.fake("b").stopFails = 3
		begin := time.Now()
		if err := m.Release(context.Background(), "a"); err != nil {
			t.Fatal(err)
		}
		expect(t, w, "-c !-b !-b !-b -b -a")
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestReleaseStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		m := manager(t, w, "alpha a b c #hapair: stop-retries=2 stop-retry-delay=5s")
		if err := m.Acquire(context.Background(), "a"); err != nil {
			t.Fatal(err)
		}
		w.did()
		w.fake("b").stopFails = 100
		begin := time.Now()
		err := m.Release(context.Background(), "a")
		var stuck *haresources.StuckError
		if !errors.As(err, &stuck) || stuck.Resource != "b" || stuck.Group != "a" {
			t.Fatalf("error %v", err)
		}
		if want := `"b" of group "a" may still run: stop of "b": exit code 1: busy`; err.Error() != want {
			t.Errorf("error %q, want %q", err, want)
		}
		expect(t, w, "-c !-b !-b !-b") // a, which b stands on, is left as it is
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("took %v", took)
		}
		if got := m.Resources("a"); got[1].LastError == "" || got[0].State != haresources.Running {
			t.Errorf("resources %+v", got)
		}
	})
}

// TestReleaseAcceptsStopped: a stop that fails on what does not run is a script that does not conform, and no reason to hold
// up a hand-over; one that says nothing is believed after all tries, as Linux-HA does; one that cannot be asked is not.
func TestReleaseAcceptsStopped(t *testing.T) {
	for _, tt := range []struct {
		state     haresources.State
		statusErr error
		tries     int
		stuck     bool
	}{
		{haresources.Stopped, nil, 1, false},
		{haresources.Unknown, nil, 11, false},
		{haresources.Unknown, errors.New("did not end"), 11, true},
		{haresources.Running, nil, 11, true},
		{haresources.Failed, nil, 11, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			m := manager(t, w, "alpha a")
			f := w.fake("a")
			f.stopFails, f.state, f.statusErr = 100, tt.state, tt.statusErr
			err := m.Release(context.Background(), "a")
			var stuck *haresources.StuckError
			if errors.As(err, &stuck) != tt.stuck || !tt.stuck && err != nil {
				t.Errorf("%v, %v: error %v", tt.state, tt.statusErr, err)
			}
			if tries := 100 - f.stopFails; tries != tt.tries {
				t.Errorf("%v, %v: %d tries, want %d", tt.state, tt.statusErr, tries, tt.tries)
			}
		})
	}
}

func TestReleaseForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		m := manager(t, w, "alpha a #hapair: stop-retries=0")
		w.fake("a").state, w.fake("a").stopFails = haresources.Running, 1000
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		if err := m.Release(ctx, "a"); err != nil {
			t.Fatal(err)
		}
		if n := w.fake("a").stopFails; n != 0 {
			t.Errorf("%d tries left", n)
		}
		w.fake("a").state, w.fake("a").stopFails = haresources.Running, 10000
		var stuck *haresources.StuckError
		if err := m.Release(ctx, "a"); !errors.As(err, &stuck) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

// TestStopThatHangsIsNotTriedForEver: a stop that exceeds its time-out is tried once more, and then the policy about failed stops has its say,
// not stop-retries time-outs later.
func TestStopThatHangsIsNotTriedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		w := newWorld()
		m := manager(t, w, "alpha a b #hapair: stop-timeout=30s")
		if err := m.Acquire(ctx, "a"); err != nil {
			t.Fatal(err)
		}
		w.did()
		w.fake("b").stopTakes = time.Hour
		begin := time.Now()
		err := m.Release(ctx, "a")
		var stuck *haresources.StuckError
		if took := time.Since(begin); !errors.As(err, &stuck) || stuck.Resource != "b" || took != 61*time.Second {
			t.Errorf("%v after %v", err, took)
		}
		expect(t, w, "!-b !-b")
		w.fake("b").stopTakes, w.fake("b").stopFails = 0, 4
		if err := m.Release(ctx, "a"); err != nil {
			t.Error(err)
		}
		expect(t, w, "!-b !-b !-b !-b -b -a")
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestStopFailureIgnored: where a resource that cannot be stopped is taken for stopped, what stands left of it is stopped all the same, so
// that an address does not stay here while the other node serves it.
func TestStopFailureIgnored(t *testing.T) {
	for policy, want := range map[string]string{"ignore": "-c !-b !-b -a", "block": "-c !-b !-b"} {
		w := newWorld()
		m := manager(t, w, "alpha a b c #hapair: stop-retries=1 stop-retry-delay=0.001 on-stop-failure="+policy)
		if err := m.Acquire(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		w.did()
		w.fake("b").stopFails = 9
		var stuck *haresources.StuckError
		if err := m.Release(t.Context(), "a"); !errors.As(err, &stuck) || stuck.Resource != "b" {
			t.Errorf("%s: %v", policy, err)
		}
		expect(t, w, want)
	}
}
