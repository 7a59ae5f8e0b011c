package heartbeat

import (
	"errors"
	"fmt"
)

// request answers a person or a script.
func (n *Node) request(ev Request) {
	err := n.refuse(ev)
	if err == nil {
		switch ev.Kind {
		case RequestStandby:
			err = n.standby(ev)
		case RequestTakeover:
			err = n.takeover(ev)
		case RequestStop:
			n.beginStop(ev, false)
		case RequestQuit:
			n.beginStop(ev, true)
		case RequestCleanup:
			err = n.cleanup(ev)
		case RequestFenced:
			err = n.fencedByHand(ev)
		case RequestConfirmDead:
			err = n.confirmDead(ev)
		case RequestPause:
			err = n.requestPause(ev)
		default:
			err = fmt.Errorf("unknown request %d", ev.Kind)
		}
	}
	n.do(Reply{ID: ev.ID, Err: err})
}

// refuse says why a request cannot be carried out now.
func (n *Node) refuse(ev Request) error {
	if ev.Kind != RequestStandby && ev.Kind != RequestTakeover {
		return nil
	}
	p := &n.peer
	switch {
	case !n.cfg.Managed:
		return errors.New("this node does not manage resources (started with -M)")
	case n.stop.asked:
		return errors.New("this node is stopping")
	case n.member != memberActive:
		return fmt.Errorf("this node is still starting (%s): wait until `heartbeat status` says active or standby", n.member)
	case p.name == "":
		return errors.New("there is no peer in the configuration")
	case p.life != lifeAlive:
		return fmt.Errorf("%s is not there (%s): nobody could take over or give", p.name, n.peerState())
	case p.kind == kindOurs && (!p.proven || !p.current || !p.hello.active):
		return fmt.Errorf("%s is not ready: Other side is in flux, try again in a moment", p.name)
	}
	return nil
}

// selected lists the groups that a request speaks of. mine says from whose side local and foreign are meant.
func (n *Node) selected(ev Request) ([]*group, error) {
	var list []*group
	for _, g := range n.groups {
		local := g.Preferred == n.cfg.Node
		switch {
		case ev.Group != "":
			if g.Name == ev.Group {
				list = append(list, g)
			}
		case ev.Which == "all", ev.Which == "":
			list = append(list, g)
		case ev.Which == "local":
			if local {
				list = append(list, g)
			}
		case ev.Which == "foreign", ev.Which == "failback" && ev.Kind == RequestStandby:
			if !local {
				list = append(list, g)
			}
		case ev.Which == "failback":
			if local {
				list = append(list, g)
			}
		default:
			return nil, fmt.Errorf("wrong resources %q: all, local, foreign or failback", ev.Which)
		}
	}
	if len(list) == 0 && ev.Group != "" {
		return nil, fmt.Errorf("no resource group %q in haresources", ev.Group)
	}
	return list, nil
}

// standby offers groups to the peer.
func (n *Node) standby(ev Request) error {
	list, err := n.selected(ev)
	if err != nil {
		return err
	}
	if n.peer.kind == kindClassic {
		return n.classicStandby(ev)
	}
	for _, g := range list {
		if g.hold.owns() && g.peerWish == wishUnable && g.peerHold == holdIdle {
			return fmt.Errorf("%s cannot run %s now (it failed there, or that node is not fit for it): see `heartbeat status` on %s, then `heartbeat resource cleanup` there",
				n.peer.name, g.Name, n.peer.name)
		}
	}
	n.report(Info, "%s wants to go standby [%s]", n.cfg.Node, requested(ev))
	for _, g := range list {
		if !g.hold.owns() {
			continue
		}
		g.reason = "standby asked for by " + ev.By
		g.giveBy = n.now.Mono + offerPatience
		n.wishFor(g, wishOffer)
	}
	return nil
}

// takeover asks the peer for groups.
func (n *Node) takeover(ev Request) error {
	list, err := n.selected(ev)
	if err != nil {
		return err
	}
	if n.peer.kind == kindClassic {
		return n.classicTakeover(ev)
	}
	for _, g := range list {
		if g.failed && !g.hold.owns() {
			return fmt.Errorf("%s failed here (%s): run `heartbeat resource cleanup '%s'` first", g.Name, g.failReason, g.Name)
		}
	}
	n.report(Info, "%s wants to take over [%s]", n.cfg.Node, requested(ev))
	for _, g := range list {
		if g.hold == holdIdle {
			g.asked, g.askedUntil = true, n.now.Mono+offerPatience
			if g.wish == wishOffer {
				n.wishFor(g, wishNone)
			}
		}
	}
	return nil
}

func requested(ev Request) string {
	if ev.Group != "" {
		return ev.Group
	}
	if ev.Which == "" {
		return "all"
	}
	return ev.Which
}

// cleanup forgets failures, and stops again what was stuck.
func (n *Node) cleanup(ev Request) error {
	list, err := n.selected(ev)
	if err != nil {
		return err
	}
	for _, g := range list {
		g.failed, g.failures = false, 0
		if g.hold == holdStuck && g.op == 0 {
			n.release(g, "cleanup asked for by "+ev.By)
		}
		n.changed()
	}
	return nil
}
