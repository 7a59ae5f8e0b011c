package haresources

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"hapair/heartbeat/fault"
)

// stockNames are the resource scripts that Linux-HA and its companions ship (protocol section 8.6, and those seen in the
// field), for hints only.
var stockNames = []string{
	"IPaddr", "IPaddr2", "IPv6addr", "IPsrcaddr", "SendArp", "portblock", "Filesystem", "MailTo", "Delay", "OCF", "LVM",
	"Raid1", "LinuxSCSI", "ServeRAID", "ICP", "WAS", "apache", "db2", "ids", "Xinetd", "AudibleAlarm", "WinPopup",
	"drbddisk", "drbdupper", "ldirectord", "LVSSyncDaemonSwap", "mysql", "httpd", "apache2", "nginx", "haproxy", "nfs-kernel-server",
	"nfslock", "nfs-common", "killnfsd", "squid", "VirtualMAC", "Route", "Firewall", "Conntrack",
}

// harmlessTwice are resources that may well stand on several lines.
var harmlessTwice = []string{"MailTo", "Delay", "SendArp", "AudibleAlarm", "WinPopup"}

// addressNames are the resources whose first argument is an address, which may be IPv6 and so contain a double colon.
var addressNames = []string{"IPv6addr", "IPaddr", "IPaddr2", "IPsrcaddr", "SendArp"}

// checkNode refuses a first word that cannot be a node name; most often the name was forgotten or a blank after it.
func (p *parser) checkNode(w word) bool {
	const form = "a line is NODE RESOURCE [RESOURCE …]"
	if looksLikeResource(w.text) {
		p.add(fault.Error, w.position, form, "the node name is missing: the line begins with the resource %s", quote(w.text))
		return false
	}
	if node, rest, ok := splitGlued(w.text); ok {
		p.add(fault.Error, w.position, fmt.Sprintf("%s %s", node, rest), "node name and address without a blank between them: %s", quote(w.text))
		return false
	}
	for i, c := range []byte(w.text) {
		if nodeByte(c) {
			continue
		}
		hint := form
		if strings.ContainsAny(w.text, "@%${}<>") {
			hint = "is this a template that was not filled in?"
		}
		p.add(fault.Error, position{w.line, w.col + i}, hint, "not a node name: %s", quote(w.text))
		return false
	}
	return true
}

// nodeByte says whether a byte may stand in a node name.
func nodeByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._-", c) >= 0
}

// looksLikeResource says whether a first word is certainly not meant to be a node.
func looksLikeResource(s string) bool {
	head, _, _ := strings.Cut(s, "/")
	if _, err := netip.ParseAddr(head); err == nil {
		return true
	}
	if strings.Contains(s, "::") || strings.HasPrefix(s, "/") || slices.Contains(stockNames[:7], s) {
		return true
	}
	class, _, found := strings.Cut(s, ":")
	return found && slices.Contains([]string{ClassLSB, ClassOCF, ClassSystemd}, class)
}

// splitGlued finds the address at the end of a word that begins like a name, "test3192.168.0.55": the first octet takes as
// many digits as it can.
func splitGlued(s string) (node, rest string, ok bool) {
	head, _, _ := strings.Cut(s, "/")
	for i := 1; i < len(head); i++ {
		if head[i] < '0' || head[i] > '9' || head[i-1] == '.' {
			continue
		}
		if a, err := netip.ParseAddr(head[i:]); err == nil && a.Is4() {
			return s[:i], s[i:], strings.IndexFunc(s[:i], func(r rune) bool { return r < '0' || r > '9' }) >= 0
		}
	}
	return "", "", false
}

// resource makes a Resource of a word.
func (p *parser) resource(w word) (Resource, bool) {
	r := Resource{Spec: w.text, Line: w.line, Col: w.col}
	if done, ok := p.bareAddress(&r); done {
		return r, ok
	}
	head, rest, hasArgs := strings.Cut(w.text, "::")
	if class, name, found := strings.Cut(head, ":"); found {
		r.Class, r.Name = class, name
	} else {
		r.Name = head
	}
	if !p.checkName(r) {
		return r, false
	}
	if hasArgs {
		p.arguments(&r, rest)
	}
	return r, p.checkClass(r)
}

