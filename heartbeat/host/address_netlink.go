package host

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Netlink asks the kernel about addresses, interfaces and routes of one network namespace, and changes addresses there:
// many at once, with one socket. Safe for concurrent use.
type Netlink struct {
	mu     sync.Mutex
	fd     int
	buf    []byte
	closed bool
}

// batchSize is how many changes go to the kernel in one message: few enough that its answers fit into the receive buffer.
const batchSize = 64

// receiveTimeout bounds the wait for the kernel's answer, which comes at once unless something is badly wrong.
var receiveTimeout = unix.Timeval{Sec: 5}

// OpenNetlink opens a socket in the network namespace of the calling thread.
func OpenNetlink() (*Netlink, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	n := &Netlink{fd: fd, buf: make([]byte, 32<<10)}
	if err := errors.Join(
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &receiveTimeout),
	); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	// Older kernels have none of these; they only make answers shorter, errors clearer and listings quicker.
	for _, option := range []int{unix.NETLINK_CAP_ACK, unix.NETLINK_EXT_ACK, unix.NETLINK_GET_STRICT_CHK} {
		_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, option, 1)
	}
	return n, nil
}

// Close releases the socket; what was added stays.
func (n *Netlink) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil
	}
	n.closed = true
	return unix.Close(n.fd)
}

// transact sends changes in batches and collects their errors, each passed through explain. Later ones are carried out
// although an earlier one failed.
func (n *Netlink) transact(requests []*nl.NetlinkRequest, explain func(int, error) error) []error {
	var errs []error
	fail := func(i int, err error) {
		if err = explain(i, err); err == nil {
			return
		}
		if errs == nil {
			errs = make([]error, len(requests))
		}
		errs[i] = err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for begin := 0; begin < len(requests); begin += batchSize {
		end := min(begin+batchSize, len(requests))
		if err := n.batch(requests[begin:end], func(i int, err error) { fail(begin+i, err) }); err != nil {
			for i := begin; i < len(requests); i++ {
				fail(i, err)
			}
			break
		}
	}
	return errs
}

// batch sends requests in one message and waits for the answer to the last one. Only errors and that one are answered.
func (n *Netlink) batch(requests []*nl.NetlinkRequest, fail func(int, error)) error {
	index := make(map[uint32]int, len(requests))
	var data []byte
	for i, r := range requests {
		r.Flags |= unix.NLM_F_REQUEST
		if i == len(requests)-1 {
			r.Flags |= unix.NLM_F_ACK
		}
		index[r.Seq] = i
		data = append(data, r.Serialize()...)
	}
	if err := n.send(data); err != nil {
		return err
	}
	last := requests[len(requests)-1].Seq
	for {
		done := false
		err := n.receive(func(h unix.NlMsghdr, body []byte) error {
			i, ours := index[h.Seq]
			if h.Type != unix.NLMSG_ERROR || !ours {
				return nil
			}
			done = done || h.Seq == last
			if err := answer(h, body); err != nil {
				fail(i, err)
			}
			return nil
		})
		if err != nil || done {
			return err
		}
	}
}

// dump sends a question with many answers and hands the body of each to each.
func (n *Netlink) dump(request *nl.NetlinkRequest, each func(body []byte)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	request.Flags |= unix.NLM_F_REQUEST
	if err := n.send(request.Serialize()); err != nil {
		return err
	}
	for done := false; !done; {
		err := n.receive(func(h unix.NlMsghdr, body []byte) error {
			switch {
			case h.Seq != request.Seq:
			case h.Type == unix.NLMSG_DONE:
				done = true
			case h.Type == unix.NLMSG_ERROR:
				done = true
				return answer(h, body)
			default:
				each(body)
				done = request.Flags&unix.NLM_F_DUMP != unix.NLM_F_DUMP
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// send hands data to the kernel.
func (n *Netlink) send(data []byte) error {
	if n.closed {
		return os.ErrClosed
	}
	for {
		err := unix.Sendto(n.fd, data, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// receive reads once and walks the messages.
func (n *Netlink) receive(each func(unix.NlMsghdr, []byte) error) error {
	size, _, err := unix.Recvfrom(n.fd, n.buf, 0)
	switch {
	case errors.Is(err, unix.EINTR):
		return nil
	case errors.Is(err, unix.EAGAIN):
		return errors.New("no answer from the kernel within 5s")
	case err != nil:
		return err
	}
	return walk(n.buf[:size], each)
}

// walk cuts what was read from a netlink socket into messages.
func walk(data []byte, each func(unix.NlMsghdr, []byte) error) error {
	for len(data) >= unix.SizeofNlMsghdr {
		order := nl.NativeEndian()
		h := unix.NlMsghdr{Len: order.Uint32(data), Type: order.Uint16(data[4:]), Flags: order.Uint16(data[6:]), Seq: order.Uint32(data[8:])}
		if h.Len < unix.SizeofNlMsghdr || int(h.Len) > len(data) {
			return errors.New("malformed netlink message")
		}
		if err := each(h, data[unix.SizeofNlMsghdr:h.Len]); err != nil {
			return err
		}
		data = data[min((int(h.Len)+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1), len(data)):]
	}
	return nil
}

// attributes walks the attributes of a message, without copying them; it ends at the first one that makes no sense.
func attributes(data []byte, each func(kind uint16, value []byte)) {
	for len(data) >= unix.SizeofRtAttr {
		length := int(nl.NativeEndian().Uint16(data))
		if length < unix.SizeofRtAttr || length > len(data) {
			return
		}
		each(nl.NativeEndian().Uint16(data[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), data[unix.SizeofRtAttr:length])
		data = data[min((length+unix.RTA_ALIGNTO-1)&^(unix.RTA_ALIGNTO-1), len(data)):]
	}
}

// answer is the error in an acknowledgement, with the kernel's words where it has some.
func answer(h unix.NlMsghdr, body []byte) error {
	if len(body) < 4+unix.SizeofNlMsghdr {
		return errors.New("malformed netlink acknowledgement")
	}
	code := int32(nl.NativeEndian().Uint32(body))
	if code == 0 {
		return nil
	}
	err := error(unix.Errno(-code))
	if h.Flags&unix.NLM_F_ACK_TLVS == 0 {
		return err
	}
	rest := body[4+unix.SizeofNlMsghdr:]
	if h.Flags&unix.NLM_F_CAPPED == 0 { // the request is echoed whole
		request := int(nl.NativeEndian().Uint32(body[4:])) - unix.SizeofNlMsghdr
		rest = rest[min(max(request, 0), len(rest)):]
	}
	attributes(rest, func(kind uint16, value []byte) {
		if kind == unix.NLMSGERR_ATTR_MSG {
			err = fmt.Errorf("%w: %s", err, nl.BytesToString(value))
		}
	})
	return err
}
