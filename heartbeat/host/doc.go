// Package host is this machine: its addresses and announcements, routes, interfaces and sockets, clocks, scheduling and
// identity, and the programs that run beside the daemon. It decides nothing; it does what it is told and says what it sees.
//
// The libraries for ARP, neighbour discovery and BPF are used here and nowhere else, and that for netlink only beside it in the rehearsal's
// laboratory, which builds networks for this package to work in.
//
// # Where to look
//
//	addresses   address.go address_netlink.go watch.go; arp.go nd.go (announcements); probe.go probe_mirror.go (who answers)
//	leases      lease.go lease_*.go: the kernel ends the right to answer, by tc programs or by nftables
//	interfaces  iface.go iface_watch.go route.go macvlan.go sysctl.go
//	routes      routing.go gateway.go changes.go
//	firewall    nft.go nft_*.go isolate.go connections.go
//	sockets     socket.go socket_*.go selector.go checksum.go
//	programs    command.go output.go outputs.go ledger.go
//	machine     identity.go clock.go alarm.go realtime.go mount.go
package host
