package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// renewPatience is how long a renewal may be on its way: beyond it the relative time-out that it carries is wrong by too much.
const renewPatience = 2 * time.Millisecond

// renew replaces the elements in one transaction. Should it have been held up on its way, so that it armed for too long, it is done again
// with what is left by then.
func (n *nftLease) renew(group string, until time.Duration) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return os.ErrClosed
	}
	if _, known := n.ends[group]; !known {
		return ErrNoLease
	}
	n.ends[group] = until
	var err error
	for range 3 {
		began := readClock(unix.CLOCK_BOOTTIME)
		err = n.nft.commit(n.elementBatch(group))
		late := readClock(unix.CLOCK_BOOTTIME) - began
		if err == nil && late < renewPatience {
			return nil
		}
	}
	if errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("the lease's table is gone (nft flush ruleset?): %w", err)
	}
	return err
}

// elementBatch adds the elements, which does nothing where they are, so that they can be deleted, which must not fail; and adds them
// afresh, since kernels before 6.12 do not refresh a time-out.
func (n *nftLease) elementBatch(group string) []*nl.NetlinkRequest {
	add := func(timeout int64) *nl.NetlinkRequest {
		return elementRequest(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, group, timeout)
	}
	batch := []*nl.NetlinkRequest{add(1000), elementRequest(unix.NFT_MSG_DELSETELEM, 0, group, 0)}
	if left := n.left(group); left > 0 {
		batch = append(batch, add(left))
	}
	return batch
}

// elementRequest encodes a change to a group's elements; timeout is in milliseconds.
func elementRequest(kind, flags int, group string, timeout int64) *nl.NetlinkRequest {
	m := nftRequest(kind, flags, leaseTable.Family)
	m.AddData(nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_TABLE, nl.ZeroTerminated(leaseTable.Name)))
	m.AddData(nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_SET, nl.ZeroTerminated("live_"+word(group))))
	list := nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_ELEMENTS|unix.NLA_F_NESTED, nil)
	for _, kind := range leaseKinds {
		element := list.AddRtAttr(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, nil)
		key := element.AddRtAttr(unix.NFTA_SET_ELEM_KEY|unix.NLA_F_NESTED, nil)
		key.AddRtAttr(unix.NFTA_DATA_VALUE, binary.BigEndian.AppendUint16(nil, kind))
		if timeout > 0 {
			element.AddRtAttr(unix.NFTA_SET_ELEM_TIMEOUT, binary.BigEndian.AppendUint64(nil, uint64(timeout)))
		}
	}
	m.AddData(list)
	return m
}

// inForce reads from the kernel until when a group's lease lasts, that an earlier process renewed; 0 when it has ended.
func (n *nftLease) inForce(group string) (until time.Duration, err error) {
	m := nftRequest(unix.NFT_MSG_GETSETELEM, unix.NLM_F_DUMP, leaseTable.Family)
	m.AddData(nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_TABLE, nl.ZeroTerminated(leaseTable.Name)))
	m.AddData(nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_SET, nl.ZeroTerminated("live_"+word(group))))
	err = n.nft.netlink.dump(m, func(body []byte) {
		for _, list := range nftAttributes(body) {
			if list.Attr.Type&attributeType != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
				continue
			}
			elements, _ := nl.ParseRouteAttr(list.Value)
			for _, e := range elements {
				until = max(until, expiration(e.Value))
			}
		}
	})
	if errors.Is(err, unix.ENOENT) {
		return 0, ErrNoLease
	}
	return until, err
}

// expiration is when an element's time is over.
func expiration(element []byte) time.Duration {
	attributes, _ := nl.ParseRouteAttr(element)
	for _, a := range attributes {
		if a.Attr.Type&attributeType == unix.NFTA_SET_ELEM_EXPIRATION && len(a.Value) == 8 {
			return readClock(unix.CLOCK_BOOTTIME) + time.Duration(binary.BigEndian.Uint64(a.Value))*time.Millisecond
		}
	}
	return 0
}
