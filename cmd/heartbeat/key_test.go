package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hapair/heartbeat/daemon"
	"hapair/heartbeat/wire"
)

const firstKeys = "# the keys of the pair\nauth 1 # signs\n1 sha1 0123456789abcdef0123456789abcdef\n# the end\n"

// keyDir writes authkeys.
func keyDir(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "authkeys"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// key runs a key command and returns its exit code, what it said, and the keys afterwards.
func key(t *testing.T, dir, run string, words ...string) (code int, said, keys string) {
	t.Helper()
	var out bytes.Buffer
	a := &app{out: &out, err: &out}
	code = a.dispatch("heartbeat", append([]string{"key"}, append(words, "--run", run, "--config", dir)...))
	text, err := os.ReadFile(filepath.Join(dir, "authkeys"))
	if err != nil {
		t.Fatal(err)
	}
	read, faults := wire.ReadKeys("authkeys", bytes.NewReader(text))
	if read == nil {
		t.Fatalf("authkeys is broken: %v\n%s", faults.Err(), text)
	}
	if info, err := os.Stat(filepath.Join(dir, "authkeys")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: %v, %v", info, err)
	}
	for line := range strings.Lines(firstKeys) {
		if strings.HasPrefix(line, "#") && !bytes.Contains(text, []byte(line)) {
			t.Errorf("a comment was lost: %q", line)
		}
	}
	if secret := strings.Fields(string(text)); strings.Contains(out.String(), secret[len(secret)-1]) && len(secret[len(secret)-1]) > 20 {
		t.Errorf("a secret was printed: %s", out.String())
	}
	return code, out.String(), read.String()
}

// peerKeys has the daemon say what the other node does with each key.
func peerKeys(f *fakeDaemon, kind string, peer ...string) {
	f.change(func(s *daemon.Status) {
		s.Peer.Kind, s.KeepaliveMS = kind, 1
		s.Keys = &daemon.KeysView{}
		for i, known := range peer {
			s.Keys.Entries = append(s.Keys.Entries, daemon.KeyView{Index: i + 1, Method: "sha1", Peer: known})
		}
	})
}

func TestKeyRotationStepByStep(t *testing.T) {
	f := startFake(t)
	dir := keyDir(t, firstKeys)
	steps := []struct {
		kind  string
		peer  []string
		words string
		code  int
		said  string
		keys  string
	}{
		{"hapair", []string{"signs"}, "switch", 1, "begin with heartbeat key rotate", "1 sha1 (signs)"},
		{"hapair", []string{"signs"}, "remove", 1, "begin with heartbeat key rotate", "1 sha1 (signs)"},
		{"hapair", []string{"signs"}, "rotate", 0, "beta:/etc/ha.d/authkeys\nThen, on beta: heartbeat reload", "1 sha1 (signs), 2 hmac-sha256"},
		{"hapair", []string{"signs", "lacks"}, "rotate", 1, "more than one key already", "1 sha1 (signs), 2 hmac-sha256"},
		{"hapair", []string{"signs", "lacks"}, "switch", 1, "beta does not have this key 2", "1 sha1 (signs), 2 hmac-sha256"},
		{"hapair", []string{"unknown", "unknown"}, "switch", 1, "beta is not heard", "1 sha1 (signs), 2 hmac-sha256"},
		{"hapair", []string{"signs"}, "switch", 1, "run heartbeat reload first", "1 sha1 (signs), 2 hmac-sha256"},
		{"linux-ha", []string{"signs", "unknown"}, "switch", 1, "`auth 2` into its authkeys", "1 sha1 (signs), 2 hmac-sha256"},
		{"hapair", []string{"signs", "has"}, "switch 3", 1, "not the index of a key that does not sign", "1 sha1 (signs), 2 hmac-sha256"},
		{"hapair", []string{"signs", "has"}, "switch", 0, "Next, on beta: heartbeat key switch", "1 sha1, 2 hmac-sha256 (signs)"},
		{"hapair", []string{"signs", "has"}, "remove", 1, "beta is not known to sign with key 2", "1 sha1, 2 hmac-sha256 (signs)"},
		{"hapair", []string{"has", "signs"}, "", 0, "1 sha1\tverifies here; beta has it\n2 hmac-sha256\tsigns here; beta signs with it\n", "1 sha1, 2 hmac-sha256 (signs)"},
		{"hapair", []string{"has", "signs"}, "remove", 0, "Key 1 is gone", "2 hmac-sha256 (signs)"},
		{"linux-ha", []string{"unknown", "signs"}, "rotate --method hmac-sha512", 1, "does not know hmac-sha512", "2 hmac-sha256 (signs)"},
		{"linux-ha", []string{"unknown", "signs"}, "rotate", 0, "change `auth 2` to `auth 3`", "2 hmac-sha256 (signs), 3 sha1"},
	}
	for i, s := range steps {
		peerKeys(f, s.kind, s.peer...)
		code, said, keys := key(t, dir, f.run, strings.Fields(s.words)...)
		if code != s.code || !strings.Contains(said, s.said) || keys != s.keys {
			t.Errorf("step %d, key %s: %d, %q, keys %s; want %d, %q, keys %s", i, s.words, code, said, keys, s.code, s.said, s.keys)
		}
	}
	if got, want := f.requests(), "reload; reload; reload; reload"; got != want {
		t.Errorf("asked for %q, want %q", got, want)
	}
}

func TestKeysArePutBackWhenTheDaemonRefuses(t *testing.T) {
	f := startFake(t)
	dir := keyDir(t, firstKeys)
	peerKeys(f, "hapair", "signs")
	f.mu.Lock()
	f.refuse = "configuration error: nothing was changed"
	f.mu.Unlock()
	code, said, keys := key(t, dir, f.run, "rotate")
	if code != 1 || !strings.Contains(said, "the old ones were put back") || keys != "1 sha1 (signs)" {
		t.Errorf("%d, %q, %s", code, said, keys)
	}
}

func TestKeysWithoutADaemon(t *testing.T) {
	dir, run := keyDir(t, strings.Replace(firstKeys, "auth 1 ", "  AUTH1\t", 1)), t.TempDir()
	for _, s := range []struct {
		words string
		code  int
		said  string
		keys  string
	}{
		{"rotate --method sha2", 1, "nothing was written", "1 sha1 (signs)"},
		{"rotate", 0, "PEER:/etc/ha.d/authkeys", "1 sha1 (signs), 2 sha1"},
		{"switch", 1, "heartbeat does not run here", "1 sha1 (signs), 2 sha1"},
		{"switch --force", 0, "signs with key 2 now", "1 sha1, 2 sha1 (signs)"},
		{"remove", 1, "--force removes it nevertheless", "1 sha1, 2 sha1 (signs)"},
		{"remove 1 --force", 0, "Key 1 is gone", "2 sha1 (signs)"},
	} {
		code, said, keys := key(t, dir, run, strings.Fields(s.words)...)
		if code != s.code || !strings.Contains(said, s.said) || keys != s.keys {
			t.Errorf("key %s: %d, %q, keys %s; want %d, %q, %s", s.words, code, said, keys, s.code, s.said, s.keys)
		}
	}
}

func TestIndexesOfNewKeys(t *testing.T) {
	many := "auth 15\n"
	for index := 1; index <= 15; index++ {
		if index != 7 {
			many += fmt.Sprintf("%d sha1 0123456789abcdef0123456789abcde%x\n", index, index)
		}
	}
	f, err := readKeyFile(keyDir(t, many))
	if err != nil {
		t.Fatal(err)
	}
	if index, err := f.free(); err != nil || index != 7 {
		t.Errorf("free: %d, %v", index, err)
	}
	f, err = readKeyFile(keyDir(t, many+"7 sha1 0123456789abcdef0123456789abcdef\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.free(); err == nil {
		t.Error("an index beside fifteen")
	}
	if _, err := readKeyFile(keyDir(t, "auth 2\n1 crc\n")); err == nil || !strings.Contains(err.Error(), "correct this first") {
		t.Errorf("a broken file: %v", err)
	}
}
