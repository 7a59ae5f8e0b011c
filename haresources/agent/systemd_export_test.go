package agent

import "testing"

// UnitState judges the properties of a unit, for tests on machines without systemd.
var UnitState = unitState

// PretendSystemd has a directory stand for the sign that systemd runs.
func PretendSystemd(t testing.TB, dir string) {
	before := systemdRuns
	systemdRuns = dir
	t.Cleanup(func() { systemdRuns = before })
}