// bareAddress recognises a word that is an address with or without a prefix, interface and broadcast address. done says
// that the word is settled, ok that it is good.
func (p *parser) bareAddress(r *Resource) (done, ok bool) {
	head, _, _ := strings.Cut(r.Spec, "/")
	a, err := netip.ParseAddr(head)
	if before, _, found := strings.Cut(head, "::"); err != nil && found {
		a, err = netip.ParseAddr(before)
	}
	switch {
	case err == nil && a.Is6():
		if script, _, _ := strings.Cut(r.Spec, "::"); slices.Contains(stockNames, script) {
			return false, false // db2::db2 is an instance of db2, though it could be an address
		}
		r.Name, r.Args = "IPv6addr", []string{r.Spec}
		if !p.assembled {
			p.add(fault.Notice, position{r.Line, r.Col}, "", "taken for an IPv6 address; Linux-HA takes it for the name of a script")
		}
		return true, true
	case err == nil && strings.Contains(r.Spec, "::"):
		p.add(fault.Error, position{r.Line, r.Col}, "IPaddr::"+r.Spec, "arguments after a bare address: %s", quote(r.Spec))
		return true, false
	case err == nil:
		r.Name, r.Args = "IPaddr", []string{r.Spec}
		return true, true
	case looksLikeIPv4(r.Spec):
		hint := "four numbers from 0 to 255"
		if slices.ContainsFunc(strings.Split(head, "."), func(n string) bool { return len(n) > 1 && n[0] == '0' }) {
			hint += " without leading zeros"
		}
		p.add(fault.Error, position{r.Line, r.Col}, hint, "not an IPv4 address: %s, which Linux-HA would try to use as one", quote(r.Spec))
		return true, false
	}
	return false, false
}

// looksLikeIPv4 is Linux-HA's own test for a bare address, the shell pattern [0-9]*.[0-9]*.[0-9]*.[0-9]*: `1x.2.3.4` counts.
func looksLikeIPv4(s string) bool {
	digit := func(i int) bool { return i < len(s) && s[i] >= '0' && s[i] <= '9' }
	if !digit(0) {
		return false
	}
	dots := 0
	for i := 0; i < len(s) && dots < 3; i++ {
		if s[i] == '.' && digit(i+1) {
			dots++
		}
	}
	return dots == 3
}

