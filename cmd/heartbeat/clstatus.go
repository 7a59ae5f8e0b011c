package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"hapair/heartbeat/daemon"
)

// Exit codes of cl_status (protocol section 11.5).
const (
	clNo        = 1
	clBadWord   = 11
	clTimeout   = 12
	clUnknown   = 13
	clPatience  = 5 * time.Second
	nodeWeight  = 100
	clConnect   = "Cannot signon with heartbeat"
	clReason    = "REASON: hb_api_signon: Can't initiate connection to heartbeat"
	clWrongNode = "Error. May be due to incorrect node name"
	clTooFew    = "Not enough parameters."
)

// clHelp is what `cl_status -h` prints.
const clHelp = `cl_status: check the status of the High-Availability Linux subsystem

Usage: cl_status SUB-COMMAND [OPTIONS] [PARAMETERS]

  -m  answer in words   -v  say more

  hbstatus                        is heartbeat running on this machine?
  listnodes [-p|-n]               the nodes: ping nodes only, normal nodes only
  nodestatus NODE                 active, up, init, dead or ping
  nodetype NODE                   normal or ping
  nodeweight NODE                 its weight
  nodesite NODE                   its site
  listhblinks NODE                its heartbeat links
  hblinkstatus NODE LINK          up or dead
  clientstatus NODE CLIENT [MS]   online or offline
  rscstatus                       none, local, foreign, all or transition
  hbparameter -p NAME             the value of a directive of ha.cf
`

// clQuery is one invocation of cl_status.
type clQuery struct {
	*app
	options
	ctx    context.Context
	status *daemon.Status
}

// clCommand is one of its sub-commands.
type clCommand struct {
	spec string // getopt's
	run  func(*clQuery) int
}

// clCommands are all but hbstatus, which works without a daemon.
var clCommands = map[string]clCommand{
	"listnodes":    {"mvpn", (*clQuery).listNodes},
	"nodestatus":   {"mv", (*clQuery).nodeStatus},
	"nodetype":     {"mv", (*clQuery).nodeType},
	"nodeweight":   {"mv", (*clQuery).nodeWeight},
	"nodesite":     {"mv", (*clQuery).nodeSite},
	"listhblinks":  {"mv", (*clQuery).listLinks},
	"hblinkstatus": {"mv", (*clQuery).linkStatus},
	"clientstatus": {"mv", (*clQuery).clientStatus},
	"rscstatus":    {"mv", (*clQuery).rscStatus},
	"hbparameter":  {"mvp:", (*clQuery).parameter},
}

// clStatus is the classic cl_status.
func (a *app) clStatus(args []string) int {
	if len(args) == 0 || args[0] == "-h" || args[0] == "--help" {
		fmt.Fprint(a.out, clHelp)
		return exitOK
	}
	name, rest := args[0], args[1:]
	ctx, cancel := context.WithTimeout(context.Background(), clPatience)
	defer cancel()
	q := &clQuery{app: a, ctx: ctx}
	command, known := clCommands[name]
	if name == "hbstatus" {
		command, known = clCommand{"mv", (*clQuery).hbStatus}, true
	}
	if !known {
		fmt.Fprintf(a.err, "%s: invalid sub-command.\n", name)
		return clBadWord
	}
	var err error
	if q.options, err = getopt(command.spec, rest); err != nil {
		fmt.Fprintf(a.err, "cl_status: %v\n", err)
		return clBadWord
	}
	q.status, err = daemon.FetchStatus(ctx, a.dirs.paths())
	if ctx.Err() != nil {
		return clTimeout
	}
	if err != nil && name != "hbstatus" {
		a.clError(clConnect)
		a.clError(clReason)
		return clNo
	}
	code := command.run(q)
	if ctx.Err() != nil {
		return clTimeout
	}
	return code
}

// clError is a line of the classic library's log on standard error.
func (a *app) clError(text string) {
	fmt.Fprintf(a.err, "cl_status: [%d]: ERROR: %s\n", os.Getpid(), text)
}

