package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"hapair/haresources"
	"hapair/heartbeat/fault"
)

// drbddisk is the resource drbddisk[::NAME]: this node is the primary of a DRBD resource, or of all of them. The replication
// itself is DRBD's, and runs on both nodes all the time.
type drbddisk struct {
	env  Environment
	name string
	last string // what DRBD said of the disks last
}

// drbdRetry is the pause between two attempts: right after a switch the other node may be primary for an instant still.
const drbdRetry = 500 * time.Millisecond

// openDRBD makes the agent.
func openDRBD(env Environment, r haresources.Resource) (haresources.Agent, error) {
	d := &drbddisk{env: env, name: "all"}
	if len(r.Args) > 1 {
		return nil, errors.New("drbddisk takes one argument, the name of the DRBD resource; without one it means all of them")
	}
	if len(r.Args) == 1 {
		d.name = r.Args[0]
	}
	if strings.HasPrefix(d.name, "-") || strings.ContainsAny(d.name, "/") {
		return nil, fmt.Errorf("%q is not the name of a DRBD resource (not a device: see /etc/drbd.d)", d.name)
	}
	return d, nil
}

// Timeout is less than the default: DRBD answers at once or not at all.
func (d *drbddisk) Timeout(op haresources.Operation) time.Duration {
	if op == haresources.OpStatus {
		return 10 * time.Second
	}
	return 30 * time.Second
}

// Describe says what DRBD says.
func (d *drbddisk) Describe() string { return d.last }

// adm runs drbdadm.
func (d *drbddisk) adm(ctx context.Context, verb string) ([]string, error) {
	lines, err := tool{name: "drbdadm", args: []string{verb, d.name}}.run(ctx, d.env)
	if err != nil {
		return lines, lastWords(err, lines)
	}
	return lines, nil
}

// Start makes this node primary. It tries again until the other node has let go, or time is up.
func (d *drbddisk) Start(ctx context.Context) error { return d.become(ctx, "primary") }

// Stop makes this node secondary. It tries again while the device is still open.
func (d *drbddisk) Stop(ctx context.Context) error { return d.become(ctx, "secondary") }

// become changes the role.
func (d *drbddisk) become(ctx context.Context, role string) error {
	var refused error
	for tries := 1; ; tries++ {
		_, err := d.adm(ctx, role)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil && refused != nil:
			return fmt.Errorf("%w after %d attempts: %w", context.Cause(ctx), tries, refused)
		case errors.Is(err, haresources.ErrUnkillable) || !retryDRBD(err):
			return drbdHint(role, err)
		}
		if refused = drbdHint(role, err); tries == 1 {
			say(ctx, fmt.Sprintf("drbdadm %s %s is tried again: %v", role, d.name, err))
		}
		if waitErr := wait(ctx, drbdRetry); waitErr != nil {
			return fmt.Errorf("%w after %d attempts: %w", waitErr, tries, refused)
		}
	}
}

// retryDRBD says whether trying again may help: the other node is still primary, or the device is still open here.
func retryDRBD(err error) bool {
	text := err.Error()
	return strings.Contains(text, "Multiple primaries") || strings.Contains(text, "held open") || strings.Contains(text, "(-1)") || strings.Contains(text, "(-12)")
}

// drbdHint says what DRBD's words mean.
func drbdHint(role string, err error) error {
	text := err.Error()
	switch {
	case strings.Contains(text, "Multiple primaries") || strings.Contains(text, "(-1)"):
		return fmt.Errorf("become %s: %w (the other node is primary still: DRBD reaches it although heartbeat does not)", role, err)
	case strings.Contains(text, "UpToDate") || strings.Contains(text, "(-2)"):
		return fmt.Errorf("become %s: %w (the data here are not current; if the other node is lost for good: drbdadm primary --force)", role, err)
	case strings.Contains(text, "held open") || strings.Contains(text, "(-12)"):
		return fmt.Errorf("become %s: %w (is it mounted, or exported, outside of this group?)", role, err)
	case strings.Contains(text, "not defined") || strings.Contains(text, "no resources defined"):
		return fmt.Errorf("become %s: %w (see /etc/drbd.d)", role, err)
	}
	return fmt.Errorf("become %s: %w", role, err)
}

// Status asks for the role.
func (d *drbddisk) Status(ctx context.Context) (haresources.State, error) {
	lines, err := d.adm(ctx, "role")
	if err != nil {
		if exitCode(err) > 0 {
			return haresources.Stopped, nil // not configured in the kernel, or the module is not loaded: certainly not primary
		}
		return haresources.Unknown, err
	}
	d.last = strings.Join(lines, " ")
	primary, other := 0, 0
	for _, line := range lines {
		switch role, _, _ := strings.Cut(line, "/"); role { // DRBD 8 says OWN/OTHER, DRBD 9 OWN
		case "Primary":
			primary++
		case "Secondary", "Unknown", "Unconfigured":
			other++
		default:
			return haresources.Unknown, fmt.Errorf("drbdadm role %s: what is %q?", d.name, line)
		}
	}
	switch {
	case primary > 0 && other > 0:
		return haresources.Failed, fmt.Errorf("primary of %d DRBD resources, not of %d others", primary, other)
	case primary > 0:
		return haresources.Running, nil
	}
	return haresources.Stopped, nil
}

// Check looks for the program and the resource.
func (d *drbddisk) Check() (list fault.List) {
	if _, err := findTool(d.env, "drbdadm"); err != nil {
		list.Addf(fault.Fault{Severity: fault.Error}, "install drbd-utils", "%v", err)
		return list
	}
	if os.Geteuid() != 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	lines, err := tool{name: "drbdadm", args: []string{"sh-resources"}}.run(ctx, d.env)
	names := strings.Fields(strings.Join(lines, " "))
	if err == nil && d.name != "all" && !slices.Contains(names, d.name) {
		hint := ""
		if near := fault.Nearest(d.name, names); near != "" {
			hint = "did you mean " + near + "?"
		}
		list.Addf(fault.Fault{Severity: fault.Error}, hint, "DRBD has no resource %q", d.name)
	}
	return list
}
