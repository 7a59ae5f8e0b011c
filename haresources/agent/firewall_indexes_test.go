package agent

import "testing"

// TestNewInterfacesDoNotStopTheReplay: those of containers come all the time; one that went, or is another one now, may be in a rule.
func TestNewInterfacesDoNotStopTheReplay(t *testing.T) {
	c := &compiled{indexes: map[string]int{"lo": 1, "eth0": 2}}
	for _, test := range []struct {
		now  map[string]int
		want bool
	}{
		{map[string]int{"lo": 1, "eth0": 2}, true},
		{map[string]int{"lo": 1, "eth0": 2, "veth7": 9}, true},
		{map[string]int{"lo": 1, "eth0": 3}, false},
		{map[string]int{"lo": 1, "veth7": 2}, false},
	} {
		if got := c.stillThere(test.now); got != test.want {
			t.Errorf("%v: %v", test.now, got)
		}
	}
}
