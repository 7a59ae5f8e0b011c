package agent

// UnitState reads what systemctl prints, for tests on machines without systemd.
var UnitState = unitState
