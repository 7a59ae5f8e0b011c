package agent

import (
	"context"
	"fmt"
	"strings"

	"hapair/haresources"
)

// DRBDState is what DRBD says of a resource: whether the data here are current, and whether those of the other node are.
type DRBDState struct {
	Name       string
	Disks      []string // own and peer's, as "UpToDate/UpToDate", one for each volume
	Connection []string // "Connected", "StandAlone", …
}

// DRBDName is the DRBD resource that a resource of haresources makes primary; "" where it has nothing to do with DRBD.
func DRBDName(r haresources.Resource) string {
	switch {
	case r.Class == haresources.ClassHeartbeat && r.Name == "drbddisk":
		if len(r.Args) == 1 {
			return r.Args[0]
		}
		return "all"
	case r.Class == haresources.ClassOCF && strings.HasSuffix(r.Name, ":drbd"):
		for _, arg := range r.Args {
			if name, found := strings.CutPrefix(arg, "drbd_resource="); found {
				return name
			}
		}
	}
	return ""
}

// AskDRBD asks drbdadm for the state of a resource. It changes nothing.
func AskDRBD(ctx context.Context, name string, env Environment) (DRBDState, error) {
	s := DRBDState{Name: name}
	for verb, where := range map[string]*[]string{"dstate": &s.Disks, "cstate": &s.Connection} {
		lines, err := tool{name: "drbdadm", args: []string{verb, name}}.run(ctx, env)
		if err != nil {
			return s, fmt.Errorf("drbdadm %s %s: %w", verb, name, lastWords(err, lines))
		}
		*where = lines
	}
	return s, nil
}
