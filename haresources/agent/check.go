package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"hapair/haresources"
	"hapair/heartbeat/fault"
)

// Check says what is wrong with one resource on this machine: arguments, the existence, mode and owner of its script, for
// OCF agents their parameters. It starts nothing but an OCF agent's meta-data. The faults carry no place: the caller knows
// where the resource stands.
func Check(r haresources.Resource, env Environment) fault.List {
	c := checker{env: env, resource: r}
	switch r.Class {
	case haresources.ClassHeartbeat:
		if native(env.Paths, r.Name) {
			c.address()
		} else if open := ownKind(env.Paths, r.Name); open != nil {
			c.kind(open)
		} else {
			c.script(env.Paths.ResourceDir, env.Paths.InitDir)
		}
	case haresources.ClassLSB:
		c.script(env.Paths.InitDir)
	case haresources.ClassOCF:
		c.ocf()
	case haresources.ClassSystemd:
		c.systemd()
	}
	return c.faults
}

// checker collects the faults of one resource.
type checker struct {
	env      Environment
	resource haresources.Resource
	faults   fault.List
}

func (c *checker) add(s fault.Severity, hint, format string, args ...any) {
	c.faults.Addf(fault.Fault{Severity: s}, hint, "%s: %s", c.resource.Spec, fmt.Sprintf(format, args...))
}

// address checks a native address.
func (c *checker) address() {
	p, err := parsePlacement(c.resource)
	if err != nil {
		c.add(fault.Error, "", "%v", err)
		return
	}
	if !p.addr.Is4() || p.bits < 0 {
		return
	}
	subnet := netip.PrefixFrom(p.addr, p.bits)
	right := defaultBroadcast(subnet)
	switch {
	case right.IsValid() && p.addr == right:
		c.add(fault.Warning, "", "%v is the broadcast address of its own subnet", p.addr)
	case right.IsValid() && p.addr == subnet.Masked().Addr():
		c.add(fault.Warning, "", "%v is the address of its subnet itself, which many hosts do not talk to", p.addr)
	}
	switch {
	case !p.broadcast.IsValid():
	case p.broadcast == p.addr:
		c.add(fault.Warning, "leave it out", "the broadcast address is the address itself")
	case !right.IsValid() || p.broadcast != right:
		hint := "leave it out"
		if right.IsValid() {
			hint = fmt.Sprintf("%v, or leave it out", right)
		}
		c.add(fault.Warning, hint, "%v is not the broadcast address of %v", p.broadcast, subnet.Masked())
	}
}

// script checks a script of the classic kind.
func (c *checker) script(dirs ...string) {
	s := &script{env: c.env, name: c.resource.Name, dirs: dirs}
	path, err := s.find()
	if err == nil {
		c.permissions(path)
		return
	}
	for _, dir := range dirs {
		link := filepath.Join(dir, c.resource.Name)
		if target, linkErr := os.Readlink(link); linkErr == nil && errors.Is(statError(link), fs.ErrNotExist) {
			c.add(fault.Warning, "", "%s points to %s, which is not there now; it must be when the group is started", link, target)
			return
		}
	}
	hint := ""
	if near := fault.Nearest(c.resource.Name, c.scripts(dirs)); near != "" && near != c.resource.Name {
		hint = "did you mean " + near + "?"
	}
	c.add(fault.Error, hint, "%v", err)
}

func statError(path string) error {
	_, err := os.Stat(path)
	return err
}

// scripts are the names that would have been found.
func (c *checker) scripts(dirs []string) []string {
	names := append([]string{"IPaddr", "IPaddr2", "IPv6addr"}, kindNames()...)
	for _, dir := range dirs {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			names = append(names, e.Name())
		}
	}
	return names
}

// permissions complains of a script, or a directory on the way to it, that others than root may change: whoever may, is root
// at the next takeover.
func (c *checker) permissions(path string) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		c.add(fault.Error, "", "%v", err)
		return
	}
	for at := real; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if err != nil {
			c.add(fault.Error, "", "%v", err)
			return
		}
		sticky := info.IsDir() && info.Mode()&os.ModeSticky != 0
		if info.Mode().Perm()&0o002 != 0 && !sticky {
			c.add(fault.Error, "chmod o-w "+at, "%s may be changed by everybody (mode %04o), and it runs as root", at, info.Mode().Perm())
		}
		if owner, ok := info.Sys().(*syscall.Stat_t); ok && at == real && owner.Uid != 0 && owner.Uid != uint32(os.Geteuid()) {
			c.add(fault.Warning, "chown root "+at, "%s belongs to the user with uid %d, and it runs as root", at, owner.Uid)
		}
		if at == filepath.Dir(at) {
			return
		}
	}
}

// ocf checks an OCF agent and its parameters.
func (c *checker) ocf() {
	made, err := openOCF(c.env, c.resource)
	if err != nil {
		c.add(fault.Error, "ocf:PROVIDER:TYPE::name=value", "%v", err)
		return
	}
	o := made.(*ocf)
	if _, err := o.program("meta-data", 0); err != nil {
		hint := ""
		entries, _ := filepath.Glob(filepath.Join(c.env.Paths.OCFRoot, "resource.d", "*", "*"))
		var names []string
		for _, e := range entries {
			names = append(names, filepath.Base(filepath.Dir(e))+":"+filepath.Base(e))
		}
		if near := fault.Nearest(c.resource.Name, names); near != "" && near != c.resource.Name {
			hint = "did you mean ocf:" + near + "?"
		} else if len(entries) == 0 {
			hint = "install the package resource-agents"
		}
		c.add(fault.Error, hint, "%v", err)
		return
	}
	c.permissions(o.path())
	m, err := o.metadata()
	if err != nil {
		c.add(fault.Warning, "", "%v", err)
		return
	}
	c.parameters(o.params, m)
}

// parameters compares what is given with what the agent knows and needs.
func (c *checker) parameters(given []string, m metadata) {
	var names []string
	for _, p := range m.Parameters {
		names = append(names, p.Name)
	}
	has := map[string]bool{}
	for _, arg := range given {
		name, _, _ := strings.Cut(arg, "=")
		has[name] = true
		if slices.Contains(names, name) {
			continue
		}
		hint := ""
		if near := fault.Nearest(name, names); near != "" {
			hint = "did you mean " + near + "?"
		}
		c.add(fault.Warning, hint, "the agent has no parameter %s", name)
	}
	for _, p := range m.Parameters {
		if (p.Required == "1" || p.Required == "true") && !has[p.Name] {
			c.add(fault.Error, "add ::"+p.Name+"=VALUE", "the agent needs the parameter %s", p.Name)
		}
	}
}

// systemd checks a unit.
func (c *checker) systemd() {
	if err := openSystemd(c.resource).check(); err != nil {
		c.add(fault.Error, "systemctl list-unit-files", "%v", err)
	}
}
