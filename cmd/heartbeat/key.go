package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hapair/heartbeat/daemon"
)

func (a *app) keyCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "key", Short: "Show the keys, and change them without an outage", Args: cobra.NoArgs,
		Long: "Show the entries of authkeys, which of them signs, and what is known of the other node's.\n\n" +
			"To change the key without an outage: `heartbeat key rotate` on one node adds a new key beside the old; copy authkeys\n" +
			"to the other node and reload there; `heartbeat key switch` on both signs with the new one; `heartbeat key remove` on\n" +
			"both ends the old one. Each step tells the next, and refuses while it would make the nodes deaf to each other.",
		RunE: func(*cobra.Command, []string) error { return a.showKeys() },
	}
	var method string
	rotate := &cobra.Command{
		Use: "rotate", Short: "Begin: add a new key beside the old one in authkeys of this node", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.addKey(method) },
	}
	rotate.Flags().StringVar(&method, "method", "", "`method` of the new key: sha1, or hmac-sha256 where both nodes run hapair")
	var force bool
	change := &cobra.Command{
		Use: "switch [INDEX]", Short: "Sign with the other key from now on", Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.switchKey(args, force) },
	}
	remove := &cobra.Command{
		Use: "remove [INDEX]", Short: "Remove a key that neither node signs with any more", Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.removeKey(args, force) },
	}
	for _, c := range []*cobra.Command{change, remove} {
		c.Flags().BoolVar(&force, "force", false, "although it is not known that the other node understands this one afterwards")
	}
	c.AddCommand(rotate, change, remove)
	return c
}

// keyWork is what every step looks at: the file, and the running daemon.
type keyWork struct {
	file   *keyFile
	status *daemon.Status // nil while none runs
}

func (a *app) keyWork() (*keyWork, error) {
	file, err := readKeyFile(a.dirs.paths().Config)
	if err != nil {
		return nil, &exit{exitFailure, err}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	status, err := daemon.FetchStatus(ctx, a.dirs.paths())
	if err != nil && !errors.Is(err, daemon.ErrNotRunning) {
		return nil, callError(err)
	}
	return &keyWork{file: file, status: status}, nil
}

// peerIsLinuxHA tells what is known of the other node's program.
func (w *keyWork) peerIsLinuxHA() bool { return w.status != nil && w.status.Peer.Kind == "linux-ha" }

// peer is what the other node does with an entry that is in force here: "signs", "has", "lacks" or "unknown"; "" where there
// is no daemon to tell, or the entry is not in force.
func (w *keyWork) peer(index int) string {
	if w.status == nil || w.status.Keys == nil {
		return ""
	}
	at := slices.IndexFunc(w.status.Keys.Entries, func(k daemon.KeyView) bool { return k.Index == index })
	if at < 0 {
		return ""
	}
	return w.status.Keys.Entries[at].Peer
}

// peerName is the other node's name.
func (w *keyWork) peerName() string {
	if w.status == nil || w.status.Peer.Name == "" {
		return "the other node"
	}
	return w.status.Peer.Name
}

// alone tells that no other node is configured.
func (w *keyWork) alone() bool { return w.status != nil && w.status.Peer.Name == "" }

// showKeys is `heartbeat key`.
func (a *app) showKeys() error {
	w, err := a.keyWork()
	if err != nil {
		return err
	}
	said := map[string]string{
		"signs": "signs with it", "has": "has it", "lacks": "has another one there, or none", "unknown": "does not say whether it has it", "": "is not known",
	}
	for _, m := range w.file.keys.Methods() {
		verb := "verifies"
		if m.Signs {
			verb = "signs"
		}
		fmt.Fprintf(a.out, "%d %s\t%s here; %s %s\n", m.Index, m.Name, verb, w.peerName(), said[w.peer(m.Index)])
	}
	if w.status != nil && w.status.Keys != nil && w.status.Keys.Following {
		fmt.Fprintf(a.out, "This node signs with the key that %s signs with, not with that of authkeys: heartbeat key switch\n", w.peerName())
	}
	return nil
}

// addKey is `heartbeat key rotate`.
func (a *app) addKey(method string) error {
	w, err := a.keyWork()
	if err != nil {
		return err
	}
	if others := w.file.others(); len(others) > 0 {
		return &exit{exitFailure, fmt.Errorf("authkeys has more than one key already (%s): `heartbeat key` shows what is known; finish with `heartbeat key switch` "+
			"and `heartbeat key remove`", w.file.keys)}
	}
	if method == "" {
		method = "sha1"
		if w.status != nil && w.status.Peer.Kind == "hapair" {
			method = "hmac-sha256"
		}
	}
	if strings.Contains(method, "sha256") || strings.Contains(method, "sha512") {
		if w.peerIsLinuxHA() {
			return &exit{exitFailure, fmt.Errorf("%s runs Linux-HA, which does not know %s and would end: use sha1", w.peerName(), method)}
		}
	}
	index, err := w.file.free()
	if err != nil {
		return &exit{exitFailure, err}
	}
	secret := make([]byte, 20)
	rand.Read(secret)
	if err := a.putKeys(w, w.file.with(index, method, hex.EncodeToString(secret))); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "Key %d (%s) is in %s beside the old one, which still signs.\n", index, method, w.file.path)
	a.advise(w, index)
	return nil
}

