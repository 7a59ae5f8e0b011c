package heartbeat

// StopFailure is what is done when a group could not be stopped, so that something of it may still run.
type StopFailure int

// The policies.
const (
	StopBlock     StopFailure = iota // keep it here, give it to nobody, wait for a person
	StopFenceSelf                    // reset this machine, so that the peer may have it
	StopIgnore                       // take it for stopped
)

// String is the word of the configuration.
func (s StopFailure) String() string { return [...]string{"block", "fence-self", "ignore"}[s] }

// ResetSelf resets this machine at once: something on it cannot be stopped, and the peer may not have it before.
type ResetSelf struct{ Group, Reason string }

func (ResetSelf) action() {}

// jammed follows the group's policy after a stop that failed for good. It returns false where the group is to be taken for stopped.
func (n *Node) jammed(g *group, what, reason string) bool {
	if g.OnStopFailure == StopIgnore {
		n.do(Alarm{Key: "ignored " + g.Name, Text: "resource group " + g.Name + " could not be stopped (" + reason + ") and is taken for stopped, as on-stop-failure=ignore says"})
		return false
	}
	n.set(g, holdStuck, what+": "+reason)
	if g.OnStopFailure == StopFenceSelf && n.peer.life == lifeAlive {
		n.transition(Crit, reason, "Resource group %s is stuck here (%s): this machine is reset now, so that %s may take it over", g.Name, what, n.peer.name)
		n.do(ResetSelf{Group: g.Name, Reason: what + ": " + reason})
		return true
	}
	n.transition(Crit, reason, "Resource group %s is stuck here: its %s, something of it may still run. "+
		"It is not given to the peer. Stop it by hand, then run `heartbeat resource cleanup '%s'`", g.Name, what, g.Name)
	return true
}
