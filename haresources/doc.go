// Package haresources knows what stands in the file haresources and in which order it is started and stopped.
//
// Parse reads the file into a Table: groups of resources, each with the node that prefers to run it. A Manager starts the
// resources of a group from left to right and stops them from right to left. It touches the host only through the Agent
// that an Opener makes for each resource, so that everything in here can be tested without one.
//
// # What an Agent may do besides
//
// A Manager asks for these by type, and does without where an Agent has none of them:
//
//	before a takeover   Foreseer Preparer Transparent Muter Stander
//	while it is held    Adopter Announcer Watcher Complainer Correspondent
//	at its end          Lingerer, and Close() error
//	of itself           Timer Describer Configurer Locator; Batcher for many at once
//
// # Where to look
//
//	the file    parse.go words.go pragma.go table.go assemble.go
//	decisions   plan.go: pure, from states to steps
//	the work    manager.go group.go stop.go standby.go reload.go timeout.go; monitor.go monitor_hand.go
//	the seam    agent.go standby.go complaint.go location.go
package haresources
