package config

import (
	"fmt"
	"strings"
	"time"

	"hapair/haresources"
)

// tomlKey writes a key, in quotes where it needs them.
func tomlKey(s string) string {
	bare := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
	}
	if s != "" && strings.IndexFunc(s, func(c rune) bool { return !bare(c) }) < 0 {
		return s
	}
	return tomlText(s)
}

// tomlText writes a text.
func tomlText(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteString(`\` + string(c))
		case c == '\t':
			b.WriteString(`\t`)
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, c)
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// tomlList writes a list of texts.
func tomlList(words []string) string {
	quoted := make([]string, len(words))
	for i, s := range words {
		quoted[i] = tomlText(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// tomlTime writes a time.
func tomlTime(d time.Duration) string { return tomlText(showSpan(d)) }

// spanText writes a time of a pragma; what is none is written as the word it is.
func spanText(value string) string {
	if d, err := haresources.ParseDuration(value); err == nil {
		return tomlTime(d)
	}
	return tomlText(value)
}

// leadingInt is the number at the beginning of a raw value that was accepted as one.
func leadingInt(raw string) int {
	n, _, _ := parseInt(raw)
	return n
}
