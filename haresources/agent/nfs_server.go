package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hapair/haresources"
	"hapair/heartbeat/fault"
	"hapair/heartbeat/host"
)

// nfsServer is the resource NFSServer::STATE[::grace=SECONDS][::lease=SECONDS][::threads=NUMBER]: the kernel's NFSv4 server.
// STATE is a directory on the file system that moves with the group; it stands in the place of /var/lib/nfs while the server
// runs, so that the next node knows the clients and lets them reclaim what they held.
type nfsServer struct {
	env     Environment
	state   string
	grace   int // seconds in which clients of before reclaim, and nobody else gets a lock
	lease   int // seconds between two signs of life of a client
	threads int
}

// Where the server and its state are.
const (
	nfsVar     = "/var/lib/nfs"
	nfsControl = "/proc/fs/nfsd"
)

// openNFSServer makes the agent.
func openNFSServer(env Environment, r haresources.Resource) (haresources.Agent, error) {
	a, err := parseArguments(r, "grace", "lease", "threads")
	if err != nil {
		return nil, err
	}
	if len(a.plain) != 1 || !filepath.IsAbs(a.plain[0]) {
		return nil, errors.New("write NFSServer::DIRECTORY[::grace=10][::lease=10][::threads=8]; the directory is on the file system that moves")
	}
	s := &nfsServer{env: env, state: filepath.Clean(a.plain[0])}
	for _, n := range []struct {
		name                   string
		least, most, otherwise int
		into                   *int
	}{{"lease", 10, 3600, 10, &s.lease}, {"grace", 10, 3600, 10, &s.grace}, {"threads", 1, 4096, 8, &s.threads}} {
		if *n.into, err = parseNumber(a.named[n.name], n.name, n.most, n.otherwise); err != nil {
			return nil, err
		}
		if *n.into < n.least {
			return nil, fmt.Errorf("%s: %d is less than the kernel takes, which is %d", n.name, *n.into, n.least)
		}
	}
	if s.grace < s.lease {
		return nil, fmt.Errorf("grace=%d is shorter than lease=%d: a client that is alive could miss its time to reclaim", s.grace, s.lease)
	}
	return s, nil
}

// Timeout leaves room for threads that wait for a disk.
func (s *nfsServer) Timeout(haresources.Operation) time.Duration { return time.Minute }

// Describe says how long clients may have to wait.
func (s *nfsServer) Describe() string {
	return fmt.Sprintf("%d threads, lease %d s, grace %d s, state in %s", s.threads, s.lease, s.grace, s.state)
}

// do runs one of the system's programs.
func (s *nfsServer) do(ctx context.Context, name string, args ...string) error {
	lines, err := tool{name: name, args: args}.run(ctx, s.env)
	if err != nil {
		return lastWords(err, lines)
	}
	return nil
}

// control writes one of the server's settings.
func (s *nfsServer) control(name, value string) error {
	if err := os.WriteFile(filepath.Join(nfsControl, name), []byte(value+"\n"), 0); err != nil {
		return fmt.Errorf("set %s of the NFS server: %w", name, err)
	}
	return nil
}

