package agent

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hapair/haresources"
)

func TestMailIsSentOncePerMove(t *testing.T) {
	dir := t.TempDir()
	// A sendmail that keeps what it gets.
	script := "#!/bin/sh\n{ echo \"to: $*\"; cat; echo ===; } >> " + dir + "/mails\n"
	if err := os.WriteFile(filepath.Join(dir, "sendmail"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	env := Environment{Node: "alpha", Environ: []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "HA_RSCTMP=" + dir}}
	ctx := context.Background()
	a, err := openMailTo(env, resource(t, "MailTo::ops@example.org,root::Größe"))
	if err != nil {
		t.Fatal(err)
	}
	m := a.(*mailTo)
	if f := m.Check(); len(f) != 0 {
		t.Errorf("check: %v", f)
	}
	for _, step := range []func(context.Context) error{m.Stop, m.Start, m.Start} {
		if err := step(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if state, err := m.Status(ctx); state != haresources.Running || err != nil {
		t.Errorf("status: %v, %v", state, err)
	}
	m.sending.Wait()
	if err := m.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "mails"))
	if err != nil || strings.Count(string(text), "===") != 2 {
		t.Fatalf("mails: %s, %v", text, err)
	}
	for _, want := range []string{"to: -i -- ops@example.org root", "Subject: =?utf-8?q?Gr=C3=B6=C3=9Fe_Takeover", "Takeover in progress at", "on alpha", "Migrating resource away at"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
}

func TestMailThatFailsHoldsNothingUp(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "sendmail"), []byte("#!/bin/sh\necho queue is full >&2\nexit 75\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	env := Environment{Node: "alpha", Environ: []string{"PATH=" + dir, "HA_RSCTMP=" + dir}}
	a, err := openMailTo(env, resource(t, "MailTo::root"))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	m := a.(*mailTo)
	m.sending.Wait()
	if text := m.Describe(); !strings.Contains(text, "queue is full") {
		t.Errorf("described as %q", text)
	}
}
