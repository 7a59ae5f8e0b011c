package main

import (
	"fmt"
	"time"

	"hapair/haresources"
)

// timeFlag is an option that takes a time as ha.cf writes it: a plain number is seconds.
type timeFlag time.Duration

func (t *timeFlag) String() string { return time.Duration(*t).String() }

func (t *timeFlag) Type() string { return "time" }

func (t *timeFlag) Set(text string) error {
	d, err := haresources.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%w: write a number of seconds, or a unit after it: 30, 1.5, 500ms, 2m", err)
	}
	*t = timeFlag(d)
	return nil
}