// advise says how to go on after a key was added.
func (a *app) advise(w *keyWork, index int) {
	peer := w.peerName()
	if w.peer(index) == "" && w.status == nil {
		peer = "PEER"
	}
	fmt.Fprintf(a.out, "Next: scp -p %s %s:/etc/ha.d/authkeys\n", w.file.path, peer)
	if w.peerIsLinuxHA() {
		oldIndex, _ := w.file.keys.Signing()
		fmt.Fprintf(a.out, "Then, on %s: /etc/init.d/heartbeat reload\n"+
			"Then, on %s: change `auth %d` to `auth %d` in authkeys and reload again; this node follows with its next heartbeat\n"+
			"Then, here: heartbeat key switch, and heartbeat key remove\n"+
			"(%s runs Linux-HA, which verifies with its own signing key only: so it has to switch first, and this node with it.)\n",
			peer, peer, oldIndex, index, peer)
		return
	}
	fmt.Fprintf(a.out, "Then, on %s: heartbeat reload\nThen, here and there: heartbeat key switch, and when both have switched: heartbeat key remove\n", peer)
}

// chosen is the entry that a step is about: the one named, or the only one that does not sign.
func (w *keyWork) chosen(args []string) (int, error) {
	others := w.file.others()
	if len(args) == 1 {
		index, err := strconv.Atoi(args[0])
		if err != nil || !slices.Contains(others, index) {
			return 0, fmt.Errorf("%q is not the index of a key that does not sign: authkeys has %s", args[0], w.file.keys)
		}
		return index, nil
	}
	switch len(others) {
	case 1:
		return others[0], nil
	case 0:
		return 0, fmt.Errorf("authkeys has one key only (%s): begin with heartbeat key rotate", w.file.keys)
	}
	return 0, fmt.Errorf("which key? authkeys has %s: give its index", w.file.keys)
}

// keyPatience is how long a step waits for the other node to tell what it has: several heartbeats.
const keyPatience = 5 * time.Second

