// Package host is this machine: its addresses and announcements, routes, interfaces and sockets, clocks, scheduling and
// identity, and the programs that run beside the daemon. It decides nothing; it does what it is told and says what it sees.
//
// The libraries for netlink, ARP and neighbour discovery are used here and nowhere else.
package host