// checkName refuses names and classes that nothing can be run by.
func (p *parser) checkName(r Resource) bool {
	at := position{r.Line, r.Col}
	classes := []string{ClassLSB, ClassOCF, ClassSystemd}
	switch {
	case strings.HasSuffix(r.Spec, `\`):
		p.add(fault.Error, at, "a backslash continues a line only as its last character; arguments cannot contain blanks", "a backslash in the middle of a line: %s", quote(r.Spec))
	case r.Class == "" && r.Name == "ocf":
		p.add(fault.Error, at, "ocf:PROVIDER:TYPE::name=value, for instance ocf:heartbeat:Dummy", "not an OCF agent: %s", quote(r.Spec))
	case r.Class != "" && !slices.Contains(classes, r.Class):
		hint := "the classes are " + strings.Join(classes, ", ")
		if near := fault.Nearest(r.Class, classes); near != "" {
			hint = "did you mean " + near + ":" + r.Name + "?"
		}
		p.add(fault.Error, at, hint, "unknown class %s of resource %s; arguments follow a double colon", quote(r.Class), quote(r.Spec))
	case r.Name == "":
		p.add(fault.Error, at, "write SCRIPT or SCRIPT::ARGUMENT", "a resource without a name: %s", quote(r.Spec))
	case strings.ContainsAny(r.Name, "/") || r.Name == "." || r.Name == "..":
		p.add(fault.Error, at, "name the script only; it is looked for in resource.d, then in init.d", "a path where a script's name belongs: %s", quote(r.Spec))
	default:
		p.hintName(r)
		return true
	}
	return false
}

// hintName warns of a name that differs from a stock one in case only (`IPAddr`).
func (p *parser) hintName(r Resource) {
	if r.Class != ClassHeartbeat || slices.Contains(stockNames, r.Name) {
		return
	}
	for _, stock := range stockNames {
		if strings.EqualFold(stock, r.Name) {
			p.add(fault.Warning, position{r.Line, r.Col}, "did you mean "+stock+"?", "the case of script names matters: %s is not %s", quote(r.Name), stock)
			return
		}
	}
}

// arguments splits what follows the name at double colons. Linux-HA loses empty arguments; so do we, with a warning where
// that moves others.
func (p *parser) arguments(r *Resource, rest string) {
	at := position{r.Line, r.Col}
	if r.Class == ClassHeartbeat && slices.Contains(addressNames, r.Name) {
		head, _, _ := strings.Cut(rest, "/")
		if a, err := netip.ParseAddr(head); err == nil && a.Is6() {
			if strings.Contains(rest, "::") && !p.assembled {
				p.add(fault.Warning, at, "write the zeros out: "+longForm(a), "Linux-HA splits this IPv6 address at its double colon")
			}
			r.Args = []string{rest}
			return
		}
	}
	parts := strings.Split(rest, "::")
	for i, arg := range parts {
		switch {
		case arg != "" && r.Class == ClassOCF && len(r.Args) > 0 && !strings.Contains(arg, "="):
			r.Args[len(r.Args)-1] += "::" + arg // an IPv6 address as the value of a parameter
		case arg != "":
			r.Args = append(r.Args, arg)
		case strings.Trim(strings.Join(parts[i:], ""), ":") != "":
			p.add(fault.Warning, at, "remove one double colon, or give the argument", "an empty argument is dropped, as in Linux-HA: those after it move one place to the left")
		}
	}
}

// longForm writes an IPv6 address without a double colon, as Linux-HA needs it.
func longForm(a netip.Addr) string {
	b := a.As16()
	parts := make([]string, 8)
	for i := range parts {
		parts[i] = fmt.Sprintf("%x", int(b[2*i])<<8|int(b[2*i+1]))
	}
	return strings.Join(parts, ":")
}

// checkClass checks what the explicit classes need.
func (p *parser) checkClass(r Resource) bool {
	at := position{r.Line, r.Col}
	switch r.Class {
	case ClassLSB:
		if len(r.Args) > 0 {
			p.add(fault.Warning, at, "lsb:"+r.Name, "an init script takes no arguments")
		}
	case ClassSystemd:
		if len(r.Args) > 0 {
			p.add(fault.Error, at, "systemd:"+r.Name, "a systemd unit takes no arguments")
			return false
		}
	case ClassOCF:
		provider, kind, found := strings.Cut(r.Name, ":")
		if !found || provider == "" || kind == "" || strings.Contains(kind, ":") {
			p.add(fault.Error, at, "ocf:PROVIDER:TYPE::name=value, for instance ocf:heartbeat:Dummy", "not an OCF agent: %s", quote(r.Spec))
			return false
		}
		for _, arg := range r.Args {
			if name, _, found := strings.Cut(arg, "="); !found || name == "" {
				p.add(fault.Error, at, "name=value", "not a parameter of an OCF agent: %s", quote(arg))
				return false
			}
		}
	}
	return true
}

// checkTable looks for what only the whole file shows: duplicates, and node names where resources belong.
func (p *parser) checkTable() {
	keys, nodes, seen := map[string]int{}, map[string]bool{}, map[string]Resource{}
	for _, g := range p.table.Groups {
		nodes[g.Preferred] = true
	}
	for _, g := range p.table.Groups {
		first := g.Resources[0]
		if line, twice := keys[g.Name]; twice {
			p.add(fault.Error, position{first.Line, first.Col}, "join the two lines, or begin one of them with another resource",
				"the first resource of a line names its group and must be unique: %s is also first on line %d", quote(g.Name), line)
		} else {
			keys[g.Name] = g.Line
		}
		for i, r := range g.Resources {
			p.checkTwice(seen, r, i > 0 || p.assembled)
			if nodes[strings.ToLower(r.Spec)] && !p.assembled {
				p.add(fault.Error, position{r.Line, r.Col}, "remove the backslash before it, or begin a new line", "the node name %s among the resources: two lines have become one", quote(r.Spec))
			}
		}
	}
}

// checkTwice warns of a resource that two lines, or two places of one line, would both start and stop.
func (p *parser) checkTwice(seen map[string]Resource, r Resource, inside bool) {
	if slices.Contains(harmlessTwice, r.Name) {
		return
	}
	key := r.Class + ":" + r.Name + "\x00" + strings.Join(r.Args, "\x00")
	if slices.Contains(addressNames[:3], r.Name) && len(r.Args) > 0 {
		key, _, _ = strings.Cut(r.Args[0], "/") // one address however it is written
	}
	before, twice := seen[key]
	if !twice {
		seen[key] = r
		return
	}
	if !inside && before.Spec == r.Spec {
		return // reported as a duplicate group, or only the other one is inside a line
	}
	p.add(fault.Warning, position{r.Line, r.Col}, "keep one of them", "%s also stands at %d:%d: whichever stops first stops it for both", quote(r.Spec), before.Line, before.Col)
}