// await asks again until the other node does one of these with an entry, or patience ends.
func (a *app) await(w *keyWork, index int, wanted ...string) bool {
	for end := time.Now().Add(min(keyPatience, a.heartbeats(w))); ; time.Sleep(waitPoll) {
		if slices.Contains(wanted, w.peer(index)) {
			return true
		}
		if w.status == nil || time.Now().After(end) {
			return false
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		status, err := daemon.FetchStatus(ctx, a.dirs.paths())
		cancel()
		if err != nil {
			return false
		}
		w.status = status
	}
}

// heartbeats is the time of a few of them.
func (a *app) heartbeats(w *keyWork) time.Duration {
	if w.status == nil {
		return 0
	}
	return 4 * time.Duration(w.status.KeepaliveMS) * time.Millisecond
}

// switchKey is `heartbeat key switch`.
func (a *app) switchKey(args []string, force bool) error {
	w, err := a.keyWork()
	if err != nil {
		return err
	}
	index, err := w.chosen(args)
	if err != nil {
		return &exit{exitFailure, err}
	}
	wanted := []string{"signs", "has"}
	if w.peerIsLinuxHA() {
		wanted = wanted[:1]
	}
	if !w.alone() && !a.await(w, index, wanted...) && !force {
		return &exit{exitFailure, w.whyNotSwitch(index)}
	}
	text, err := w.file.signingWith(index)
	if err != nil {
		return &exit{exitFailure, err}
	}
	if err := a.putKeys(w, text); err != nil {
		return err
	}
	old, _ := w.file.keys.Signing()
	fmt.Fprintf(a.out, "This node signs with key %d now.\n", index)
	if w.peer(index) == "signs" {
		fmt.Fprintf(a.out, "So does %s: key %d can go. Next, here and there: heartbeat key remove\n", w.peerName(), old)
	} else if !w.alone() {
		fmt.Fprintf(a.out, "Next, on %s: heartbeat key switch\n", w.peerName())
	}
	return nil
}

// whyNotSwitch says why signing with an entry could make this node mute, and what to do first.
func (w *keyWork) whyNotSwitch(index int) error {
	const forced = "; --force switches nevertheless"
	switch known := w.peer(index); {
	case w.status == nil:
		return errors.New("heartbeat does not run here, so it is not known whether the other node has the key: start it" + forced)
	case known == "":
		return fmt.Errorf("the running heartbeat has not read key %d yet: run heartbeat reload first%s", index, forced)
	case w.peerIsLinuxHA():
		return fmt.Errorf("%s runs Linux-HA, which verifies what it hears with the key that it signs with itself: write `auth %d` into its authkeys and reload there; "+
			"this node follows at once, and then writes it down with heartbeat key switch%s", w.peerName(), index, forced)
	case known == "unknown":
		return fmt.Errorf("%s is not heard, so it is not known whether it has key %d%s", w.peerName(), index, forced)
	}
	return fmt.Errorf("%s does not have this key %d, and would not understand this node: scp -p %s %s:/etc/ha.d/authkeys, and run heartbeat reload there%s",
		w.peerName(), index, w.file.path, w.peerName(), forced)
}

// removeKey is `heartbeat key remove`.
func (a *app) removeKey(args []string, force bool) error {
	w, err := a.keyWork()
	if err != nil {
		return err
	}
	index, err := w.chosen(args)
	if err != nil {
		return &exit{exitFailure, err}
	}
	signing, _ := w.file.keys.Signing()
	if !w.alone() && !a.await(w, signing, "signs") && !force {
		return &exit{exitFailure, fmt.Errorf("%s is not known to sign with key %d, and this node would not understand it without key %d: run heartbeat key switch there first; "+
			"--force removes it nevertheless", w.peerName(), signing, index)}
	}
	if err := a.putKeys(w, w.file.without(index)); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "Key %d is gone from this node. If it is still on %s: heartbeat key remove there.\n", index, w.peerName())
	return nil
}

// putKeys writes the file and has the daemon read it; where that fails the old file is put back.
func (a *app) putKeys(w *keyWork, text []byte) error {
	if err := w.file.write(text); err != nil {
		return &exit{exitFailure, err}
	}
	if w.status == nil {
		return nil
	}
	reply, err := a.call(daemon.Request{Command: daemon.CommandReload})
	if err == nil {
		return nil
	}
	if reply != nil && reply.Faults != "" {
		fmt.Fprintln(a.err, reply.Faults)
	}
	if back := w.file.write(w.file.text); back != nil {
		return &exit{exitFailure, fmt.Errorf("the running heartbeat did not take the keys over (%w), and putting the old ones back failed: %v", err, back)}
	}
	return &exit{exitFailure, fmt.Errorf("the running heartbeat did not take the keys over, so the old ones were put back: %w", err)}
}
