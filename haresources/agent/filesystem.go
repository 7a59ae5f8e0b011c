package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hapair/haresources"
	"hapair/heartbeat/fault"
	"hapair/heartbeat/host"
)

// filesystem is the resource Filesystem::DEVICE::DIRECTORY[::TYPE[::OPTIONS]]: a mounted file system. DEVICE is what mount
// takes: a block device, LABEL=…, UUID=…, -LLABEL, -UUUID, SERVER:/PATH.
type filesystem struct {
	env      Environment
	device   string
	dir      string
	kind     string // "" lets mount find out
	options  string
	detached bool // it was taken out of the directory tree while in use
}

// How long the processes that use a file system are given.
const (
	termGrace   = 5 * time.Second
	killGrace   = 3 * time.Second
	umountLimit = 20 * time.Second // for one call of umount
)

// openFilesystem makes the agent.
func openFilesystem(env Environment, r haresources.Resource) (haresources.Agent, error) {
	_, rest, _ := strings.Cut(r.Spec, "::")
	words := splitArguments(rest)
	if len(words) < 2 || len(words) > 4 {
		return nil, errors.New("write Filesystem::DEVICE::DIRECTORY[::TYPE[::OPTIONS]]")
	}
	f := &filesystem{env: env, device: words[0], dir: filepath.Clean(words[1])}
	if len(words) > 2 {
		f.kind = words[2]
	}
	if len(words) > 3 {
		f.options = words[3]
	}
	if !filepath.IsAbs(f.dir) || f.dir == "/" {
		return nil, fmt.Errorf("not a directory to mount at: %q", words[1])
	}
	if strings.HasPrefix(f.kind, "-") || strings.HasPrefix(f.options, "-") {
		return nil, fmt.Errorf("write the type and the options without -t and -o: %s", rest)
	}
	return f, nil
}

// Timeout leaves room for the replay of a journal, and for processes to end.
func (f *filesystem) Timeout(op haresources.Operation) time.Duration {
	if op == haresources.OpStatus {
		return 0
	}
	return 90 * time.Second
}

// Describe says what is mounted where.
func (f *filesystem) Describe() string { return fmt.Sprintf("%s at %s", f.device, f.dir) }

// point is the directory as the kernel names it.
func (f *filesystem) point() string {
	if real, err := filepath.EvalSymlinks(filepath.Dir(f.dir)); err == nil {
		return filepath.Join(real, filepath.Base(f.dir))
	}
	return f.dir
}

// find is what is mounted at the directory; ours says whether it is this resource.
func (f *filesystem) find() (m host.Mount, mounted, ours bool, err error) {
	list, err := host.Mounts()
	if err != nil {
		return m, false, false, err
	}
	m, mounted = host.MountedAt(list, f.point())
	return m, mounted, mounted && f.same(m), nil
}

// same says whether a mount is that of our device.
func (f *filesystem) same(m host.Mount) bool {
	if slices.Contains(strings.Split(f.options, ","), "bind") || strings.TrimSuffix(m.Source, "/") == strings.TrimSuffix(f.device, "/") {
		return true
	}
	want, block := host.DeviceNumber(f.path())
	if !block {
		return false
	}
	source, _ := host.DeviceNumber(m.Source)
	return m.Device == want || source == want
}

// path is the device's file, where it has one.
func (f *filesystem) path() string {
	for prefix, dir := range map[string]string{
		"LABEL=": "by-label", "-L": "by-label", "UUID=": "by-uuid", "-U": "by-uuid", "PARTUUID=": "by-partuuid", "PARTLABEL=": "by-partlabel",
	} {
		if name, found := strings.CutPrefix(f.device, prefix); found {
			return filepath.Join("/dev/disk", dir, strings.Trim(strings.TrimSpace(name), `"`))
		}
	}
	return f.device
}

// errOccupied says that something else is where the file system belongs.
var errOccupied = errors.New("something else is mounted there")

