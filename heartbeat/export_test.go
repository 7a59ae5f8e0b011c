package heartbeat

// Walked calls visit for each step of the table, with whether some group of this node has taken it.
func (n *Node) Walked(visit func(step string, taken bool)) {
	for _, e := range edges {
		visit(e.from.String()+" > "+e.to.String()+": "+e.because, n.walked[e.from][e.to])
	}
}

// States lists every state of the table with whether it can be reached from the first and left again.
func States() map[string][2]bool {
	reached := map[hold]bool{holdUnknown: true}
	for range holdCount {
		for _, e := range edges {
			reached[e.to] = reached[e.to] || reached[e.from]
		}
	}
	list := map[string][2]bool{}
	for h := hold(0); int(h) < holdCount; h++ {
		leaves := false
		for _, e := range edges {
			leaves = leaves || e.from == h
		}
		list[string(h.letter())] = [2]bool{reached[h], leaves}
	}
	return list
}
