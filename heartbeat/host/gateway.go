package host

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// DefaultGateways lists the gateways of the default routes of the main table, of both families.
func DefaultGateways() ([]netip.Addr, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var list []netip.Addr
	for _, r := range routes {
		if r.Dst != nil {
			if ones, _ := r.Dst.Mask.Size(); ones != 0 {
				continue
			}
		}
		if gw, ok := netip.AddrFromSlice(r.Gw); ok {
			list = append(list, gw.Unmap())
		}
	}
	return list, nil
}
