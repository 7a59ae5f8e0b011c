// Package rehearsal plays a whole pair on one machine: two nodes that run the real program, the networks and serial cables between them, and
// clients that measure what a failover costs them. It is `heartbeat rehearse`, the demonstration, and the end-to-end tests.
//
// It knows nothing of the program's insides: it installs it, starts it, and commands it as an administrator would, and so it can play Linux-HA
// Heartbeat on either node as well. Everything happens in namespaces that end with the process that made them, and nothing outside of them
// is touched.
//
// # Where to look
//
//	what is played    scenario.go scenarios.go scenarios_*.go reloading.go concern.go; steps.go disturb.go fencing.go (what is done to a pair)
//	from the files    pair.go addressing.go copies.go wiring.go: what a configuration says of nodes, networks and services, and what is varied
//	the stage         world.go node.go through.go; implementation.go hapair.go linuxha.go; package lab
//	a performance     main.go rehearse.go inside.go run.go follow.go shortlog.go wiretap.go; package probe
//	the verdict       model.go (who should serve) judge.go agree.go (what the nodes say) report.go cost.go print.go strip.go
package rehearsal
