package host

import (
	"encoding/binary"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Numbers that the library does not have.
const (
	attributeType = 0x3fff // the part of an attribute's type that is its number
	policyDrop    = 0      // the verdict NF_DROP
)

// nftHeader is the kernel's struct nfgenmsg.
type nftHeader struct {
	family   uint8
	resource uint16
}

// Len is the size of the header.
func (h nftHeader) Len() int { return 4 }

// Serialize encodes the header.
func (h nftHeader) Serialize() []byte {
	return binary.BigEndian.AppendUint16([]byte{h.family, 0}, h.resource)
}

// nftFamilies are the kernel's numbers of the families that nft knows.
var nftFamilies = map[uint8]string{
	unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6", unix.NFPROTO_INET: "inet", unix.NFPROTO_ARP: "arp",
	unix.NFPROTO_BRIDGE: "bridge", unix.NFPROTO_NETDEV: "netdev",
}

// nftRequest begins a message; family "" is all of them.
func nftRequest(kind, flags int, family string) *nl.NetlinkRequest {
	m := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|kind, flags)
	m.AddData(nftHeader{family: nftFamily(family)})
	return m
}

// nftFamily is the number of a family, that of all of them for any other word.
func nftFamily(family string) uint8 {
	for number, name := range nftFamilies {
		if name == family {
			return number
		}
	}
	return unix.NFPROTO_UNSPEC
}

// nftAttributes decodes what follows the header.
func nftAttributes(body []byte) []syscall.NetlinkRouteAttr {
	if len(body) < 4 {
		return nil
	}
	attrs, err := nl.ParseRouteAttr(body[4:])
	if err != nil {
		return nil
	}
	return attrs
}

// nftTable reads the table of any message, whose name is in the given attribute.
func nftTable(body []byte, name uint16) (t Table) {
	attrs := nftAttributes(body)
	if len(attrs) == 0 {
		return t
	}
	t.Family = nftFamilies[body[0]]
	for _, a := range attrs {
		if a.Attr.Type&attributeType == name {
			t.Name = nl.BytesToString(a.Value)
		}
	}
	return t
}

// nftChain decodes a message about one chain.
func nftChain(body []byte) Chain {
	c := Chain{Table: nftTable(body, unix.NFTA_CHAIN_TABLE), Hook: HookNone}
	for _, a := range nftAttributes(body) {
		switch a.Attr.Type & attributeType {
		case unix.NFTA_CHAIN_NAME:
			c.Name = nl.BytesToString(a.Value)
		case unix.NFTA_CHAIN_TYPE:
			c.Type = nl.BytesToString(a.Value)
		case unix.NFTA_CHAIN_POLICY:
			c.Drop = len(a.Value) == 4 && binary.BigEndian.Uint32(a.Value) == policyDrop
		case unix.NFTA_CHAIN_HOOK:
			c.Hook = nftHook(a.Value)
		}
	}
	return c
}

// nftHook reads the number of the hook.
func nftHook(nested []byte) int {
	attrs, err := nl.ParseRouteAttr(nested)
	if err != nil {
		return HookNone
	}
	for _, a := range attrs {
		if a.Attr.Type&attributeType == unix.NFTA_HOOK_HOOKNUM && len(a.Value) == 4 {
			return int(binary.BigEndian.Uint32(a.Value))
		}
	}
	return HookNone
}

// nftRule decodes a message about one rule; chain is the key of its chain.
func nftRule(body []byte) (chain string, r Rule) {
	const commentType = 0 // in the user data of a rule
	t := nftTable(body, unix.NFTA_RULE_TABLE)
	var name string
	for _, a := range nftAttributes(body) {
		switch a.Attr.Type & attributeType {
		case unix.NFTA_RULE_CHAIN:
			name = nl.BytesToString(a.Value)
		case unix.NFTA_RULE_HANDLE:
			if len(a.Value) == 8 {
				r.Handle = binary.BigEndian.Uint64(a.Value)
			}
		case unix.NFTA_RULE_USERDATA:
			for data := a.Value; len(data) >= 2 && len(data) >= 2+int(data[1]); data = data[2+int(data[1]):] {
				if data[0] == commentType {
					r.Comment = strings.TrimRight(string(data[2:2+int(data[1])]), "\x00")
				}
			}
		}
	}
	return t.String() + " " + name, r
}
