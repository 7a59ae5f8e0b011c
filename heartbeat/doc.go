// Package heartbeat decides who is alive and who should own what. It is the pure core of hapair.
//
// A Node is a plain value without clock, socket, logger, goroutine or random source. Whatever happens comes in as an Event
// together with the Instant at which it happened; whatever should be done comes out as an ordered list of Actions; and
// whatever was done comes back as a Done event that names the operation it answers. The daemon package connects it to a
// real machine, the simulation in its tests to a hostile one.
package heartbeat
