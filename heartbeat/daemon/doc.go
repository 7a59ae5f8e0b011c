// Package daemon runs one node on one host: it introduces the pure core to the links, the resource manager, the clocks and
// the people of a real machine.
//
// One goroutine, the loop, touches the core, and it never waits for anything but its own queue and timer. Everything that
// can take time has an owner of its own: a reader and a bounded drop-oldest writer for each link, one keeper that opens links
// again, one worker for each group in motion, one queue each for rc.d scripts, hooks, persistence, the journal and the log,
// and the control socket. They report back as events.
//
// # Where to look
//
//	a run       run.go serve.go engine.go loop.go inbox.go convert.go; reload.go upgrade.go pause.go; persist.go
//	links       media.go medium.go mirrors.go ring.go badframes.go keys.go
//	workers     groups.go leftovers.go lease.go monitor.go uplinks.go; fencing.go fencer.go; watchdog.go watchdog_device.go; series.go
//	programs    runner.go hooks.go respawn.go orphans.go environ.go fifo.go
//	people      control.go peergroups.go request.go protocol.go client.go view.go judge.go; alarms.go complaints.go; history.go journal.go
//	figures     timing.go figures.go cause.go; metrics.go exposition.go; web.go page.go page.css page.js timeline.go
//	log         log.go logformat.go logsink.go severity.go resourcelog.go
//	comparing   digest.go digest_calls.go digest_items.go; doctor.go doctor_probe.go doctor_facts.go doctor_judge.go
//	process     paths.go pidfile.go privileges.go sdnotify.go version.go
package daemon
