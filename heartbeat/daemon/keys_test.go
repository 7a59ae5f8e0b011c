package daemon

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hapair/heartbeat/wire"
)

const (
	oldKey = "1 sha1 secret-of-the-laboratory\n"
	newKey = "2 hmac-sha256 a-fresh-secret-of-the-laboratory\n"
)

// keysOf reads authkeys' text.
func keysOf(t *testing.T, text string) *wire.Keys {
	t.Helper()
	keys, faults := wire.ReadKeys("authkeys", strings.NewReader(text))
	if keys == nil {
		t.Fatal(faults.Error())
	}
	return keys
}

// peerSays is what a node knows of the peer's use of each of its keys.
func peerSays(t *testing.T, n *labNode) string {
	t.Helper()
	s, err := n.status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, k := range s.Keys.Entries {
		words = append(words, fmt.Sprintf("%d %s", k.Index, k.Peer))
	}
	return strings.Join(words, ", ")
}

func TestKeysChangeWithoutALostHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alpha, beta, _ := pair(t)
		steps := []struct {
			node       *labNode
			keys       string
			alpha, bet string // what each knows of the other afterwards
		}{
			{alpha, "auth 1\n" + oldKey + newKey, "1 signs, 2 lacks", "1 signs"},
			{beta, "auth 1\n" + oldKey + newKey, "1 signs, 2 has", "1 signs, 2 has"},
			{alpha, "auth 2\n" + oldKey + newKey, "1 signs, 2 has", "1 has, 2 signs"},
			{beta, "auth 2\n" + oldKey + newKey, "1 has, 2 signs", "1 has, 2 signs"},
			{alpha, "auth 2\n" + newKey, "2 signs", "1 lacks, 2 signs"},
			{beta, "auth 2\n" + newKey, "2 signs", "2 signs"},
		}
		for i, s := range steps {
			s.node.media.ring.load(keysOf(t, s.keys), s.node.conf().Peer)
			time.Sleep(time.Second)
			if a, b := peerSays(t, alpha), peerSays(t, beta); a != s.alpha || b != s.bet {
				t.Errorf("step %d: alpha knows %q, beta %q; want %q, %q", i, a, b, s.alpha, s.bet)
			}
		}
		alpha.wants(t, "web")
		beta.wants(t, "mail")
		for _, n := range []*labNode{alpha, beta} {
			s, err := n.status(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range s.Links {
				if l.State != "up" || len(l.Invalid) > 0 {
					t.Errorf("%s: %+v", n.manager.node, l)
				}
			}
			if strings.Contains(n.sink.text(), "invalid frame") || s.Peer.Lost > 0 {
				t.Errorf("%s lost %d:\n%s", n.manager.node, s.Peer.Lost, n.sink.text())
			}
		}
		alpha.end()
		beta.end()
	})
}

func TestAnotherKeyUnderTheSameNumberIsNotTakenForTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alpha, beta, _ := pair(t)
		alpha.media.ring.load(keysOf(t, "auth 1\n"+oldKey+newKey), "beta")
		beta.media.ring.load(keysOf(t, "auth 1\n"+oldKey+"2 hmac-sha256 some-other-secret-of-somebody\n"), "alpha")
		time.Sleep(time.Second)
		if a := peerSays(t, alpha); a != "1 signs, 2 lacks" {
			t.Errorf("alpha knows %q", a)
		}
		beta.end()
		time.Sleep(2 * keysFresh)
		if a := peerSays(t, alpha); a != "1 unknown, 2 unknown" {
			t.Errorf("of a silent peer alpha knows %q", a)
		}
		alpha.end()
	})
}

// heard is a heartbeat of a peer, signed with an entry.
func heard(t *testing.T, keys *wire.Keys, index, seq int, fields ...string) ([]byte, wire.Message) {
	t.Helper()
	m := wire.New("status")
	for _, f := range append([]string{"src=beta", "hg=10", fmt.Sprintf("seq=%x", seq)}, fields...) {
		name, value, _ := strings.Cut(f, "=")
		m.Add(name, value)
	}
	with, ok := keys.SigningWith(index)
	if !ok {
		t.Fatalf("no key %d", index)
	}
	return with.Seal(nil, m, wire.Classic), m
}

func TestTheKeyOfALinuxHAPeerIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		both := keysOf(t, "auth 1\n"+oldKey+"2 sha1 a-fresh-secret-of-the-laboratory\n")
		inForce, said := 0, ""
		r := &keyring{apply: func(k *wire.Keys) { inForce, _ = k.Signing() }, say: func(format string, args ...any) { said = fmt.Sprintf(format, args...) }}
		r.load(both, "beta")
		tests := []struct {
			what   string
			index  int
			seq    int
			fields []string
			signs  int
			said   string
		}{
			{"as here", 1, 1, nil, 1, ""},
			{"it switched", 2, 2, nil, 2, "beta signs with key 2: this node signs with it too"},
			{"an old frame, played again", 1, 1, nil, 2, ""},
			{"the same frame by another link", 1, 2, nil, 2, ""},
			{"it is a hapair now, which understands every key", 2, 3, []string{"hapair=1 n=5"}, 1, "signs with key 1 (sha1) again"},
			{"and does not lead", 2, 4, []string{"hapair=1 n=5"}, 1, ""},
		}
		for _, test := range tests {
			said = ""
			r.listen(heard(t, both, test.index, test.seq, test.fields...))
			if inForce != test.signs || !strings.Contains(said, test.said) || test.said == "" && said != "" {
				t.Errorf("%s: signs with %d and says %q, want %d and %q", test.what, inForce, said, test.signs, test.said)
			}
		}
		r.listen(heard(t, both, 2, 5))
		if v := r.view(); !v.Following || !v.Entries[0].File || !v.Entries[1].Signs || v.Entries[0].Peer != "unknown" || v.Entries[1].Peer != "signs" {
			t.Errorf("view: %+v", v)
		}
		time.Sleep(2 * keysFresh)
		r.listen(heard(t, both, 1, 1)) // it was installed anew and counts from the beginning
		if inForce != 1 {
			t.Errorf("a peer that counts anew is not followed")
		}
	})
}
