package host

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// NFTChange is one command of a transaction, as the kernel takes it.
type NFTChange struct {
	kind  uint16 // unix.NFT_MSG_…
	flags uint16
	body  []byte // the header and everything behind it
}

// mostChanges bounds the bytes of a transaction that Commit takes.
const mostChanges = 4 << 20

// ErrNoCapture says that what nft has printed does not give its transaction away.
var ErrNoCapture = errors.New("the transaction cannot be read from the debugging output of nft")

// Parts of a line of that output.
var (
	debugType  = regexp.MustCompile(`^\| (\d{5}) \| [-RMAE]{4} \|`)
	debugAttr  = regexp.MustCompile(`^\|(\d{5})\|([-N])([-B])\|(\d{5})\|`)
	debugBytes = regexp.MustCompile(`^\| ([0-9a-f]{2}) ([0-9a-f]{2}) ([0-9a-f]{2}) ([0-9a-f]{2})  \|\s*\|\s*(data|extra header)`)
	debugColor = regexp.MustCompile("\x1b\\[[0-9;]*m")
)

// ReadNFTDebug reads the commands of a transaction from what `nft --debug=mnl` prints (the format of libmnl). The kernel's
// flags for creating are not in there: every rule that atHead does not claim is taken to be appended. Whoever uses the
// result must have tried it, and compared. The error is ErrNoCapture.
func ReadNFTDebug(r io.Reader, atHead func(Rule) bool) ([]NFTChange, error) {
	var list []NFTChange
	var current *debugMessage
	finish := func() error {
		if current == nil {
			return nil
		}
		change, ours, err := current.change(atHead)
		if ours {
			list = append(list, change)
		}
		current = nil
		return err
	}
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		line := debugColor.ReplaceAllString(scanner.Text(), "")
		switch {
		case strings.HasPrefix(line, "|  ") && strings.Contains(line, "| message length |"):
			if err := finish(); err != nil {
				return nil, err
			}
			current = &debugMessage{}
			current.length, _ = strconv.Atoi(strings.Fields(line)[1])
		case current != nil:
			current.add(line)
		}
	}
	if err := errors.Join(finish(), scanner.Err()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoCapture, err)
	}
	if len(list) == 0 {
		return nil, ErrNoCapture
	}
	return list, nil
}

// debugMessage is one message as it is read.
type debugMessage struct {
	length int
	kind   int
	body   []byte
}

// add takes one line.
func (d *debugMessage) add(line string) {
	if m := debugType.FindStringSubmatch(line); m != nil && len(d.body) == 0 {
		d.kind, _ = strconv.Atoi(m[1])
	} else if m := debugAttr.FindStringSubmatch(line); m != nil {
		length, _ := strconv.Atoi(m[1])
		number, _ := strconv.Atoi(m[4])
		if m[2] == "N" {
			number |= unix.NLA_F_NESTED
		}
		if m[3] == "B" {
			number |= unix.NLA_F_NET_BYTEORDER
		}
		d.body = binary.NativeEndian.AppendUint16(d.body, uint16(length))
		d.body = binary.NativeEndian.AppendUint16(d.body, uint16(number))
	} else if m := debugBytes.FindStringSubmatch(line); m != nil {
		for _, hex := range m[1:5] {
			b, _ := strconv.ParseUint(hex, 16, 8)
			d.body = append(d.body, byte(b))
		}
	}
}

// createFlags are the commands that a transaction consists of, and the flags that go with them.
var createFlags = map[int]uint16{
	unix.NFT_MSG_NEWTABLE: unix.NLM_F_CREATE, unix.NFT_MSG_NEWCHAIN: unix.NLM_F_CREATE, unix.NFT_MSG_NEWSET: unix.NLM_F_CREATE,
	unix.NFT_MSG_NEWSETELEM: unix.NLM_F_CREATE, unix.NFT_MSG_NEWOBJ: unix.NLM_F_CREATE, unix.NFT_MSG_NEWFLOWTABLE: unix.NLM_F_CREATE,
	unix.NFT_MSG_NEWRULE: unix.NLM_F_CREATE | unix.NLM_F_APPEND, unix.NFT_MSG_DELTABLE: 0, unix.NFT_MSG_DELCHAIN: 0,
	unix.NFT_MSG_DELRULE: 0, unix.NFT_MSG_DELSET: 0, unix.NFT_MSG_DELSETELEM: 0, unix.NFT_MSG_DELOBJ: 0, unix.NFT_MSG_DELFLOWTABLE: 0,
}

