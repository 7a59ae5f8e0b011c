package daemon

import (
	"fmt"
	"os"
	"strings"

	"hapair/heartbeat/config"
)

// environ is the environment that scripts, hooks and clients get (protocol section 8.3).
func environ(c *config.Config, p Paths) []string {
	dir := p.Config + "/"
	file := func(name string) string {
		if name == "" {
			return "/dev/null"
		}
		return name
	}
	facility := c.Log.Facility
	if facility == "" {
		facility = "none"
	}
	nice := "yes"
	if c.AutoFailback == config.FailbackLegacy {
		nice = "no"
	}
	env := []string{
		"PATH=" + path(),
		"HA_DIR=" + dir,
		"HA_CURHOST=" + c.Node,
		"HA_FUNCS=" + dir + "shellfuncs",
		"HA_RCDIR=" + dir + "rc.d",
		"HA_RESOURCEDIR=" + dir + "resource.d",
		"HA_NOARCHBIN=/usr/share/heartbeat",
		"HA_BIN=/usr/libexec/heartbeat",
		"HA_DOCDIR=/usr/share/doc/heartbeat",
		"OCF_AGENTS=/usr/lib/ocf/resource.d/heartbeat/",
		"HA_LOGFILE=" + file(c.Log.File),
		"HA_DEBUGLOG=" + file(c.Log.DebugFile),
		"HA_LOGFACILITY=" + facility,
		"HA_LOGD=no",
		"HA_DATEFMT=%Y/%m/%d_%T\t",
		"HA_FIFO=" + p.FIFO(),
		"HA_RSCTMP=/run/resource-agents",
		"HA_NICEFAILBACK=" + nice,
		fmt.Sprintf("HA_debug=%d", c.Log.Debug),
		"OCF_ROOT=/usr/lib/ocf",
	}
	for _, d := range c.Directives {
		if d.Name != "debug" && d.Name != "env" {
			env = append(env, "HA_"+d.Name+"="+d.Value)
		}
	}
	for _, d := range c.Env {
		env = append(env, "HA_"+d.Name+"="+d.Value)
	}
	for _, name := range []string{"LANG", "LC_ALL", "TZ"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// path is this daemon's PATH with the system directories that init scripts expect.
func path() string {
	have := os.Getenv("PATH")
	parts := strings.Split(have, ":")
	for _, dir := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
		found := false
		for _, p := range parts {
			found = found || p == dir
		}
		if !found {
			have = strings.TrimPrefix(have+":"+dir, ":")
		}
	}
	return have
}
