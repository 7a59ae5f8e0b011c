package agent

import (
	"strings"
	"testing"

	"hapair/haresources"
)

// resource is a resource as it stands on a line.
func resource(t testing.TB, spec string) haresources.Resource {
	t.Helper()
	table, faults := haresources.Parse("test", strings.NewReader("node "+spec+"\n"))
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	return table.Groups[0].Resources[0]
}

func TestArgumentsKeepIPv6Whole(t *testing.T) {
	for text, want := range map[string]string{
		"default::10.0.0.1::eth0":                      "default|10.0.0.1|eth0",
		"default::fe80::1::eth0":                       "default|fe80::1|eth0",
		"2001:db8:1::/64::2001:db8::1::eth0":           "2001:db8:1::/64|2001:db8::1|eth0",
		"[2001:db8:1::/64]::[fe80::1]":                 "[2001:db8:1::/64]|[fe80::1]",
		"default::via=2001:db8::1::dev=eth0::src=fe::": "default|via=2001:db8::1|dev=eth0|src=fe::",
		"2001:db8:0:0:0:0:0:1::eth0":                   "2001:db8:0:0:0:0:0:1|eth0",
		"10.0.0.0/8::eth0::metric=5":                   "10.0.0.0/8|eth0|metric=5",
		"::":                                           "",
	} {
		if got := strings.Join(splitArguments(text), "|"); got != want {
			t.Errorf("%s: %s, not %s", text, got, want)
		}
	}
}

// TestArgumentsOfKinds checks what `heartbeat check` says of arguments, for every kind.
func TestArgumentsOfKinds(t *testing.T) {
	for spec, want := range map[string]string{
		"Route::default::192.0.2.1":                            "",
		"Route::default::192.0.2.1::eth0::metric=10":           "",
		"Route::default::fe80::1::eth0::src=2001:db8::5":       "",
		"Route::default::fe80::1%eth0":                         "",
		"Route::10.0.0.0/8::eth0":                              "",
		"Route::10.0.0.0/8::type=blackhole":                    "",
		"Route":                                                "no destination",
		"Route::default":                                       "neither a gateway nor an interface",
		"Route::10.0.0.1/8::eth0":                              "10.0.0.0/8",
		"Route::default::fe80::1":                              "needs an interface",
		"Route::10.0.0.0/8::2001:db8::1":                       "different families",
		"Route::default::via=10.0.0.1::10.0.0.2":               "after via",
		"Route::default::10.0.0.1::matric=5":                   `did you mean "metric"`,
		"Route::default::10.0.0.1::metric=many":                "not a number",
		"Route::default::10.0.0.1::table=isp":                  "neither main nor a number",
		"Route::10.0.0.0/8::eth0::type=blackhole":              "neither gateway nor interface",
		"Rule::from=10.0.0.0/8::table=100::prio=1000":          "",
		"Rule::from=2001:db8::/32::table=100::prio=1000":       "",
		"Rule::fwmark=0x10/0xff::table=100::prio=1000":         "",
		"Rule::from=10.0.0.0/8::table=100":                     "no prio",
		"Rule::from=10.0.0.0/8::prio=7":                        "no table",
		"Rule::table=100::prio=7":                              "every packet",
		"Rule::from=10.0.0.0/8::to=fe80::/64::table=5::prio=6": "different families",
		"Rule::10.0.0.0/8::table=5":                            "not NAME=VALUE",
		"IPsrcaddr::10.0.0.5":                                  "",
		"IPsrcaddr":                                            "no address",
		"SendArp::10.0.0.5/eth0":                               "",
		"SendArp::10.0.0.5/24/eth0":                            "",
		"SendArp::ten":                                         "not an IP address",
		"Delay":                                                "",
		"Delay::5::500ms":                                      "",
		"Delay::soon":                                          "not a time",
		"Delay::1::2::3":                                       "at most two",
		"NFSExport::/srv/nfs::192.0.2.0/24::rw,fsid=1":         "",
		"NFSExport::/srv/nfs::[2001:db8::]/64::rw,fsid=1":      "",
		"NFSExport::/srv/nfs":                                  "write NFSExport",
		"NFSExport::srv::*":                                    "not the path",
		"NFSServer::/srv/nfs/.state":                           "",
		"NFSServer::/srv/nfs/.state::grace=20::lease=15":       "",
		"NFSServer":                                            "write NFSServer",
		"NFSServer::/srv::lease=5":                             "less than the kernel takes",
		"NFSServer::/srv::lease=30":                            "shorter than lease",
		"Firewall":                                             "one or two arguments",
		"Firewall::rules.nft":                                  "slash",
	} {
		r := resource(t, spec)
		open := kinds[r.Name]
		_, err := open(Environment{}, r)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, not %q", spec, err, want)
		}
	}
}