// change is the message as a command; ours says whether it is one at all.
func (d *debugMessage) change(atHead func(Rule) bool) (c NFTChange, ours bool, err error) {
	kind := d.kind & 0xff
	flags, known := createFlags[kind]
	if d.kind>>8 != unix.NFNL_SUBSYS_NFTABLES || !known {
		return c, false, nil
	}
	if len(d.body) != d.length-unix.SizeofNlMsghdr || len(d.body) < 4 {
		return c, false, fmt.Errorf("%w: %d bytes of a message of %d", ErrNoCapture, len(d.body), d.length-unix.SizeofNlMsghdr)
	}
	if kind == unix.NFT_MSG_NEWRULE {
		if _, rule := nftRule(d.body); atHead(rule) {
			flags = unix.NLM_F_CREATE
		}
	}
	return NFTChange{kind: uint16(kind), flags: flags, body: d.body}, true, nil
}

// RemoveTable are the commands that remove a table whether it is there or not.
func RemoveTable(t Table) []NFTChange {
	return []NFTChange{tableChange(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, t), tableChange(unix.NFT_MSG_DELTABLE, 0, t)}
}

// MakeMark are the commands of MarkTable.
func MakeMark(t Table, chains ...string) []NFTChange {
	list := RemoveTable(t)
	if len(chains) > 0 {
		list = append(list, tableChange(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, t))
	}
	for _, chain := range chains {
		list = append(list, tableChange(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, t, nl.NewRtAttr(unix.NFTA_CHAIN_NAME, nl.ZeroTerminated(chain))))
	}
	return list
}

// tableChange is a command about a table, or a chain of it.
func tableChange(kind, flags uint16, t Table, more ...*nl.RtAttr) NFTChange {
	header := nftHeader{family: nftFamily(t.Family)}
	c := NFTChange{kind: kind, flags: flags, body: header.Serialize()}
	c.body = append(c.body, nl.NewRtAttr(unix.NFTA_TABLE_NAME, nl.ZeroTerminated(t.Name)).Serialize()...)
	for _, a := range more {
		c.body = append(c.body, a.Serialize()...)
	}
	return c
}

// Commit carries out commands as one transaction: all of them or, with an error, none.
func (n *NFT) Commit(list []NFTChange) error {
	if len(list) == 0 {
		return nil
	}
	n.netlink.mu.Lock()
	defer n.netlink.mu.Unlock()
	edge := nftHeader{resource: unix.NFNL_SUBSYS_NFTABLES}
	begin := nl.NewNetlinkRequest(0, 0).Seq
	data := appendMessage(nil, unix.NFNL_MSG_BATCH_BEGIN, unix.NLM_F_REQUEST, begin, edge.Serialize())
	var last uint32
	for i, c := range list {
		flags := c.flags | unix.NLM_F_REQUEST
		if i == len(list)-1 {
			flags |= unix.NLM_F_ACK // errors are told anyway
		}
		last = begin + uint32(i) + 1
		data = appendMessage(data, unix.NFNL_SUBSYS_NFTABLES<<8|c.kind, flags, last, c.body)
	}
	data = appendMessage(data, unix.NFNL_MSG_BATCH_END, unix.NLM_F_REQUEST, last+1, edge.Serialize())
	if len(data) > mostChanges {
		return fmt.Errorf("change nftables rules: a transaction of %d bytes is too large", len(data))
	}
	_ = unix.SetsockoptInt(n.netlink.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 2*mostChanges)
	if err := n.netlink.send(data); err != nil {
		return fmt.Errorf("change nftables rules: %w", err)
	}
	if err := n.committed(begin, last); err != nil {
		return fmt.Errorf("change nftables rules: %w", err)
	}
	return nil
}

// committed waits for the outcome of a transaction with messages of these numbers.
func (n *NFT) committed(begin, last uint32) error {
	var first error
	for done := false; !done; {
		err := n.netlink.receive(func(h unix.NlMsghdr, body []byte) error {
			if h.Type != unix.NLMSG_ERROR || h.Seq < begin || h.Seq > last {
				return nil
			}
			if err := answer(h, body); err != nil && first == nil {
				first = err
			}
			done = done || h.Seq == last
			return nil
		})
		if err != nil {
			return errors.Join(first, err)
		}
		done = done || first != nil && !n.netlink.more()
	}
	return first
}

// appendMessage encodes a message behind others.
func appendMessage(data []byte, kind, flags uint16, seq uint32, body []byte) []byte {
	order := nl.NativeEndian()
	head := make([]byte, unix.SizeofNlMsghdr)
	order.PutUint32(head, uint32(len(head)+len(body)))
	order.PutUint16(head[4:], kind)
	order.PutUint16(head[6:], flags)
	order.PutUint32(head[8:], seq)
	data = append(append(data, head...), body...)
	for len(data)%unix.NLMSG_ALIGNTO != 0 {
		data = append(data, 0)
	}
	return data
}
