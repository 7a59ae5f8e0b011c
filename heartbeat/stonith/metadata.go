package stonith

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strings"

	"hapair/heartbeat/fault"
)

// metadata is what a fence agent says of itself, as XML.
type metadata struct {
	Name       string `xml:"name,attr"`
	Short      string `xml:"shortdesc,attr"`
	Parameters []struct {
		Name       string `xml:"name,attr"`
		Required   string `xml:"required,attr"`
		Deprecated string `xml:"deprecated,attr"`
		Obsoletes  string `xml:"obsoletes,attr"`
		Content    struct {
			Type    string  `xml:"type,attr"`
			Default *string `xml:"default,attr"`
		} `xml:"content"`
	} `xml:"parameters>parameter"`
	Actions []struct {
		Name      string `xml:"name,attr"`
		Automatic string `xml:"automatic,attr"`
		OnTarget  string `xml:"on_target,attr"`
	} `xml:"actions>action"`
}

// readMetadata parses the answer to `metadata`; whatever stands around the XML is ignored.
func readMetadata(lines []string) (*metadata, error) {
	text := strings.Join(lines, "\n")
	const first, last = "<resource-agent", "</resource-agent>"
	from, to := strings.Index(text, first), strings.LastIndex(text, last)
	if from < 0 || to < from {
		return nil, fmt.Errorf("its metadata holds no <resource-agent>")
	}
	var m metadata
	if err := xml.Unmarshal([]byte(text[from:to+len(last)]), &m); err != nil {
		return nil, fmt.Errorf("read its metadata: %w", err)
	}
	return &m, nil
}

// parameter tells whether the agent knows a parameter.
func (m *metadata) parameter(name string) bool {
	for _, p := range m.Parameters {
		if p.Name == name {
			return true
		}
	}
	return false
}

// action tells whether the agent knows an action.
func (m *metadata) action(name string) bool {
	for _, a := range m.Actions {
		if a.Name == name {
			return true
		}
	}
	return false
}

// switchesOn tells whether `on` is for us to ask: not for agents that cut a node from its disk, which the node itself undoes
// when it is back.
func (m *metadata) switchesOn() bool {
	for _, a := range m.Actions {
		if a.Name == "on" {
			return a.Automatic != "1" && a.OnTarget != "1"
		}
	}
	return false
}

// fallback is a parameter's default, "" for none.
func (m *metadata) fallback(name string) string {
	for _, p := range m.Parameters {
		if p.Name == name && p.Content.Default != nil {
			return *p.Content.Default
		}
	}
	return ""
}

// plug is the name of the parameter that says which machine is meant, "" for an agent that has none.
func (m *metadata) plug() string {
	for _, name := range []string{"plug", "port"} {
		if m.parameter(name) {
			return name
		}
	}
	return ""
}

// check compares given parameters with what the agent wants. The name of the machine need not be given.
func (m *metadata) check(device string, given []param) error {
	has := map[string]bool{"action": true}
	for _, p := range given {
		has[p.name] = true
		if !m.parameter(p.name) && p.name != "nodename" {
			var known []string
			for _, k := range m.Parameters {
				known = append(known, k.Name)
			}
			return unknownParameter(device, p.name, known)
		}
	}
	if name := m.plug(); name != "" {
		has["plug"], has["port"] = true, true
	}
	for _, p := range m.Parameters {
		if p.Required != "1" || p.Content.Default != nil || p.Deprecated == "1" || m.given(p.Name, has) {
			continue
		}
		return fail(device, CauseParameter, "parameter %s is missing", p.Name)
	}
	return nil
}

// given tells whether a parameter was given under its present name or an older one.
func (m *metadata) given(name string, has map[string]bool) bool {
	if has[name] {
		return true
	}
	for _, p := range m.Parameters {
		if p.Name == name && p.Obsoletes != "" && slices.ContainsFunc(strings.Split(p.Obsoletes, ","), func(old string) bool { return has[old] }) {
			return true
		}
	}
	return false
}

// unknownParameter suggests the name that was probably meant.
func unknownParameter(device, name string, known []string) *Failure {
	f := fail(device, CauseUnknown, "it knows no parameter %s", name)
	slices.Sort(known)
	if near := fault.Nearest(name, known); near != "" {
		f.Remedy = "did you mean " + near + "?"
	} else {
		f.Remedy = "it knows " + strings.Join(slices.Compact(known), ", ")
	}
	return f
}
