package rehearsal

import (
	"time"

	"hapair/heartbeat/rehearsal/lab"
)

// consumption is what the nodes have used so far.
type consumption struct {
	at     time.Duration
	nodes  [2]lab.Usage
	frames [2]uint64
}

// consumption reads what the nodes have used so far.
func (w *world) consumption() consumption {
	u := consumption{at: w.clock.Now()}
	for i, n := range w.nodes {
		if n.machine == nil {
			continue
		}
		u.nodes[i] = n.machine.Usage()
		for j, p := range n.machine.Ports {
			if len(w.pair.networks[j].services(w.pair)) == 0 {
				u.frames[i] += p.Frames()
			}
		}
	}
	return u
}

// judgeCost records what the nodes used during a phase that is about that.
func (r *run) judgeCost(p phase, before consumption) {
	if p.cost == nil {
		return
	}
	now := r.world.consumption()
	result := &r.result.Phases[len(r.result.Phases)-1]
	seconds := (now.at - before.at).Seconds()
	for i, n := range r.world.nodes {
		c := Cost{
			Node:       n.name,
			CPUPercent: 100 * (now.nodes[i].CPU - before.nodes[i].CPU).Seconds() / seconds,
			ResidentMB: float64(now.nodes[i].Resident) / 1e6,
			Processes:  now.nodes[i].Processes,
			FramesSent: float64(now.frames[i]-before.frames[i]) / seconds,
		}
		result.Costs = append(result.Costs, c)
		if r.impls[i] != Hapair || r.sharing {
			continue
		}
		if allowed := p.cost.percent * float64(max(2, r.world.pair.paths())) / 2; c.CPUPercent > allowed {
			result.fail("%s used %.2f %% of one core, allowed are %.2f %%", n.name, c.CPUPercent, allowed)
		}
		if c.ResidentMB > p.cost.megabytes {
			result.fail("%s used %.1f MB, allowed are %.1f MB", n.name, c.ResidentMB, p.cost.megabytes)
		}
	}
	r.result.Passed = r.result.Passed && len(result.Failures) == 0
}
