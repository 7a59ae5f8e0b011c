// Package probe measures, as a client sees it, which of two nodes answers for a floating address and for how long neither
// or both do.
//
// Echo asks each address every millisecond from a thread of its own (with real-time priority where that is allowed), and
// takes the kernel's time stamp of each answer; the answer's TTL tells which node gave it. Ask asks both nodes by their MAC
// addresses every ten milliseconds, with an echo request and with an ARP request or neighbour solicitation, so that two nodes
// which answer for the same address at the same time are caught. Ask also notes every announcement (gratuitous ARP,
// unsolicited neighbour advertisement). Moves, gaps and overlaps are computed from the records by pure functions.
package probe
