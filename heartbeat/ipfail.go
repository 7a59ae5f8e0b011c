package heartbeat

func (n *Node) worseConnected() bool { return false }
