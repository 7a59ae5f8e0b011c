package host

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// NFT reads the nftables rules of one network namespace and changes small things in them, without the program nft: that
// needs tens of milliseconds. Whole rulesets are loaded by the program. Safe for concurrent use.
type NFT struct{ netlink *Netlink }

// Chain hooks of the IP families, as in Chain.Hook.
const (
	HookPrerouting  = unix.NF_INET_PRE_ROUTING
	HookInput       = unix.NF_INET_LOCAL_IN
	HookForward     = unix.NF_INET_FORWARD
	HookOutput      = unix.NF_INET_LOCAL_OUT
	HookPostrouting = unix.NF_INET_POST_ROUTING
	HookNone        = -1 // not a base chain
)

// Table names one table.
type Table struct {
	Family string // ip, ip6, inet, arp, bridge, netdev
	Name   string
}

// String is the table as nft writes it.
func (t Table) String() string { return t.Family + " " + t.Name }

// Chain is one chain, with its rules in order.
type Chain struct {
	Table Table
	Name  string
	Hook  int    // HookNone for a chain that is only jumped to
	Type  string // filter, nat, route; "" without a hook
	Drop  bool   // the policy
	Rules []Rule
}

// Rule is what is known of one rule.
type Rule struct {
	Handle  uint64 // unique in its table; a rule that is put in again has another one
	Comment string
}

// Ruleset is all tables and chains of a namespace at one instant.
type Ruleset struct {
	Generation uint32 // changes with every change to the rules of the namespace
	Tables     []Table
	Chains     []Chain
}

// Chain finds a chain.
func (r Ruleset) Chain(t Table, name string) (Chain, bool) {
	for _, c := range r.Chains {
		if c.Table == t && c.Name == name {
			return c, true
		}
	}
	return Chain{}, false
}

// OpenNFT opens a socket in the network namespace of the calling thread.
func OpenNFT() (*NFT, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	if err := errors.Join(
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &receiveTimeout),
	); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	return &NFT{&Netlink{fd: fd, buf: make([]byte, 64<<10)}}, nil
}

// Close releases the socket; the rules stay.
func (n *NFT) Close() error { return n.netlink.Close() }

// Generation is a number that changes with every change to any rule of the namespace.
func (n *NFT) Generation() (id uint32, err error) {
	err = n.netlink.dump(nftRequest(unix.NFT_MSG_GETGEN, 0, ""), func(body []byte) {
		for _, a := range nftAttributes(body) {
			if a.Attr.Type&attributeType == unix.NFTA_GEN_ID && len(a.Value) == 4 {
				id = binary.BigEndian.Uint32(a.Value)
			}
		}
	})
	if err != nil {
		return 0, fmt.Errorf("read nftables generation: %w", err)
	}
	return id, nil
}

// List reads every table, chain and rule, all as of one generation.
func (n *NFT) List() (Ruleset, error) {
	for range 20 {
		r, err := n.list()
		if err != nil && !errors.Is(err, unix.EINTR) {
			return r, fmt.Errorf("list nftables: %w", err)
		}
		after, genErr := n.Generation()
		if genErr != nil {
			return r, genErr
		}
		if err == nil && after == r.Generation {
			return r, nil
		}
	}
	return Ruleset{}, errors.New("list nftables: the rules change too often to be read")
}

// list reads everything once; what changes meanwhile may be missing.
func (n *NFT) list() (r Ruleset, err error) {
	if r.Generation, err = n.Generation(); err != nil {
		return r, err
	}
	err = n.netlink.dump(nftRequest(unix.NFT_MSG_GETTABLE, unix.NLM_F_DUMP, ""), func(body []byte) {
		if t := nftTable(body, unix.NFTA_TABLE_NAME); t.Name != "" {
			r.Tables = append(r.Tables, t)
		}
	})
	if err != nil {
		return r, err
	}
	index := map[string]int{}
	err = n.netlink.dump(nftRequest(unix.NFT_MSG_GETCHAIN, unix.NLM_F_DUMP, ""), func(body []byte) {
		c := nftChain(body)
		index[c.Table.String()+" "+c.Name] = len(r.Chains)
		r.Chains = append(r.Chains, c)
	})
	if err != nil {
		return r, err
	}
	err = n.netlink.dump(nftRequest(unix.NFT_MSG_GETRULE, unix.NLM_F_DUMP, ""), func(body []byte) {
		key, rule := nftRule(body)
		if i, found := index[key]; found {
			r.Chains[i].Rules = append(r.Chains[i].Rules, rule)
		}
	})
	return r, err
}

// MarkTable makes a table that holds nothing but chains of the given names, none of them with a hook: a note that lives and
// dies with the rules. What the table held before is gone; without chains the table is removed. All this is one transaction.
func (n *NFT) MarkTable(t Table, chains ...string) error {
	if err := n.Commit(MakeMark(t, chains...)); err != nil {
		return fmt.Errorf("write nftables table %v: %w", t, err)
	}
	return nil
}

// commit carries out a batch as one transaction.
func (n *NFT) commit(batch []*nl.NetlinkRequest) error {
	n.netlink.mu.Lock()
	defer n.netlink.mu.Unlock()
	edge := func(kind int) *nl.NetlinkRequest {
		m := nl.NewNetlinkRequest(kind, 0)
		m.AddData(nftHeader{resource: unix.NFNL_SUBSYS_NFTABLES})
		return m
	}
	var data []byte
	ours := map[uint32]bool{}
	for _, m := range append(append([]*nl.NetlinkRequest{edge(unix.NFNL_MSG_BATCH_BEGIN)}, batch...), edge(unix.NFNL_MSG_BATCH_END)) {
		m.Flags |= unix.NLM_F_REQUEST
		if m.Type != unix.NFNL_MSG_BATCH_BEGIN && m.Type != unix.NFNL_MSG_BATCH_END {
			m.Flags |= unix.NLM_F_ACK
		}
		ours[m.Seq] = true
		data = append(data, m.Serialize()...)
	}
	if err := n.netlink.send(data); err != nil {
		return err
	}
	var first error
	for answers := 0; answers < len(batch); {
		err := n.netlink.receive(func(h unix.NlMsghdr, body []byte) error {
			if h.Type == unix.NLMSG_ERROR && ours[h.Seq] {
				answers++
				if err := answer(h, body); err != nil && first == nil {
					first = err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if first != nil && answers < len(batch) && !n.netlink.more() {
			break
		}
	}
	return first
}

// more says whether something is there to be read.
func (n *Netlink) more() bool {
	poll := []unix.PollFd{{Fd: int32(n.fd), Events: unix.POLLIN}}
	ready, err := unix.Poll(poll, 0)
	return err == nil && ready > 0
}
