// Package agent starts, stops and examines one resource of each kind: IP addresses without a program, and scripts of the
// classes that a haresources line can name (Heartbeat's resource.d, LSB, OCF, systemd). It also runs the administrator's
// other programs: rc.d scripts for messages and hooks for events.
//
// # Which resources need no script
//
// A bare address, IPaddr, IPaddr2 and IPv6addr are handled by this package itself, unless resource.d holds a script of that
// name that somebody wrote for this site. A script is taken for the stock one, and not run, when it does nothing itself but
// hands over to the OCF agent: outside of comments it calls ra_execocf, or names resource.d/heartbeat/ under OCF_ROOT. So is, byte for
// byte, the drbddisk that comes with drbd-utils.
//
// In rc.d, the stock scripts status, ip-request, ip-request-resp, ask_resources and hb_takeover would start and stop groups
// behind the daemon's back. A script is taken for one of them, and not run, when outside of comments it calls mach_down,
// ResourceManager or hb_standby. Additions to a stock script belong into another script of rc.d, or into hooks/.
//
// # Where to look
//
// kinds.go has the one map from the name on a line to what opens it; check.go what `heartbeat check` asks of each.
//
//	scripts     script.go ocf.go ocf_meta.go systemd.go program.go environment.go; rc.go hooks.go check_*.go
//	addresses   address.go address_args.go; keeper.go announce.go follow.go (all addresses of a node together); duplicate.go locate.go; virtualmac.go virtualmac_*.go sendarp.go
//	routes      routing.go route.go route_rule.go srcaddr.go
//	firewall    firewall.go firewall_*.go; portblock.go portblock_tickle.go; conntrack.go conntrack_*.go
//	storage     filesystem.go filesystem_stop.go drbddisk.go drbd_state.go nfs.go nfs_server.go
//	small ones  delay.go mailto.go
//	common      arguments.go tool.go marker.go repair.go (puts back what something else changed)
package agent
