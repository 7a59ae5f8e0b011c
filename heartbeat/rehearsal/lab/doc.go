// Package lab builds machines, hosts, switches and serial cables out of namespaces on one Linux machine.
//
// Enter runs a registered program as process 1 of a fresh set of namespaces (with a user namespace when the caller is not
// root). Everything the program makes in there, namespaces, mounts, processes, ends with that process, whichever way it
// ends: there is nothing to clean up on the host. Inside, Open prepares the file system, a Switch connects ports, Boot
// starts a Machine (its own network, mounts, host name, processes and a tiny process 1), NewHost makes a bare network stack
// for measuring from, and a Cable is a serial null-modem line.
//
// The package knows nothing about Heartbeat.
package lab
