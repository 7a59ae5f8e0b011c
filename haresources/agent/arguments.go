package agent

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"hapair/haresources"
	"hapair/heartbeat/fault"
)

// arguments are what stands behind the name of a resource, read again from the word as written: a list for positions, and a
// map for NAME=VALUE. IPv6 addresses, which contain double colons themselves, are kept whole; where that is not clear, they
// may stand in brackets.
type arguments struct {
	plain []string
	named map[string]string
}

// parseArguments reads the arguments of a resource that may have these named ones.
func parseArguments(r haresources.Resource, names ...string) (a arguments, err error) {
	a.named = map[string]string{}
	_, rest, _ := strings.Cut(r.Spec, "::")
	for _, word := range splitArguments(rest) {
		name, value, named := strings.Cut(word, "=")
		if !named {
			a.plain = append(a.plain, unbracket(word))
			continue
		}
		if !contains(names, name) {
			return a, fmt.Errorf("unknown argument %q%s", name, suggest(name, names))
		}
		if _, twice := a.named[name]; twice {
			return a, fmt.Errorf("argument %s twice", name)
		}
		a.named[name] = unbracket(value)
	}
	return a, nil
}

func contains(list []string, s string) bool {
	for _, have := range list {
		if have == s {
			return true
		}
	}
	return false
}

// suggest ends a message about an unknown word.
func suggest(word string, known []string) string {
	if near := fault.Nearest(word, known); near != "" {
		return fmt.Sprintf(": did you mean %q?", near)
	}
	return ": there are " + strings.Join(known, ", ")
}

// splitArguments splits at double colons, but not inside an IPv6 address.
func splitArguments(s string) (words []string) {
	parts := strings.Split(s, "::")
	for i := 0; i < len(parts); i++ {
		word := parts[i]
		if _, value, _ := cutValue(word); strings.HasPrefix(value, "[") {
			for !strings.Contains(word, "]") && i+1 < len(parts) {
				i++
				word += "::" + parts[i]
			}
		} else if i+1 < len(parts) && joins(value, parts[i+1]) {
			i++
			word += "::" + parts[i]
		}
		if word != "" {
			words = append(words, word)
		}
	}
	return words
}

// cutValue splits NAME=VALUE; what has no name is a value.
func cutValue(word string) (name, value string, named bool) {
	if name, value, named = strings.Cut(word, "="); named {
		return name, value, true
	}
	return "", word, false
}

// joins says whether two neighbours are the halves of an IPv6 address, perhaps with something behind a slash.
func joins(a, b string) bool {
	if a == "" && (b == "" || b[0] == '[') {
		return false // nothing, twice
	}
	head, _, _ := strings.Cut(b, "/")
	whole, err := netip.ParseAddr(a + "::" + head)
	return err == nil && whole.Is6()
}

func unbracket(s string) string {
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		return s[1 : len(s)-1]
	}
	return s
}

// parsePrefix reads ADDRESS/BITS, or an address alone as itself.
func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%q is not a subnet: write ADDRESS/BITS", s)
	}
	if p != p.Masked() {
		return p, fmt.Errorf("%q has bits behind its prefix: the subnet is %v", s, p.Masked())
	}
	return p, nil
}

// parseNumber reads a number within bounds; "" is otherwise.
func parseNumber(s, what string, most, otherwise int) (int, error) {
	if s == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(s, 0, 32)
	if err != nil || n > uint64(most) {
		return 0, fmt.Errorf("%s: %q is not a number from 0 to %d", what, s, most)
	}
	return int(n), nil
}

// tableNames are the routing tables that have names everywhere.
var tableNames = map[string]int{"": 254, "main": 254, "default": 253, "local": 255}

// parseTable reads a routing table.
func parseTable(s string) (int, error) {
	if n, known := tableNames[s]; known {
		return n, nil
	}
	n, err := parseNumber(s, "table", 1<<31-1, 0)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("table: %q is neither main nor a number", s)
	}
	return n, nil
}

// parseDevice checks the name of an interface.
func parseDevice(s string) (string, error) {
	if s == "" || len(s) > deviceName || strings.ContainsAny(s, "/: ") {
		return "", fmt.Errorf("%q is not the name of an interface", s)
	}
	return s, nil
}
