package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// base is where the laboratory keeps its own files: on a tmpfs that only its mount namespace has.
const base = "/run/lab"

// hostDir is the name under which a private directory shows what the host has there.
const hostDir = ".host"

// Lab is the inside of the namespaces that Enter made. One process has one Lab.
type Lab struct {
	kept     map[string]string
	switches int
}

// Open prepares the file system inside the namespaces: fresh /proc and /run, and an /etc and a /var/lib that machines can
// have private directories in whatever the host has there. The files and directories in keep stay reachable by Kept,
// even those that the new mounts hide.
func Open(keep ...string) (*Lab, error) {
	l := &Lab{kept: map[string]string{}}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("make mounts private: %w", err)
	}
	handles, err := openAll(keep)
	if err != nil {
		return nil, err
	}
	if err := mountTmpfs("/run"); err != nil {
		return nil, err
	}
	for i, f := range handles {
		target := filepath.Join(base, "kept", fmt.Sprint(i))
		if err := bind(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), target); err != nil {
			return nil, fmt.Errorf("keep %s: %w", keep[i], err)
		}
		f.Close()
		l.kept[keep[i]] = target
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return nil, fmt.Errorf("mount /proc: %w (a container that masks /proc forbids this)", err)
	}
	for _, dir := range privateDirs {
		if err := privatise(dir.path, dir.private); err != nil {
			return nil, err
		}
	}
	if err := mountAt("devpts", base+"/pts", "newinstance,ptmxmode=0666,mode=0620"); err != nil {
		return nil, err
	}
	return l, upLoopback()
}

// Kept is where a path given to Open is to be found now.
func (l *Lab) Kept(path string) string { return l.kept[path] }

// HostPath is where the laboratory sees what the host has at a path below a directory that Open made private.
func HostPath(path string) string {
	for _, dir := range privateDirs {
		if rest, ok := strings.CutPrefix(path, dir.path+"/"+dir.private); ok {
			return filepath.Join(dir.path, hostDir, dir.private, rest)
		}
	}
	return path
}

// privateDirs are directories of machines that the host need not have, and where they are.
var privateDirs = []struct{ path, private string }{{"/etc", "ha.d"}, {"/var/lib", "heartbeat"}}

// Dir makes and returns a directory for files of the laboratory, readable by all.
func (l *Lab) Dir(elem ...string) (string, error) {
	dir := filepath.Join(append([]string{base, "files"}, elem...)...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make %s: %w", dir, err)
	}
	return dir, nil
}

// openAll opens each path as a handle that a later mount over it does not hide.
func openAll(paths []string) ([]*os.File, error) {
	var files []*os.File
	for _, p := range paths {
		fd, err := unix.Open(p, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", p, err)
		}
		files = append(files, os.NewFile(uintptr(fd), p))
	}
	return files, nil
}

// privatise replaces a directory by one of our own that has an empty directory private, and everything else as on the
// host, by symbolic links: so that a machine can mount something over DIR/private, which the host may not even have.
func privatise(dir, private string) error {
	aside := filepath.Join(base, "aside", dir)
	if err := bind(dir, aside); err != nil {
		return fmt.Errorf("set %s aside: %w", dir, err)
	}
	if err := mountTmpfs(dir); err != nil {
		return err
	}
	host := filepath.Join(dir, hostDir)
	if err := bind(aside, host); err != nil {
		return fmt.Errorf("show the host's %s: %w", dir, err)
	}
	entries, err := os.ReadDir(host)
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	for _, e := range entries {
		if e.Name() == private || e.Name() == "hosts" {
			continue
		}
		if err := os.Symlink(filepath.Join(hostDir, e.Name()), filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("link to the host's %s: %w", e.Name(), err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, private), 0o755); err != nil {
		return fmt.Errorf("make %s/%s: %w", dir, private, err)
	}
	if dir == "/etc" {
		return os.WriteFile("/etc/hosts", []byte("127.0.0.1 localhost\n"), 0o644)
	}
	return nil
}

// mountTmpfs mounts an empty tmpfs over an existing directory.
func mountTmpfs(dir string) error {
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID, "mode=0755"); err != nil {
		return fmt.Errorf("mount tmpfs on %s: %w", dir, err)
	}
	return nil
}

// mountAt makes a directory and mounts a file system of the given kind on it.
func mountAt(kind, dir, options string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	if err := unix.Mount(kind, dir, kind, unix.MS_NOSUID|unix.MS_NOEXEC, options); err != nil {
		return fmt.Errorf("mount %s on %s: %w", kind, dir, err)
	}
	return nil
}

// bind shows source, with what is mounted below it, at target, which is made when it does not exist.
func bind(source, target string) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if err := makeMountPoint(target, info.IsDir()); err != nil {
		return err
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return &os.PathError{Op: "bind", Path: target, Err: err}
	}
	return nil
}

// makeMountPoint makes target as a directory or an empty file, unless it is there.
func makeMountPoint(target string, dir bool) error {
	if _, err := os.Stat(target); err == nil {
		return nil
	}
	if dir {
		return os.MkdirAll(target, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY|syscall.O_NOCTTY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}
