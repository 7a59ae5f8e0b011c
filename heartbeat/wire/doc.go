// Package wire turns bytes into authenticated messages and back: the netstring and classic framings of Linux-HA
// Heartbeat 3.0.6, and the keys that sign them (protocol sections 2 and 3).
//
// It is pure: no clock, no socket, no file of its own. Nothing that arrives can make it panic or allocate without bound,
// and Keys.Open believes nothing of a frame before its signature is verified.
//
// The way of a heartbeat out is Message → Keys.Seal → link; the way in is link → (Split, on a serial line) → Keys.Open →
// Message. Parse reads what needs no signature: the local FIFO, captures, tests.
package wire
