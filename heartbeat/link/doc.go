// Package link carries whole frames between two nodes over one medium each: ucast, bcast, mcast and their IPv6 forms, serial
// lines, and the echoes of ping nodes (protocol section 4).
//
// Open makes a Link of a Spec. A Link does not mend itself: when its device vanishes, or the address it was built on changes,
// Receive ends with ErrGone, at once and without polling, and the owner closes it and opens it again. What passes by itself
// (a full queue, a missing route, the machine's own firewall) is an error of one Send only.
//
// All UDP links of one device and port share one receive socket, bound to the device and to no address; each datagram goes to
// the link it was sent to. So several lines on one network card, in any mixture, hear what is theirs and nothing twice.
//
// Nothing that arrives is believed here: frames are as the medium delivered them, to be verified by wire.Keys.
package link
