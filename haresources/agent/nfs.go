package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hapair/haresources"
	"hapair/heartbeat/fault"
)

// nfsExport is the resource NFSExport::DIRECTORY::CLIENT[::OPTIONS]: a directory that the running NFS server exports.
type nfsExport struct {
	env     Environment
	dir     string
	client  string // what exportfs takes: *, a subnet, a host name
	options string
}

// openNFSExport makes the agent.
func openNFSExport(env Environment, r haresources.Resource) (haresources.Agent, error) {
	_, rest, _ := strings.Cut(r.Spec, "::")
	words := splitArguments(rest)
	if len(words) < 2 || len(words) > 3 {
		return nil, errors.New("write NFSExport::DIRECTORY::CLIENT[::OPTIONS], for instance NFSExport::/srv/nfs::192.0.2.0/24::rw,fsid=1")
	}
	e := &nfsExport{env: env, dir: filepath.Clean(words[0]), client: strings.NewReplacer("[", "", "]", "").Replace(words[1]), options: "rw"}
	if len(words) > 2 {
		e.options = words[2]
	}
	if !filepath.IsAbs(e.dir) {
		return nil, fmt.Errorf("%q is not the path of a directory", words[0])
	}
	if strings.HasPrefix(e.client, "-") || strings.HasPrefix(e.options, "-") {
		return nil, fmt.Errorf("write the client and the options without dashes: %s", rest)
	}
	return e, nil
}

// target is the export as exportfs names it: an IPv6 client stands in brackets.
func (e *nfsExport) target() string {
	head, rest, slashed := strings.Cut(e.client, "/")
	if a, err := netip.ParseAddr(head); err != nil || !a.Is6() {
		return e.client + ":" + e.dir
	}
	if slashed {
		rest = "/" + rest
	}
	return "[" + head + "]" + rest + ":" + e.dir
}

// Timeout is short: exportfs only waits for name servers.
func (e *nfsExport) Timeout(haresources.Operation) time.Duration { return 20 * time.Second }

// Describe says what is exported to whom.
func (e *nfsExport) Describe() string {
	return fmt.Sprintf("%s for %s (%s)", e.dir, e.client, e.options)
}

// exportfs runs the program.
func (e *nfsExport) exportfs(ctx context.Context, args ...string) ([]string, error) {
	lines, err := tool{name: "exportfs", args: args}.run(ctx, e.env)
	if err != nil {
		return lines, lastWords(err, lines)
	}
	return lines, nil
}

// Start exports the directory.
func (e *nfsExport) Start(ctx context.Context) error {
	_, err := e.exportfs(ctx, "-i", "-o", e.options, e.target())
	return err
}

// Stop ends the export, and has the kernel forget the files that clients have open, so that the file system can go.
func (e *nfsExport) Stop(ctx context.Context) error {
	here, err := e.exported(ctx)
	if err != nil || !here {
		return err
	}
	if _, err := e.exportfs(ctx, "-u", e.target()); err != nil {
		return err
	}
	_, err = e.exportfs(ctx, "-f")
	return err
}

// exported looks into the list of exports.
func (e *nfsExport) exported(ctx context.Context) (bool, error) {
	lines, err := e.exportfs(ctx, "-s")
	if err != nil {
		return false, err
	}
	for _, line := range lines {
		fields := strings.Fields(line)
		if len(fields) < 2 || filepath.Clean(fields[0]) != e.dir {
			continue
		}
		client, _, _ := strings.Cut(fields[1], "(")
		if client == e.client || client == "<world>" && e.client == "*" {
			return true, nil
		}
	}
	return false, nil
}

// Status says whether the directory is exported to the client.
func (e *nfsExport) Status(ctx context.Context) (haresources.State, error) {
	here, err := e.exported(ctx)
	switch {
	case err != nil:
		return haresources.Unknown, err
	case here:
		return haresources.Running, nil
	}
	return haresources.Stopped, nil
}

// Check looks for the program, and for what makes file handles differ between the nodes.
func (e *nfsExport) Check() (list fault.List) {
	if _, err := findTool(e.env, "exportfs"); err != nil {
		list.Addf(fault.Fault{Severity: fault.Error}, "install nfs-kernel-server", "%v", err)
	}
	options := strings.Split(e.options, ",")
	if !slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, "fsid=") }) {
		list.Addf(fault.Fault{Severity: fault.Warning}, "add fsid=NUMBER, the same on both nodes and different for each file system",
			"without fsid= clients may find their file handles stale after a takeover")
	}
	if slices.Contains(options, "async") {
		list.Addf(fault.Fault{Severity: fault.Warning}, "use sync", "async: what a client was told is written may be lost in a takeover")
	}
	return list
}
