package agent_test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hapair/haresources/agent"
)

// The verdict changes exactly when as many results in a row speak against it as it takes.
func TestCounter(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		c := agent.Counter{Rise: 1 + rng.IntN(4), Fall: 1 + rng.IntN(4)}
		var past []bool
		good := true
		for range 100 {
			ok := rng.IntN(3) > 0
			past = append(past, ok)
			changed := c.Add(ok)
			need := c.Rise
			if good {
				need = c.Fall
			}
			against := 0
			for i := len(past) - 1; i >= 0 && past[i] != good; i-- {
				against++
			}
			if want := against >= need; changed != want {
				t.Fatalf("rise %d fall %d good %v after %v: changed %v", c.Rise, c.Fall, good, past, changed)
			}
			if changed {
				good, past = !good, nil
			}
		}
	}
}

func TestRunCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "check")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n[ -e $0.ok ] && exit 0\n[ -e $0.hang ] && { trap '' TERM; sleep 60 & wait; wait; }\necho no; exit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	run := func() error {
		return agent.RunCheck(context.Background(), agent.Environment{Environ: os.Environ()}, path, 2*time.Second, nil)
	}
	if err := run(); err == nil || err.Error() != "exit code 3: no" {
		t.Errorf("error %v", err)
	}
	os.WriteFile(path+".hang", nil, 0o644)
	begin := time.Now()
	if err := run(); err == nil || time.Since(begin) > 15*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
	os.WriteFile(path+".ok", nil, 0o644)
	if err := run(); err != nil {
		t.Error(err)
	}
}