// say prints words with -m, and else the bare answer.
func (q *clQuery) say(bare, words string) {
	if q.has('m') {
		bare = words
	}
	fmt.Fprintln(q.out, bare)
}

func (q *clQuery) hbStatus() int {
	_, state := daemon.Running(q.dirs.paths())
	switch {
	case q.status == nil && state == daemon.PidRunning:
		fmt.Fprintln(q.out, "Heartbeat is apparently running on this machine, but refuses my connection")
		return exitOK
	case q.status == nil:
		fmt.Fprintln(q.out, "Heartbeat is stopped on this machine.")
		return clNo
	}
	fmt.Fprintln(q.out, "Heartbeat is running on this machine.")
	if q.has('v') && q.has('m') {
		fmt.Fprintf(q.out, "Heartbeat version %s\nResources controlled by \"haresources\"\n", daemon.ClassicVersion)
	} else if q.has('v') {
		fmt.Fprintf(q.out, "version:\t%s\nmanaged by:\t\"haresources\"\n", daemon.ClassicVersion)
	}
	return exitOK
}

// clNode is one node as cl_status sees it.
type clNode struct{ name, kind, status string }

// nodes are both nodes and the ping nodes, in that order.
func (q *clQuery) nodes() []clNode {
	s := q.status
	list := []clNode{{s.Node, "normal", s.Member}}
	if s.Peer.Name != "" {
		state := s.Peer.State
		switch state {
		case "unknown":
			state = "init"
		case "left":
			state = "dead"
		}
		list = append(list, clNode{s.Peer.Name, "normal", state})
	}
	for _, p := range s.Pings {
		state := "dead"
		if p.Up {
			state = "ping"
		}
		list = append(list, clNode{p.Name, "ping", state})
	}
	return list
}

func (q *clQuery) listNodes() int {
	if q.has('m') {
		fmt.Fprintln(q.out, "The nodes are as follow:")
	}
	for _, n := range q.nodes() {
		if q.has('p') && n.kind != "ping" || q.has('n') && n.kind != "normal" {
			continue
		}
		if q.has('v') {
			fmt.Fprintf(q.out, "\n%s\t%s\t(nodetype: %s)\n", n.name, n.status, n.kind)
		} else {
			fmt.Fprintln(q.out, n.name)
		}
	}
	return exitOK
}

// node finds the node that the first argument names; code is set where there is none.
func (q *clQuery) node(arguments int) (n clNode, code int) {
	if len(q.rest) < arguments {
		fmt.Fprintln(q.err, clTooFew)
		return n, clBadWord
	}
	for _, n := range q.nodes() {
		if strings.EqualFold(n.name, q.rest[0]) {
			return n, exitOK
		}
	}
	fmt.Fprintln(q.err, clWrongNode)
	return n, clBadWord
}

// nodeOfLink is node for the sub-commands about links and clients, which have another exit code for a name that nobody has.
func (q *clQuery) nodeOfLink(arguments int) (n clNode, code int) {
	n, code = q.node(arguments)
	if code != exitOK && len(q.rest) >= arguments {
		code = clUnknown
	}
	return n, code
}

func (q *clQuery) nodeStatus() int {
	n, code := q.node(1)
	if code != exitOK {
		return code
	}
	q.say(n.status, fmt.Sprintf("The cluster node %s is %s", n.name, n.status))
	if slices.Contains([]string{"active", "up", "ping"}, n.status) {
		return exitOK
	}
	return clNo
}

func (q *clQuery) nodeType() int {
	n, code := q.node(1)
	if code == exitOK {
		q.say(n.kind, fmt.Sprintf("The node %s's type: %s", n.name, n.kind))
	}
	return code
}

func (q *clQuery) nodeWeight() int {
	n, code := q.node(1)
	if code == exitOK {
		q.say(fmt.Sprint(nodeWeight), fmt.Sprintf("The weight of the cluster node %s is %d", n.name, nodeWeight))
	}
	return code
}

