package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// errTime says what a time looks like.
var errTime = errors.New("not a time")

// longest is the longest time that makes sense anywhere; anything above is a slip of the keyboard.
const longest = 10 * 365 * 24 * time.Hour

// parseTime reads a time as ha.cf writes it (protocol section 1.2): a number of seconds with an optional fraction, or with
// the unit ms or us; rounded half up to whole milliseconds. odd says, where it is not empty, what Linux-HA would make of the
// text instead. The unit s, sec or min is an error there and accepted here.
func parseTime(text string) (d time.Duration, odd string, err error) {
	text = strings.Trim(text, " \t\v\f\r")
	end := 0
	for end < len(text) && (text[end] >= '0' && text[end] <= '9' || text[end] == '.') {
		end++
	}
	digits, unit := text[:end], strings.ToLower(strings.TrimLeft(text[end:], " \t"))
	number, garbled, ok := leadingNumber(digits)
	if !ok {
		return 0, "", errTime
	}
	factor, odd, err := timeUnit(unit)
	if err != nil {
		return 0, "", err
	}
	if garbled {
		odd = fmt.Sprintf("Linux-HA reads %s as %s", quote(digits), strconv.FormatFloat(number, 'f', -1, 64))
	}
	ms := math.Floor(number*factor + 0.5)
	if ms > float64(longest/time.Millisecond) {
		return 0, "", fmt.Errorf("more than %s", show(longest))
	}
	return time.Duration(ms) * time.Millisecond, odd, nil
}

// leadingNumber reads a decimal number like C's atof does: up to the second point. garbled says that there was one.
func leadingNumber(digits string) (number float64, garbled, ok bool) {
	if first := strings.IndexByte(digits, '.'); first >= 0 {
		if second := strings.IndexByte(digits[first+1:], '.'); second >= 0 {
			digits, garbled = digits[:first+1+second], true
		}
	}
	if strings.Trim(digits, ".") == "" {
		return 0, false, false
	}
	number, err := strconv.ParseFloat(digits, 64)
	return number, garbled, err == nil
}

// timeUnit is the number of milliseconds in a unit. Linux-HA compares the leading letters only.
func timeUnit(unit string) (ms float64, odd string, err error) {
	switch unit {
	case "":
		return 1000, "", nil
	case "ms", "msec", "msecs", "millisecond", "milliseconds":
		return 1, "", nil
	case "us", "usec", "usecs", "microsecond", "microseconds":
		return 0.001, "", nil
	case "s", "sec", "secs", "second", "seconds":
		return 1000, "Linux-HA knows no unit " + quote(unit) + ": a bare number means seconds", nil
	case "m", "min", "mins", "minute", "minutes":
		return 60_000, "Linux-HA knows no unit " + quote(unit) + ": a bare number means seconds", nil
	}
	switch {
	case strings.HasPrefix(unit, "ms"):
		return 1, "Linux-HA reads the unit " + quote(unit) + " as ms", nil
	case strings.HasPrefix(unit, "us"):
		return 0.001, "Linux-HA reads the unit " + quote(unit) + " as us", nil
	}
	return 0, "", fmt.Errorf("unknown unit %s", quote(unit))
}

// written is a time as ha.cf has it: a bare number is seconds.
func written(d time.Duration) string {
	if d < time.Second {
		return show(d)
	}
	return strings.TrimSuffix(show(d), "s")
}

// show writes a time for people, with its unit.
func show(d time.Duration) string {
	if d < time.Second {
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	}
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s"
}

// parseBool reads a boolean (protocol section 1.2).
func parseBool(text string) (value, ok bool) {
	switch strings.ToLower(text) {
	case "true", "on", "yes", "y", "1":
		return true, true
	case "false", "off", "no", "n", "0":
		return false, true
	}
	return false, false
}

// parseInt reads an integer like C's atoi: leading digits. garbled says that something else follows them.
func parseInt(text string) (n int, garbled, ok bool) {
	end := 0
	if end < len(text) && (text[end] == '-' || text[end] == '+') {
		end++
	}
	for end < len(text) && text[end] >= '0' && text[end] <= '9' {
		end++
	}
	n, err := strconv.Atoi(text[:end])
	return n, end < len(text), err == nil
}
