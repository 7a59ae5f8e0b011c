package wire_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"hapair/heartbeat/wire"
)

func TestMessageKeepsOrderAndDuplicates(t *testing.T) {
	m := wire.New("status")
	m.Add("a", "1")
	m.Add("a", "2")
	m.Add("empty", "")
	m.Set("a", "3")
	m.Set("new", "4")
	want := []wire.Field{{"t", 0, "status"}, {"a", 0, "3"}, {"a", 0, "2"}, {"empty", 0, ""}, {"new", 0, "4"}}
	if !slices.Equal(m.Fields(), want) {
		t.Errorf("fields %v, want %v", m.Fields(), want)
	}
	if m.Kind() != "status" || m.Get("a") != "3" || m.Get("absent") != "" || m.Len() != 5 {
		t.Errorf("reads of %v are wrong", m)
	}
	if _, ok := m.Lookup("empty"); !ok {
		t.Error("an empty field is taken for an absent one")
	}
	if _, ok := m.Lookup("absent"); ok {
		t.Error("an absent field is found")
	}
}

func TestCloneSharesNothing(t *testing.T) {
	m := wire.New("status")
	c := m.Clone()
	c.Set("t", "other")
	c.Add("x", "y")
	if m.Kind() != "status" || m.Len() != 1 {
		t.Errorf("the original became %v", m)
	}
}

func TestStringIsOnePrintableLine(t *testing.T) {
	m := wire.New("status")
	m.Add("ld", "0.1 0.2")
	m.Add("bad", "a\nb\x00")
	m.AddBinary("srcuuid", []byte{0, 1, 2})
	m.Add("long", strings.Repeat("x", 500))
	got := m.String()
	want := `t=status ld="0.1 0.2" bad="a\nb\x00" srcuuid=AAEC long=` + strings.Repeat("x", 120) + "…"
	if got != want {
		t.Errorf("rendered\n%s, want\n%s", got, want)
	}
}

// The frames of this test are what cluster-glue 1.0.12 makes of the same message.
func TestNestedMessagesAndLists(t *testing.T) {
	const (
		net = "###\n6:(0)t=x,94:(2)s=###\n6:(0)a=1,8:(0)b=x\ny,15:(3)l=3:p q,1:r,,38:(2)s2=###\n6:(0)c=2,11:(1)bin=\x00\x01\n\xff,%%%\n,%%%\n," +
			"23:(3)lst=3:abc,4:defg,0:,,%%%\n"
		text = ">>>\nt=x\n(2)s=>>>\x14a=1\x14b=x\x13y\x14(3)l=3:p q,1:r,\x14(2)s2=>>>\x15c=2\x15(1)bin=AAEK/w==\x15<<<\x15\x14<<<\x14\n" +
			"(3)lst=3:abc,4:defg,0:,\n<<<\n"
	)
	inner := wire.Message{}
	inner.Add("c", "2")
	inner.AddBinary("bin", []byte("\x00\x01\n\xff"))
	s := wire.Message{}
	s.Add("a", "1")
	s.Add("b", "x\ny")
	s.AddList("l", "p q", "r")
	s.AddStruct("s2", inner)
	m := wire.New("x")
	m.AddStruct("s", s)
	m.AddList("lst", "abc", "defg", "")

	for _, frame := range []string{net, text} {
		got, err := wire.Parse([]byte(frame))
		if err != nil || !equal(got, m) {
			t.Errorf("parse %q: %v, %v", frame, got, err)
			continue
		}
		outer, ok := got.Nested("s")
		if !ok || outer.Get("b") != "x\ny" {
			t.Errorf("nested message %v", outer)
		}
		if deep, ok := outer.Nested("s2"); !ok || deep.Get("bin") != "\x00\x01\n\xff" {
			t.Errorf("message nested twice %v", deep)
		}
		if list, ok := got.List("lst"); !ok || !slices.Equal(list, []string{"abc", "defg", ""}) {
			t.Errorf("list %q", list)
		}
	}
	keys := keysOf(t, "auth 1\n1 crc\n")
	if got := string(keys.Seal(nil, m, wire.Netstring)); !strings.HasPrefix(got, net) {
		t.Errorf("sealed %q", got)
	}
	if got := string(keys.Seal(nil, m, wire.Text)); !strings.HasPrefix(got, strings.TrimSuffix(text, "<<<\n")+"auth=1 ") {
		t.Errorf("sealed %q", got)
	}
	if _, ok := m.Nested("t"); ok {
		t.Error("a string is taken for a message")
	}
	if _, ok := m.List("absent"); ok {
		t.Error("an absent list is found")
	}
}

func TestCheckRefusesWhatCannotBeFramed(t *testing.T) {
	for name, f := range map[string]wire.Field{
		"no name":            {"", wire.String, "x"},
		"equals in the name": {"a=b", wire.String, "x"},
		"newline in a name":  {"a\nb", wire.String, "x"},
		"name like a type":   {"(1)a", wire.String, "x"},
		"name like a marker": {"<<<", wire.String, "x"},
		"NUL in text":        {"a", wire.String, "x\x00"},
		"not a list":         {"a", wire.List, "x"},
		"not a message":      {"a", wire.Struct, "x"},
		"unknown type":       {"a", wire.Type(6), "x"},
	} {
		m := wire.New("x")
		m.AddField(f)
		if err := m.Check(); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: check says %v", name, err)
		}
		for _, framing := range []wire.Framing{wire.Netstring, wire.Classic, wire.Text} {
			if got := keysOf(t, "auth 1\n1 crc\n").Seal([]byte("before"), m, framing); string(got) != "before" {
				t.Errorf("%s: sealed %q", name, got)
			}
		}
	}
	many := wire.Message{}
	for range wire.MaxFields + 1 {
		many.Add("a", "b")
	}
	if err := many.Check(); !errors.Is(err, wire.ErrTooLong) {
		t.Errorf("too many fields: check says %v", err)
	}
	if err := heartbeat().Check(); err != nil {
		t.Errorf("check refuses a heartbeat: %v", err)
	}
}

func TestNestingIsLimited(t *testing.T) {
	keys := keysOf(t, "auth 1\n1 crc\n")
	m := wire.Message{}
	m.Add("v", "0")
	for depth := range 20 {
		allowed := depth <= wire.MaxDepth
		if err := m.Check(); (err == nil) != allowed {
			t.Errorf("depth %d: check says %v", depth, err)
		}
		for _, framing := range []wire.Framing{wire.Netstring, wire.Text} {
			frame := keys.Seal(nil, m, framing)
			if allowed != (len(frame) > 0) {
				t.Fatalf("depth %d: sealed %q", depth, frame)
			}
			if !allowed {
				continue
			}
			if got, err := keys.Open(frame); err != nil || !equal(got, m) {
				t.Errorf("depth %d: opened %v, %v", depth, got, err)
			}
		}
		outer := wire.Message{}
		outer.AddStruct("s", m)
		m = outer
	}
	deep := "###\n6:(0)a=1,%%%\n"
	text := ">>>\na=1\n<<<\n"
	for range 17 {
		deep = "###\n" + element("(2)s="+deep) + "%%%\n"
		text = ">>>\n(2)s=" + text + "\n<<<\n"
	}
	for _, frame := range []string{deep, text} {
		if _, err := wire.Parse([]byte(frame)); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("parse of too deep a frame: %v", err)
		}
	}
}