// Start mounts the file system.
func (f *filesystem) Start(ctx context.Context) error {
	m, mounted, ours, err := f.find()
	switch {
	case err != nil:
		return err
	case ours:
		f.detached = false
		return nil
	case mounted:
		return fmt.Errorf("%w: %s at %s", errOccupied, m.Source, m.Point)
	}
	if info, err := os.Stat(f.dir); err != nil || !info.IsDir() {
		return fmt.Errorf("mount at %s: not a directory (make it on both nodes)", f.dir)
	}
	var args []string
	if f.kind != "" {
		args = append(args, "-t", f.kind)
	}
	if f.options != "" {
		args = append(args, "-o", f.options)
	}
	args = append(args, f.device, f.dir)
	lines, err := tool{name: "mount", args: args}.run(ctx, f.env)
	if err != nil {
		return lastWords(err, lines)
	}
	m, _, ours, err = f.find()
	switch {
	case err != nil:
		return err
	case !ours:
		return fmt.Errorf("mount has succeeded, but %s is not mounted at %s", f.device, f.dir)
	case m.ReadOnly() && !f.readOnly():
		return fmt.Errorf("%s could be mounted for reading only: it is damaged, or its device refuses writes (is it primary here?)", f.device)
	}
	f.detached = false
	return nil
}

// lastWords adds what a program has written to its error.
func lastWords(err error, lines []string) error {
	var exit *host.ExitError
	if errors.As(err, &exit) && exit.Last != "" || len(lines) == 0 {
		return err
	}
	return fmt.Errorf("%w: %s", err, lines[len(lines)-1])
}

// readOnly says whether that is what was asked for.
func (f *filesystem) readOnly() bool { return slices.Contains(strings.Split(f.options, ","), "ro") }

// Status looks at the list of mounts.
func (f *filesystem) Status(context.Context) (haresources.State, error) {
	m, mounted, ours, err := f.find()
	switch {
	case err != nil:
		return haresources.Unknown, err
	case ours && m.ReadOnly() && !f.readOnly():
		return haresources.Failed, fmt.Errorf("%s has become read-only: the kernel has met an error on it", f.device)
	case ours:
		return haresources.Running, nil
	case mounted:
		return haresources.Unknown, fmt.Errorf("%w: %s at %s", errOccupied, m.Source, m.Point)
	case f.detached && host.DeviceBusy(f.path()):
		return haresources.Failed, f.stillBusy()
	}
	return haresources.Stopped, nil
}

// Check looks at the directory and the type; the device of a standby node need not be there.
func (f *filesystem) Check() (list fault.List) {
	if info, err := os.Stat(f.dir); err != nil {
		list.Addf(fault.Fault{Severity: fault.Error}, "mkdir -p "+f.dir, "%s is not there", f.dir)
	} else if !info.IsDir() {
		list.Addf(fault.Fault{Severity: fault.Error}, "", "%s is not a directory", f.dir)
	}
	if strings.HasPrefix(f.device, "/dev/") {
		if info, err := os.Stat(f.device); err != nil {
			list.Addf(fault.Fault{Severity: fault.Warning}, "", "%s is not there now", f.device)
		} else if info.Mode()&os.ModeDevice == 0 {
			list.Addf(fault.Fault{Severity: fault.Error}, "", "%s is not a device", f.device)
		}
	}
	if f.kind != "" && !knownType(f.kind) {
		list.Addf(fault.Fault{Severity: fault.Warning}, "", "neither the kernel now nor a program mount.%s knows the type %s", f.kind, f.kind)
	}
	for _, program := range []string{"mount", "umount"} {
		if _, err := findTool(f.env, program); err != nil {
			list.Addf(fault.Fault{Severity: fault.Error}, "", "%v", err)
		}
	}
	return append(list, f.inTable()...)
}

// knownType says whether a type of file system can probably be mounted. A module may still have to be loaded.
func knownType(kind string) bool {
	for _, dir := range []string{"/sbin", "/usr/sbin"} {
		if _, err := os.Stat(filepath.Join(dir, "mount."+kind)); err == nil {
			return true
		}
	}
	text, err := os.ReadFile("/proc/filesystems")
	if err != nil || slices.Contains(strings.Fields(string(text)), kind) {
		return true
	}
	found, _ := filepath.Glob("/lib/modules/*/kernel/fs/" + kind)
	return len(found) > 0 || kind == "auto" || kind == "bind"
}

// inTable warns of a line in /etc/fstab that mounts the directory at every boot.
func (f *filesystem) inTable() (list fault.List) {
	text, err := os.ReadFile("/etc/fstab")
	if err != nil {
		return nil
	}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		fields := strings.Fields(line)
		if len(fields) < 4 || strings.HasPrefix(fields[0], "#") || filepath.Clean(fields[1]) != f.dir || slices.Contains(strings.Split(fields[3], ","), "noauto") {
			continue
		}
		list.Addf(fault.Fault{File: "/etc/fstab", Line: number, Severity: fault.Warning}, "add the option noauto, or remove the line",
			"%s is mounted at boot, also on the node that does not hold the group", f.dir)
	}
	return list
}
