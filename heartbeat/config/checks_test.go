package config_test

import (
	"testing"
	"time"

	"hapair/heartbeat/config"
)

func TestParseCheck(t *testing.T) {
	got, err := config.ParseCheck("web:/etc/ha.d/checks/web,interval=500ms,rise=1,fall=5,action=tell")
	want := config.Check{Name: "web", Path: "/etc/ha.d/checks/web", Interval: 500 * time.Millisecond, Timeout: 500 * time.Millisecond, Rise: 1, Fall: 5, Tell: true}
	if err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "web", "web:relative", ":/x", "web:/x,fall=0", "web:/x,interval=0", "web:/x,action=reboot", "web:/x,foo=1", "web:/x,"} {
		if _, err := config.ParseCheck(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
