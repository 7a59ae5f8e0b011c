package host_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hapair/heartbeat/host"
	"hapair/heartbeat/rehearsal/require"
)

// isolate makes a namespace for a test.
func isolate(t testing.TB, devices ...host.Device) *host.Isolated {
	t.Helper()
	require.Root(t, "what needs a network namespace of its own")
	require.Tool(t, "nsenter", "programs in a network namespace of their own")
	i, err := host.Isolate(devices)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	return i
}

// nft runs the program in the namespace with a script.
func nft(t testing.TB, i *host.Isolated, script string) error {
	t.Helper()
	require.Tool(t, "nft", "rules that the program nft has loaded")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return i.Run(ctx, host.Program{Path: "/usr/sbin/nft", Args: []string{"-f", "-"}, Stdin: []byte(script)})
}

// openNFT opens the rules of a namespace.
func openNFT(t testing.TB, i *host.Isolated) (n *host.NFT) {
	t.Helper()
	i.Do(func() {
		var err error
		if n, err = host.OpenNFT(); err != nil {
			t.Error(err)
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	t.Cleanup(func() { n.Close() })
	return n
}

const someRules = `
table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established accept comment "old friends"
		iif eth7 accept
	}
	chain other { }
}
table ip nat {
	chain post { type nat hook postrouting priority srcnat; }
}
`

func TestRulesAreRead(t *testing.T) {
	i := isolate(t, host.Device{Name: "lo", Index: 1}, host.Device{Name: "eth7", Index: 77})
	n := openNFT(t, i)
	before, err := n.Generation()
	if err != nil {
		t.Fatal(err)
	}
	if err := nft(t, i, someRules); err != nil {
		t.Fatalf("load rules that name a stand-in interface: %v", err)
	}
	r, err := n.List()
	if err != nil {
		t.Fatal(err)
	}
	if r.Generation == before {
		t.Error("the generation did not change with the rules")
	}
	if len(r.Tables) != 2 || r.Tables[0].String() != "inet filter" || r.Tables[1].String() != "ip nat" {
		t.Errorf("tables: %v", r.Tables)
	}
	c, found := r.Chain(host.Table{Family: "inet", Name: "filter"}, "input")
	if !found || c.Hook != host.HookInput || c.Type != "filter" || !c.Drop || len(c.Rules) != 2 || c.Rules[0].Comment != "old friends" {
		t.Errorf("chain input: found %v, %+v", found, c)
	}
	if c, _ := r.Chain(r.Tables[0], "other"); c.Hook != host.HookNone {
		t.Errorf("a chain without a hook: %+v", c)
	}
	if c, _ := r.Chain(r.Tables[1], "post"); c.Hook != host.HookPostrouting || c.Type != "nat" || c.Drop {
		t.Errorf("chain post: %+v", c)
	}
}

func TestTableIsMarked(t *testing.T) {
	i := isolate(t)
	n := openNFT(t, i)
	mark := host.Table{Family: "inet", Name: "a_mark"}
	for _, chain := range []string{"active", "active", "standby"} {
		if err := n.MarkTable(mark, chain); err != nil {
			t.Fatal(err)
		}
		r, err := n.List()
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Chains) != 1 || r.Chains[0].Name != chain || r.Chains[0].Hook != host.HookNone {
			t.Fatalf("after marking as %s: %+v", chain, r.Chains)
		}
	}
	if err := n.MarkTable(mark); err != nil {
		t.Fatal(err)
	}
	if r, err := n.List(); err != nil || len(r.Tables) != 0 {
		t.Errorf("after removing the mark: %+v, %v", r, err)
	}
	if err := n.MarkTable(host.Table{Family: "inet", Name: strings.Repeat("x", 400)}, "active"); err == nil {
		t.Error("a name that is too long was accepted")
	}
	if err := n.MarkTable(mark, "active"); err != nil {
		t.Errorf("after a refused transaction: %v", err)
	}
}

func TestRulesAreWatched(t *testing.T) {
	i := isolate(t)
	n := openNFT(t, i)
	var w *host.Changes
	var err error
	i.Do(func() { w, err = host.WatchNFT() })
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan error, 1)
	go func() { seen <- w.Wait() }()
	if err := n.MarkTable(host.Table{Family: "ip", Name: "x"}, "y"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-seen:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("a change of the rules was not seen")
	}
	go func() {
		for {
			if err := w.Wait(); err != nil {
				seen <- err
				return
			}
		}
	}()
	w.Close()
	if err := <-seen; !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestIsolatedIsIsolated(t *testing.T) {
	i := isolate(t, host.Device{Name: "wan0", Index: 500})
	file := filepath.Join(t.TempDir(), "out")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := i.Run(ctx, host.Program{Path: "/bin/sh", Args: []string{"-c", "ls /proc/self/net/dev_snmp6 > " + file}, Env: os.Environ()}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil || strings.Join(strings.Fields(string(text)), " ") != "lo wan0" {
		t.Errorf("interfaces inside: %q, %v", text, err)
	}
	i.Do(func() {
		n, err := host.OpenNetlink()
		if err != nil {
			t.Error(err)
			return
		}
		defer n.Close()
		d, err := n.Device("wan0")
		if err != nil || d.Index != 500 || d.Ready() {
			t.Errorf("the stand-in: %+v, %v", d, err)
		}
		list, err := n.ListAddresses(0)
		if err != nil || len(list) != 0 {
			t.Errorf("addresses inside: %v, %v", list, err)
		}
	})
}
