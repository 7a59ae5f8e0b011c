package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"hapair/heartbeat/host"
)

// setting is one sysctl that a virtual hardware address needs.
type setting struct {
	key, value string
	name       string // in the note of what was there before; "" for a setting of our own interface, which goes with it
	better     string // other values that do as well
}

// holds says whether a value does.
func (s setting) holds(now string) bool {
	return now == s.value || s.better != "" && strings.Contains(s.better, now)
}

// settings are what makes an address on a second interface of one cable correct:
//
//   - only our interface answers ARP for the address (arp_ignore on both),
//   - no ARP question of the interface below names our address as its own, or neighbours would learn the wrong hardware
//     address from it (arp_announce),
//   - packets that arrive on our interface are not dropped because their answer leaves by the one below (rp_filter loose,
//     arp_filter off, accept_local on),
//   - our interface has no address, and learns no routes, of its own accord (addr_gen_mode, accept_ra).
func (v *virtualMAC) settings(parent string) []setting {
	four, six := "net/ipv4/conf/", "net/ipv6/conf/"
	if v.want.addr.Is6() {
		return []setting{
			{key: six + v.name + "/addr_gen_mode", value: "1"},
			{key: six + v.name + "/accept_ra", value: "0"},
			{key: six + v.name + "/accept_dad", value: "0"},
			{key: six + v.name + "/disable_ipv6", value: "0"},
		}
	}
	return append([]setting{
		{key: four + v.name + "/arp_ignore", value: "1"},
		{key: four + v.name + "/rp_filter", value: "2"},
		{key: four + v.name + "/arp_filter", value: "0"},
		{key: four + v.name + "/accept_local", value: "1"},
		{key: six + v.name + "/addr_gen_mode", value: "1"},
		{key: six + v.name + "/accept_ra", value: "0"},
	}, settingsBelow(parent)...)
}

// settingsBelow are those of the interface that ours stands on.
func settingsBelow(parent string) []setting {
	const four = "net/ipv4/conf/"
	return []setting{
		{key: four + parent + "/arp_ignore", value: "1", name: "arp_ignore", better: "1 2 3 8"},
		{key: four + parent + "/arp_announce", value: "2", name: "arp_announce"},
	}
}

// aliasMark begins the note on our interface that says what the settings of the one below were before.
const aliasMark = "hapair "

// settingsBefore is that note: of the first of our interfaces on this cable, when there are others.
func (v *virtualMAC) settingsBefore(s virtualState) (string, error) {
	for _, m := range s.others {
		if strings.Contains(m.Alias, "=") || v.want.addr.Is6() {
			return m.Alias, nil
		}
	}
	note := aliasMark
	for _, set := range v.settings(s.parent.Name) {
		if set.name == "" {
			continue
		}
		now, err := host.ReadSysctl(set.key)
		if err != nil {
			return "", err
		}
		note += set.name + "=" + now + " "
	}
	return note, nil
}

// apply changes what does not hold.
func (v *virtualMAC) apply(parent string) error {
	if err := obstacles(v.want.addr); err != nil {
		return err
	}
	for _, set := range v.settings(parent) {
		now, err := host.ReadSysctl(set.key)
		if errors.Is(err, host.ErrNoSysctl) && strings.HasPrefix(set.key, "net/ipv6/") && v.want.addr.Is4() {
			continue // a machine without IPv6
		}
		if err != nil {
			return err
		}
		if set.holds(now) {
			continue
		}
		if err := host.WriteSysctl(set.key, set.value); err != nil {
			return err
		}
	}
	return copyForwarding(parent, v.name)
}

// copyForwarding has our interface forward what the one below forwards.
func copyForwarding(parent, name string) error {
	for _, family := range []string{"ipv4", "ipv6"} {
		key := "net/" + family + "/conf/"
		want, err := host.ReadSysctl(key + parent + "/forwarding")
		if err != nil {
			continue // no such family
		}
		now, err := host.ReadSysctl(key + name + "/forwarding")
		if err == nil && now != want {
			err = host.WriteSysctl(key+name+"/forwarding", want)
		}
		if err != nil && !errors.Is(err, host.ErrNoSysctl) {
			return err
		}
	}
	return nil
}

// restoreSettings gives the interface below its settings back, those that nobody else has changed meanwhile.
func restoreSettings(parent, note string) error {
	rest, ours := strings.CutPrefix(note, aliasMark)
	if !ours {
		return nil
	}
	before := map[string]string{}
	for _, entry := range strings.Fields(rest) {
		name, value, _ := strings.Cut(entry, "=")
		before[name] = value
	}
	var errs []error
	for _, set := range settingsBelow(parent) {
		value, noted := before[set.name]
		if !noted {
			continue
		}
		now, err := host.ReadSysctl(set.key)
		if err == nil && now == set.value && now != value {
			err = host.WriteSysctl(set.key, value)
		}
		if err != nil && !errors.Is(err, host.ErrNoSysctl) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// obstacles are settings of the whole machine that override those of an interface. They are not changed: that would change
// every other interface too.
func obstacles(addr netip.Addr) error {
	if addr.Is6() {
		return nil
	}
	for _, o := range []struct{ name, wrong, why string }{
		{"arp_filter", "1", "nobody would be answered on an interface that is not the way back"},
		{"arp_ignore", "234567 8", "questions from outside of the address's own prefix would not be answered"},
	} {
		key := "net/ipv4/conf/all/" + o.name
		if now, err := host.ReadSysctl(key); err == nil && strings.Contains(o.wrong, now) {
			return fmt.Errorf("sysctl %s is %s: %s; set it to 0, and to %s for the interfaces that need it", key, now, o.why, now)
		}
	}
	return nil
}
