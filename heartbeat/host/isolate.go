package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Isolated is a fresh network namespace in which something can be tried that must not happen on this machine. It has
// stand-ins for this machine's interfaces, of the same names and indexes, all down.
type Isolated struct {
	path string // of the namespace
	work chan func()
	done chan struct{}
}

// Isolate makes a namespace with a stand-in for each of devices. It needs the capability CAP_SYS_ADMIN.
func Isolate(devices []Device) (*Isolated, error) {
	i := &Isolated{work: make(chan func()), done: make(chan struct{})}
	ready := make(chan error)
	go i.serve(ready)
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	var err error
	i.Do(func() { err = standIn(devices) })
	if err != nil {
		i.Close()
		return nil, err
	}
	return i, nil
}

// serve runs what is to be done on one thread, which ends with the goroutine since it stays locked.
func (i *Isolated) serve(ready chan<- error) {
	defer close(i.done)
	runtime.LockOSThread()
	err := unix.Unshare(unix.CLONE_NEWNET)
	i.path = fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())
	ready <- err
	if err != nil {
		return
	}
	for f := range i.work {
		f()
	}
}

// Do calls f on the thread that is in the namespace, and waits for it.
func (i *Isolated) Do(f func()) {
	done := make(chan struct{})
	i.work <- func() { defer close(done); f() }
	<-done
}

// Run runs a program in the namespace.
func (i *Isolated) Run(ctx context.Context, p Program) error {
	enter, err := exec.LookPath("nsenter")
	if err != nil {
		return fmt.Errorf("enter a network namespace: %w", err)
	}
	p.Args = append([]string{"--net=" + i.path, p.Path}, p.Args...)
	p.Path = enter
	return p.Run(ctx)
}

// Close gives the namespace up.
func (i *Isolated) Close() {
	close(i.work)
	<-i.done
}

// Devices lists the interfaces of the namespace that n was opened in.
func (n *Netlink) Devices() (list []Device, err error) {
	request := deviceRequest(0)
	request.Flags |= unix.NLM_F_DUMP
	err = n.dump(request, func(body []byte) { list = append(list, parseDevice(body)) })
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	return list, nil
}

// standInKinds are kinds of interface that need no other one and no hardware; which of them there are depends on the kernel.
var standInKinds = []string{"dummy", "bridge", "ifb", "veth"}

// standIn makes an interface of the same name and index for each of devices, in the namespace of the calling thread.
func standIn(devices []Device) error {
	n, err := OpenNetlink()
	if err != nil {
		return err
	}
	defer n.Close()
	here, err := n.Devices()
	if err != nil {
		return err
	}
	for _, d := range devices {
		if slices.ContainsFunc(here, func(h Device) bool { return h.Name == d.Name }) {
			continue
		}
		if err := n.addStandIn(d); err != nil {
			return fmt.Errorf("make a stand-in for interface %s: %w", d.Name, err)
		}
	}
	return nil
}

// addStandIn tries one kind after the other, with and without the index: that may be taken by the other end of a veth.
func (n *Netlink) addStandIn(d Device) error {
	var errs []error
	for _, index := range []int{d.Index, 0} {
		for _, kind := range standInKinds {
			errs = n.transact([]*nl.NetlinkRequest{linkRequest(kind, d.Name, index)}, func(_ int, err error) error { return err })
			if errs == nil {
				return nil
			}
		}
	}
	return errors.Join(errs...)
}

// linkRequest encodes a message that makes a virtual interface.
func linkRequest(kind, name string, index int) *nl.NetlinkRequest {
	request := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	m := nl.NewIfInfomsg(unix.AF_UNSPEC)
	m.Index = int32(index)
	request.AddData(m)
	request.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated(kind))
	request.AddData(info)
	return request
}
