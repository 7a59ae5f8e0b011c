package agent

import (
	"maps"
	"os"
	"path/filepath"
	"slices"

	"hapair/haresources"
	"hapair/heartbeat/fault"
)

// opener makes the agent of a resource of one kind. It does not touch the resource; its error says what is wrong with the
// arguments.
type opener func(Environment, haresources.Resource) (haresources.Agent, error)

// kinds are the resources, other than addresses, that need no script.
var kinds = map[string]opener{
	"Firewall":   openFirewall,
	"Route":      openRoute,
	"Rule":       openRule,
	"VirtualMAC": openVirtualMAC,
	"Filesystem": openFilesystem,
	"drbddisk":   openDRBD,
	"MailTo":     openMailTo,
	"portblock":  openPortblock,
	"NFSExport":  openNFSExport,
	"NFSServer":  openNFSServer,
	"Conntrack":  openConntrack,
	"IPsrcaddr":  openSrcaddr,
	"SendArp":    openSendArp,
	"Delay":      openDelay,
}

// ownKind finds what opens a resource without a script, nil where the site has a script of that name that is not the stock
// one, or there is nothing of that name.
func ownKind(p Paths, name string) opener {
	open := kinds[name]
	if open == nil {
		return nil
	}
	for _, dir := range []string{p.ResourceDir, p.InitDir} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err == nil && !stock(text) {
			return nil
		}
	}
	return open
}

// kindNames are the names of all kinds, for hints.
func kindNames() []string { return slices.Sorted(maps.Keys(kinds)) }

// kind checks a resource that needs no script.
func (c *checker) kind(open opener) {
	a, err := open(c.env, c.resource)
	if err != nil {
		c.add(fault.Error, "", "%v", err)
		return
	}
	if own, ok := a.(interface{ Check() fault.List }); ok {
		for _, f := range own.Check() {
			if f.File == "" {
				f.Message = c.resource.Spec + ": " + f.Message
			}
			c.faults = append(c.faults, f)
		}
	}
	if closer, ok := a.(interface{ Close() error }); ok {
		_ = closer.Close() // nothing was opened that could fail
	}
}
