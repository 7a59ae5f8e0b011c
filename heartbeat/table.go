package heartbeat

import (
	"fmt"
	"strings"
)

// edge is one step that a group can take on a node.
type edge struct {
	from, to hold
	because  string
}

// edges is the one table of what can happen to a group on a node. The diagram in the documentation is drawn from it, every change of
// state is held against it, and the simulation has to walk each of its edges.
var edges = []edge{
	{holdUnknown, holdIdle, "nothing of it was left running by a predecessor"},
	{holdUnknown, holdAdopting, "a predecessor left it running"},
	{holdUnknown, holdReleasing, "this node stops, or stood still too long, before it knew what runs"},
	{holdAdopting, holdAcquiring, "this node held it before, and the peer does not hold it"},
	{holdAdopting, holdReleasing, "it is not this node's to hold"},
	{holdIdle, holdAcquiring, "the peer granted it, is dead, or left"},
	{holdAcquiring, holdHeld, "all its resources run"},
	{holdAcquiring, holdIdle, "a resource could not be started and the others were stopped again"},
	{holdAcquiring, holdStuck, "a resource could not be started and another could not be stopped again"},
	{holdAcquiring, holdReleasing, "it is given away, lost, or this node stops, while it is still starting"},
	{holdHeld, holdReleasing, "it is given away, lost, failed, or this node stops"},
	{holdReleasing, holdIdle, "all its resources are stopped"},
	{holdReleasing, holdStuck, "a resource could not be stopped"},
	{holdStuck, holdReleasing, "a person asked to try again"},
}

// allowed tells whether the table has that step.
func allowed(from, to hold) bool {
	for _, e := range edges {
		if e.from == from && e.to == to {
			return true
		}
	}
	return false
}

// Diagram draws the table as a Mermaid state diagram, for the documentation.
func Diagram() string {
	name := func(h hold) string {
		if h == holdUnknown {
			return "unknown"
		}
		return h.String()
	}
	var b strings.Builder
	b.WriteString("stateDiagram-v2\n    [*] --> unknown: the daemon starts\n")
	for _, e := range edges {
		fmt.Fprintf(&b, "    %s --> %s: %s\n", name(e.from), name(e.to), e.because)
	}
	return b.String()
}
