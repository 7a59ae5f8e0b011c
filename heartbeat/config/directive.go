package config

import "time"

// directive is one row of the table of protocol section 1.4.
type directive struct {
	name    string
	set     func(*parser, statement)
	raw     bool   // the rest of the line is one value (protocol section 1.1 rule 5)
	once    bool   // Linux-HA refuses a second one
	value   string // raw text of Linux-HA's default, as cl_status hbparameter shows it
	without string // why it has no effect here; "" for one that has
}

// Reasons why a directive has no effect.
const (
	pacemakerOnly = "it is for Pacemaker"
	noCompression = "compressed messages are understood, but none are sent"
)

// directives is the table, in the order in which defaults are shown. It is a function because its rows use the parser,
// which uses the table.
func directives() []directive {
	return append(append(append(basics(), mediaDirectives()...), hostDirectives()...), ineffective()...)
}

// basics are the directives of nodes, times and resources.
func basics() []directive {
	return []directive{
		{name: "node", set: setNode},
		{name: "cluster", set: setWord(func(c *Config) *string { return &c.Cluster }), value: "linux-ha"},
		{name: "hopfudge", set: setInt(0, 255, func(c *Config) *int { return &c.HopFudge }), value: "1"},
		{name: "keepalive", set: setTime(time.Millisecond, func(c *Config) *time.Duration { return &c.Keepalive }), value: "1000ms"},
		{name: "deadtime", set: setTime(0, func(c *Config) *time.Duration { return &c.Deadtime }), value: "30000ms"},
		{name: "deadping", set: setTime(0, func(c *Config) *time.Duration { return &c.Deadping })},
		{name: "warntime", set: setTime(time.Millisecond, func(c *Config) *time.Duration { return &c.Warntime })},
		{name: "initdead", set: setTime(0, func(c *Config) *time.Duration { return &c.Initdead })},
		{name: "auto_failback", set: setAutoFailback, value: FailbackLegacy},
		{name: "nice_failback", set: setNiceFailback},
		{name: "stonith", set: setStonith, raw: true},
		{name: "stonith_host", set: setStonithHost, raw: true},
		{name: "respawn", set: setRespawn, raw: true},
		{name: "failfast", set: setFailFast, raw: true},
		{name: "apiauth", set: setAPIAuth, raw: true},
		{name: "env", set: setEnv},
		{name: "pacemaker", set: setPacemaker, once: true, value: "false"},
		{name: "crm", set: setPacemaker, once: true},
		{name: "autojoin", set: setAutojoin, value: "none"},
	}
}

// mediaDirectives are the directives of links and ping nodes.
func mediaDirectives() []directive {
	rows := []directive{
		{name: "udpport", set: setUDPPort},
		{name: "baud", set: setBaud, once: true, value: "19200"},
		{name: "serial", set: setSerial},
		{name: "bcast", set: setBcast},
		{name: "ucast", set: setUcast, raw: true},
		{name: "ucast6", set: setUcast6, raw: true},
		{name: "mcast", set: setMcast, raw: true},
		{name: "mcast6", set: setMcast6, raw: true},
		{name: "ping", set: setPing},
		{name: "ping6", set: setPing6},
		{name: "ping_group", set: setPingGroup, raw: true},
	}
	for _, name := range []string{"hbaping", "rds", "tipc", "openais"} {
		rows = append(rows, directive{name: name, set: setMissingPlugin})
	}
	return rows
}

// hostDirectives are the directives of the daemon itself and of its log.
func hostDirectives() []directive {
	return []directive{
		{name: "hbgenmethod", set: setChoice(func(c *Config) *string { return &c.HBGenMethod }, "file", "time"), value: "file"},
		{name: "realtime", set: setBool(func(c *Config) *bool { return &c.Realtime }), value: "true"},
		{name: "rtprio", set: setInt(1, 99, func(c *Config) *int { return &c.RTPrio })},
		{name: "msgfmt", set: setMsgFmt, value: "classic"},
		{name: "watchdog", set: setPath(func(c *Config) *string { return &c.Watchdog }), once: true},
		{name: "logfile", set: setPath(func(c *Config) *string { return &c.Log.File })},
		{name: "debugfile", set: setPath(func(c *Config) *string { return &c.Log.DebugFile })},
		{name: "logfacility", set: setFacility},
		{name: "debug", set: setInt(0, 255, func(c *Config) *int { return &c.Log.Debug })},
		{name: "log_badpack", set: setBool(func(c *Config) *bool { return &c.Log.LogBadpack }), value: "true"},
		{name: "syslogmsgfmt", set: setBool(func(c *Config) *bool { return &c.Log.SyslogFmt }), value: "true"},
		{name: "coredumps", set: setBool(func(c *Config) *bool { return &c.CoreDumps }), value: "true"},
		{name: "coreroot", set: setPath(func(c *Config) *string { return &c.CoreRoot })},
		{name: "uuidfrom", set: setChoice(func(c *Config) *string { return &c.UUIDFrom }, "file", "nodename"), value: "file"},
		{name: "max_rexmit_delay", set: setRexmitDelay, value: "250"},
	}
}

// ineffective are the directives that are checked and then ignored.
func ineffective() []directive {
	const nothing = "nothing here needs it"
	anyBool, anyWord := setBool(nil), setWord(nil)
	return []directive{
		{name: "use_logd", set: setUseLogd},
		{name: "conn_logd_time", set: setTime(time.Millisecond, nil), value: "60", without: "there is no ha_logd to connect to"},
		{name: "use_apphbd", set: anyBool, without: "there is no apphbd; use watchdog"},
		{name: "compression", set: setChoice(nil, "zlib", "bz2"), value: "zlib", without: noCompression},
		{name: "compression_threshold", set: setInt(1, 1<<20, nil), value: "2", without: noCompression},
		{name: "traditional_compression", set: anyBool, value: "no", without: noCompression},
		{name: "memreserve", set: setInt(0, 1<<30, nil), value: "6500", without: nothing},
		{name: "normalpoll", set: anyBool, without: nothing},
		{name: "quorum_server", set: anyWord, without: "a pair with haresources has no quorum server"},
		{name: "record_config_changes", set: anyBool, value: "on", without: pacemakerOnly},
		{name: "record_pengine_inputs", set: anyBool, value: "on", without: pacemakerOnly},
		{name: "enable_config_writes", set: anyBool, value: "on", without: pacemakerOnly},
		{name: "crmd_spawns_pengine", set: anyBool, without: pacemakerOnly},
		{name: "crm_daemon_dir", set: anyWord, without: pacemakerOnly},
	}
}

// aliases are other names of directives that Linux-HA maps with a warning.
var aliases = map[string]string{"udp": "bcast"}