// running is the number of the server's threads; 0 also where the kernel has no server.
func (s *nfsServer) running() (int, error) {
	text, err := os.ReadFile(filepath.Join(nfsControl, "threads"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("ask the NFS server: %w", err)
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// ours says whether the state directory is in its place.
func (s *nfsServer) ours() (bool, error) {
	list, err := host.Mounts()
	if err != nil {
		return false, err
	}
	m, mounted := host.MountedAt(list, nfsVar)
	return mounted && strings.HasSuffix(s.state, m.Root), nil
}

// Start puts the state in its place, sets the times, and starts the threads and their helper programs.
func (s *nfsServer) Start(ctx context.Context) error {
	if err := s.place(ctx); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(nfsControl, "threads")); err != nil {
		if err := s.do(ctx, "mount", "-t", "nfsd", "nfsd", nfsControl); err != nil {
			return fmt.Errorf("%w (does this kernel have an NFS server? modprobe nfsd)", err)
		}
	}
	if n, err := s.running(); err != nil || n > 0 {
		return errors.Join(err, s.helpers(ctx))
	}
	for _, set := range []struct {
		name  string
		value int
	}{{"nfsv4leasetime", s.lease}, {"nfsv4gracetime", s.grace}} {
		if err := s.control(set.name, strconv.Itoa(set.value)); err != nil {
			return err
		}
	}
	if err := s.helpers(ctx); err != nil {
		return err
	}
	scope, err := s.scope()
	if err != nil {
		return err
	}
	// The kernel takes the name from whoever starts the threads. Only new versions of rpc.nfsd have an option for that.
	const named = `printf %s "$0" >/proc/sys/kernel/hostname && PATH=$PATH:/usr/sbin:/sbin exec rpc.nfsd "$@"`
	return s.do(ctx, "unshare", "--uts", "/bin/sh", "-c", named, scope, "--no-nfs-version", "3", strconv.Itoa(s.threads))
}

// scope is the name by which clients know the server, whichever node it runs on (RFC 8881, section 2.10.4): made once, and kept with the state. By
// default the server goes by the name of the machine; to a client the other node is another server then, of which it reclaims nothing,
// and writes under a lock that it held before fail.
func (s *nfsServer) scope() (string, error) {
	path := filepath.Join(s.state, "scope")
	text, err := os.ReadFile(path)
	if name := strings.TrimSpace(string(text)); err == nil && name != "" {
		return name, nil
	}
	name := "hapair-" + rand.Text()[:16]
	if err := host.ReplaceFile(path, []byte(name+"\n"), 0o644); err != nil {
		return "", fmt.Errorf("keep the name of the NFS server: %w", err)
	}
	return name, nil
}

// place makes the state directory, and mounts it where the server's programs look for it.
func (s *nfsServer) place(ctx context.Context) error {
	there, err := s.ours()
	if err != nil || there {
		return err
	}
	for _, sub := range []string{"", "v4recovery", "nfsdcld", "sm", "sm.bak"} {
		if err := os.MkdirAll(filepath.Join(s.state, sub), 0o755); err != nil {
			return fmt.Errorf("make the state of the NFS server: %w", err)
		}
	}
	for _, name := range []string{"etab", "rmtab", "xtab"} {
		f, err := os.OpenFile(filepath.Join(s.state, name), os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return fmt.Errorf("make the state of the NFS server: %w", err)
		}
		f.Close()
	}
	return s.do(ctx, "mount", "--bind", s.state, nfsVar)
}

// nfsHelpers are the programs that the server needs: one says which export a request is for, one remembers clients.
var nfsHelpers = []struct {
	name     string
	args     []string
	optional bool
}{{"rpc.mountd", []string{"--no-nfs-version", "3"}, false}, {"nfsdcld", nil, true}}

// helpers starts those that do not run.
func (s *nfsServer) helpers(ctx context.Context) error {
	for _, h := range nfsHelpers {
		if len(processes(h.name)) > 0 {
			continue
		}
		if _, err := findTool(s.env, h.name); err != nil && h.optional {
			continue
		}
		if err := s.do(ctx, h.name, h.args...); err != nil {
			return err
		}
	}
	return nil
}

// processes are those that run a program, by the kernel's short name, in this mount namespace.
func processes(name string) (pids []int) {
	short := name[:min(len(name), 15)]
	own, _ := os.Readlink("/proc/self/ns/mnt")
	files, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, file := range files {
		text, err := os.ReadFile(file)
		dir := filepath.Dir(file)
		if space, _ := os.Readlink(filepath.Join(dir, "ns/mnt")); err != nil || space != own || strings.TrimSpace(string(text)) != short {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Stop ends the threads and the helper programs, and takes the state away. It touches nothing that it did not start: a
// server whose state is not ours stays.
func (s *nfsServer) Stop(ctx context.Context) error {
	there, err := s.ours()
	if err != nil || !there {
		return err
	}
	if n, err := s.running(); err != nil {
		return err
	} else if n > 0 {
		if err := s.control("threads", "0"); err != nil {
			return err
		}
	}
	for _, h := range nfsHelpers {
		if err := endProcesses(ctx, h.name); err != nil {
			return err
		}
	}
	return s.do(ctx, "umount", nfsVar)
}

// endProcesses ends every process of a program: TERM, then KILL.
func endProcesses(ctx context.Context, name string) error {
	for _, step := range []struct {
		signal unix.Signal
		grace  time.Duration
	}{{unix.SIGTERM, termGrace}, {unix.SIGKILL, killGrace}} {
		for _, pid := range processes(name) {
			if err := host.Signal(pid, step.signal); err != nil {
				return err
			}
		}
		for deadline := time.Now().Add(step.grace); len(processes(name)) > 0 && time.Now().Before(deadline); {
			if err := wait(ctx, 20*time.Millisecond); err != nil {
				return err
			}
		}
		if len(processes(name)) == 0 {
			return nil
		}
	}
	return fmt.Errorf("%w: %s", haresources.ErrUnkillable, name)
}

// Status counts threads and helper programs.
func (s *nfsServer) Status(context.Context) (haresources.State, error) {
	there, err := s.ours()
	if err != nil {
		return haresources.Unknown, err
	}
	n, err := s.running()
	switch {
	case err != nil:
		return haresources.Unknown, err
	case !there && n > 0:
		return haresources.Unknown, fmt.Errorf("an NFS server runs, but its state is not in %s: switch the system's own service off (systemctl disable --now nfs-server)", s.state)
	case !there:
		return haresources.Stopped, nil
	case n == 0:
		return haresources.Failed, errors.New("the server has no threads")
	case len(processes(nfsHelpers[0].name)) == 0:
		return haresources.Failed, errors.New("rpc.mountd does not run")
	}
	return haresources.Running, nil
}

// Check looks for the programs.
func (s *nfsServer) Check() (list fault.List) {
	for _, name := range []string{"rpc.nfsd", "rpc.mountd"} {
		if _, err := findTool(s.env, name); err != nil {
			list.Addf(fault.Fault{Severity: fault.Error}, "install nfs-kernel-server", "%v", err)
		}
	}
	if strings.HasPrefix(s.state+"/", nfsVar+"/") {
		list.Addf(fault.Fault{Severity: fault.Error}, "name a directory on the file system that moves", "%s is on this node only", s.state)
	}
	return list
}
