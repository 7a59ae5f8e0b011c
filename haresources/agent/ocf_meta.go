package agent

import (
	"context"
	"encoding/xml"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"hapair/haresources"
)

// metaTimeout bounds how long an agent may take to describe itself.
const metaTimeout = 10 * time.Second

// metadata is what an OCF agent says of itself.
type metadata struct {
	Parameters []struct {
		Name     string `xml:"name,attr"`
		Required string `xml:"required,attr"`
	} `xml:"parameters>parameter"`
	Actions []struct {
		Name    string `xml:"name,attr"`
		Timeout string `xml:"timeout,attr"`
	} `xml:"actions>action"`
}

// metadata asks the agent to describe itself.
func (o *ocf) metadata() (m metadata, err error) {
	p, err := o.program("meta-data", 0)
	if err != nil {
		return m, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), metaTimeout)
	defer cancel()
	text, err := capture(ctx, p)
	if err != nil {
		return m, fmt.Errorf("ask %s for its meta-data: %w", o.path(), err)
	}
	decoder := xml.NewDecoder(strings.NewReader(text))
	decoder.Strict = false
	if err := decoder.Decode(&m); err != nil {
		return m, fmt.Errorf("read meta-data of %s: %w", o.path(), err)
	}
	return m, nil
}

// timeouts keeps what an agent advises, by action.
type timeouts struct {
	mu    sync.Mutex
	known map[string]time.Duration
}

// adviceInText finds the time-outs in the text of an agent: nearly all are shell scripts that hold their meta-data as it is.
var adviceInText = regexp.MustCompile(`<action\s+name="([a-z-]+)"[^>]*\stimeout="([0-9.]+[a-z]*)"`)

// timeouts is what the agent advises; it is looked up once. In an agent's text that takes no time: only one that is not
// written so is run for it.
func (o *ocf) timeouts() map[string]time.Duration {
	o.advice.mu.Lock()
	defer o.advice.mu.Unlock()
	if o.advice.known != nil {
		return o.advice.known
	}
	text, err := os.ReadFile(o.path())
	if err != nil {
		return nil // not there yet: on a file system that is mounted later
	}
	o.advice.known = map[string]time.Duration{}
	note := func(action, limit string) {
		if d, err := haresources.ParseDuration(limit); err == nil {
			o.advice.known[action] = max(o.advice.known[action], d)
		}
	}
	for _, found := range adviceInText.FindAllStringSubmatch(string(text), -1) {
		note(found[1], found[2])
	}
	if len(o.advice.known) > 0 {
		return o.advice.known
	}
	if m, err := o.metadata(); err == nil {
		for _, a := range m.Actions {
			note(a.Name, a.Timeout)
		}
	}
	return o.advice.known
}
