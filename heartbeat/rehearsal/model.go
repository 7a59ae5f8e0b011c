package rehearsal

import "slices"

// model predicts who holds each service, from what is done to the nodes.
type model struct {
	pair  *pair
	owner []int // of each service: a node, or nobody
	up    [2]bool
	impls [2]string
	unfit map[string]int // group → the node on which it cannot be started
}

const nobody = -1

func newModel(p *pair) *model {
	m := &model{pair: p, owner: make([]int, len(p.services)), unfit: map[string]int{}}
	for i := range m.owner {
		m.owner[i] = nobody
	}
	return m
}

// start predicts what a node's coming up changes.
func (m *model) start(nodes ...int) {
	alone := len(nodes) == 1 && !m.up[1-nodes[0]]
	for _, n := range nodes {
		m.up[n] = true
	}
	for i, s := range m.pair.services {
		switch {
		case alone:
			m.owner[i] = nodes[0]
		case len(nodes) == 2:
			m.owner[i] = s.preferred
		case m.pair.timing.failback != "off" && s.preferred == nodes[0]:
			m.owner[i] = nodes[0]
		}
		if unfit, ok := m.unfitSet(s); ok && m.owner[i] == unfit && m.up[1-unfit] {
			m.owner[i] = 1 - unfit
			legacy := m.pair.timing.failback == "legacy" && withTheir.in(m.impls) // nothing can be handed over then
			if m.impls[unfit] == LinuxHA || legacy {
				m.owner[i] = nobody // linux-ha stops the group, and half a minute later gives the other one away
			}
		}
	}
}

// unfitSet is the node on which a service cannot run: because a resource of its group does not start there or, where one of ours gives to linux-ha, which knows
// no groups, one of another group that prefers the same node.
func (m *model) unfitSet(s *service) (unfit int, ok bool) {
	if unfit, ok = m.unfit[s.group]; ok {
		return unfit, true
	}
	if m.pair.timing.failback == "legacy" {
		return 0, false // nothing can be given
	}
	for _, other := range m.pair.services {
		if unfit, ok = m.unfit[other.group]; ok && other.preferred == s.preferred && m.impls[unfit] == Hapair && m.impls[1-unfit] == LinuxHA {
			return unfit, true
		}
	}
	return 0, false
}

// lose predicts what a node's end changes: the other one, where it is up, holds all.
func (m *model) lose(node int) {
	m.up[node] = false
	for i := range m.owner {
		if m.up[1-node] {
			m.owner[i] = 1 - node
		} else if m.owner[i] == node {
			m.owner[i] = nobody
		}
	}
}

// give predicts hb_standby on a node: what it holds of the set goes to the other one.
func (m *model) give(node int, set string) {
	if set == "failback" {
		set = "foreign"
	}
	for i, s := range m.pair.services {
		local := s.preferred == node
		if m.owner[i] == node && m.up[1-node] && (set == "all" || set == "local" && local || set == "foreign" && !local) {
			if unfit, ok := m.unfit[s.group]; !ok || unfit != 1-node { // else it comes back at once
				m.owner[i] = 1 - node
			}
		}
	}
}

// take predicts hb_takeover on a node: the mirror of what the other one would give.
func (m *model) take(node int, set string) {
	if set == "failback" && m.impls == [2]string{LinuxHA, LinuxHA} {
		set = "all" // linux-ha does not know its own word
	}
	m.give(1-node, map[string]string{"all": "all", "local": "foreign", "failback": "foreign", "foreign": "local"}[set])
}

// clone copies the model.
func (m *model) clone() *model {
	c := *m
	c.owner = slices.Clone(m.owner)
	return &c
}
