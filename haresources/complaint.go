package haresources

// Complainer has something to say that needs a person although its resource may run: rules that could not be loaded, connections
// that the other node does not get to know. It is asked on both nodes, whether the group is held or not.
type Complainer interface {
	Complaint() error // nil while all is well
}

// Correspondent compares notes with the same resource on the other node, now and then.
type Correspondent interface {
	Letter() string     // what the other one is to know, "" for nothing
	Read(letter string) // what the other one wants known
}

// Complaints are the complaints of all resources, by the words on their lines.
func (m *Manager) Complaints() map[string]error {
	all := map[string]error{}
	for _, it := range m.everything() {
		if c, ok := it.agent.(Complainer); ok {
			if err := c.Complaint(); err != nil {
				all[it.spec()] = err
			}
		}
	}
	return all
}

// Letters are what the resources want known by the same ones on the other node, by the words on their lines.
func (m *Manager) Letters() map[string]string {
	all := map[string]string{}
	for _, it := range m.everything() {
		if c, ok := it.agent.(Correspondent); ok {
			if letter := c.Letter(); letter != "" {
				all[it.spec()] = letter
			}
		}
	}
	return all
}

// Read hands what a resource on the other node wants known to the same one here; there may be none.
func (m *Manager) Read(spec, letter string) {
	for _, it := range m.everything() {
		if c, ok := it.agent.(Correspondent); ok && it.spec() == spec {
			c.Read(letter)
		}
	}
}

// everything is every item of every group.
func (m *Manager) everything() (all []*item) {
	for _, g := range m.everyGroup() {
		all = append(all, g.snapshot()...)
	}
	return all
}