func (q *clQuery) nodeSite() int {
	n, code := q.node(1)
	if code == exitOK {
		q.say("", fmt.Sprintf("The site of the cluster node %s is ", n.name))
	}
	return code
}

// clLink is one link of a node as cl_status sees it.
type clLink struct{ name, status string }

// links are a node's: a ping node has the one to itself, and this node's own are up unless they cannot be used.
func (q *clQuery) links(n clNode) []clLink {
	if n.kind == "ping" {
		state := "dead"
		if n.status == "ping" {
			state = "up"
		}
		return []clLink{{n.name, state}}
	}
	var list []clLink
	for _, l := range q.status.Links {
		up := l.State == "up" || l.State == "late" || l.State == "oneway"
		if n.name == q.status.Node {
			up = l.State != "unusable"
		}
		state := "dead"
		if up {
			state = "up"
		}
		at := slices.IndexFunc(list, func(have clLink) bool { return have.name == l.Name })
		switch {
		case at < 0:
			list = append(list, clLink{l.Name, state})
		case up:
			list[at].status = state // several lines on one device share its name
		}
	}
	return list
}

func (q *clQuery) listLinks() int {
	n, code := q.nodeOfLink(1)
	if code != exitOK {
		return code
	}
	if q.has('m') {
		fmt.Fprintln(q.out, "\tthis node has the following heartbeat links:")
	}
	for _, l := range q.links(n) {
		if q.has('v') {
			fmt.Fprintf(q.out, "\t%s\t%s\n", l.name, l.status)
		} else {
			fmt.Fprintf(q.out, "\t%s\n", l.name)
		}
	}
	return exitOK
}

func (q *clQuery) linkStatus() int {
	n, code := q.nodeOfLink(2)
	if code != exitOK {
		return code
	}
	for _, l := range q.links(n) {
		if l.name != q.rest[1] {
			continue
		}
		q.say(l.status, fmt.Sprintf("The node %s's heartbeat link %s is %s", n.name, l.name, l.status))
		if l.status == "up" {
			return exitOK
		}
		return clNo
	}
	fmt.Fprintln(q.err, "Error. May be due to incorrect node name or link name")
	return clUnknown
}

func (q *clQuery) clientStatus() int {
	n, code := q.nodeOfLink(2)
	if code != exitOK {
		return code
	}
	if n.name != q.status.Node {
		fmt.Fprintf(q.err, "Error. Run this on %s: only its own heartbeat knows its clients\n", n.name)
		return clUnknown
	}
	value, err := q.ask(daemon.Request{Command: daemon.CommandClient, Name: q.rest[1]})
	if err != nil {
		return clUnknown
	}
	q.say(value, fmt.Sprintf("The client %s on the node %s is %s", q.rest[1], n.name, value))
	if value == "online" {
		return exitOK
	}
	return clNo
}

func (q *clQuery) rscStatus() int {
	q.say(q.status.Classic, fmt.Sprintf("This node is holding %s resources.", q.status.Classic))
	return exitOK
}

func (q *clQuery) parameter() int {
	name := q.value['p']
	if name == "" {
		fmt.Fprintln(q.err, clTooFew)
		return clBadWord
	}
	value, err := q.ask(daemon.Request{Command: daemon.CommandParameter, Name: name})
	if err != nil {
		fmt.Fprintf(q.err, "cl_status: %v\n", err)
		return clNo
	}
	q.say(value, fmt.Sprintf("Heartbeat parameter %s's value: %s", name, value))
	return exitOK
}

// ask sends one more question.
func (q *clQuery) ask(r daemon.Request) (string, error) {
	c, err := daemon.Dial(q.ctx, q.dirs.paths())
	if err != nil {
		return "", err
	}
	defer c.Close()
	reply, err := c.Call(q.ctx, r)
	if err != nil {
		return "", err
	}
	return reply.Value, nil
}
