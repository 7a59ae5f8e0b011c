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
package agent
