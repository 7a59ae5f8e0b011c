// Package daemon runs one node on one host: it introduces the pure core to the links, the resource manager, the clocks and
// the people of a real machine.
//
// One goroutine, the loop, touches the core, and it never waits for anything but its own queue and timer. Everything that
// can take time has an owner of its own: a reader and a bounded drop-oldest writer for each link, one keeper that opens links
// again, one worker for each group in motion, one queue each for rc.d scripts, hooks, persistence, the journal and the log,
// and the control socket. They report back as events.
package daemon
