package main

import (
	"fmt"
	"strings"
)

// options are what a classic option string allows: each letter with how often it was given, and the arguments of those that
// take one.
type options struct {
	given map[byte]int
	value map[byte]string
	rest  []string
}

// getopt reads arguments as C's getopt does, for a specification like "dDk:f": letters may be joined, an argument may be
// joined or follow, and "--" ends the options.
func getopt(spec string, args []string) (options, error) {
	o := options{given: map[byte]int{}, value: map[byte]string{}}
	for i := 0; i < len(args); i++ {
		word := args[i]
		if word == "--" {
			o.rest = append(o.rest, args[i+1:]...)
			return o, nil
		}
		if len(word) < 2 || word[0] != '-' {
			o.rest = append(o.rest, word)
			continue
		}
		for j := 1; j < len(word); j++ {
			letter := word[j]
			at := strings.IndexByte(spec, letter)
			if at < 0 || letter == ':' {
				return o, fmt.Errorf("invalid option -- '%c'", letter)
			}
			o.given[letter]++
			if at+1 == len(spec) || spec[at+1] != ':' {
				continue
			}
			switch {
			case j+1 < len(word):
				o.value[letter] = word[j+1:]
			case i+1 < len(args):
				i++
				o.value[letter] = args[i]
			default:
				return o, fmt.Errorf("option requires an argument -- '%c'", letter)
			}
			break
		}
	}
	return o, nil
}

// has tells whether an option was given.
func (o options) has(letter byte) bool { return o.given[letter] > 0 }
