package agent_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hapair/heartbeat/rehearsal/require"
)

// disk makes a file system in a file, and says where it is on a loop device of the node.
func disk(t testing.TB, n *node) string {
	t.Helper()
	require.Tool(t, "mkfs.ext4", "a file system on a block device")
	require.Tool(t, "losetup", "a file system on a block device")
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", image).CombinedOutput(); err != nil {
		t.Fatalf("mkfs: %v: %s", err, out)
	}
	r := n.do(order{Op: "sh", Spec: "losetup --find --show " + image})
	if r.Err != "" {
		require.Skip(t, "a file system on a block device", "no loop devices here: "+r.Err)
	}
	device := strings.TrimSpace(r.Output)
	t.Cleanup(func() { exec.Command("losetup", "-d", device).Run() })
	return device
}

func TestFilesystemIsMountedAndUnmounted(t *testing.T) {
	n := newNode(t)
	dir := t.TempDir()
	spec := "Filesystem::" + disk(t, n) + "::" + dir + "/::ext4::noatime"
	n.expect(spec, "stopped")
	for range 2 {
		for range 2 {
			n.start(spec)
			n.expect(spec, "running")
		}
		has(t, n.sh("cat /proc/mounts"), dir+" ext4 rw,noatime")
		for range 2 {
			n.stop(spec)
			n.expect(spec, "stopped")
		}
	}
	if r := n.must(order{Op: "check", Spec: spec}); len(r.Faults) != 0 {
		t.Errorf("check: %v", r.Faults)
	}
}

func TestFilesystemEndsItsUsers(t *testing.T) {
	n := newNode(t)
	dir := t.TempDir()
	spec := "Filesystem::" + disk(t, n) + "::" + dir
	n.start(spec)
	// It must be deaf before the stop begins, or it ends as it is told to.
	deaf := filepath.Join(t.TempDir(), "deaf")
	n.sh("mkdir " + dir + "/sub; mount -t tmpfs none " + dir + "/sub; cd " + dir + `; (setsid sh -c 'trap "" TERM; : >` + deaf + `; while :; do sleep 1; done' >/dev/null 2>&1 &) ; (setsid sleep 60 3<` + dir + ` >/dev/null 2>&1 &)`)
	eventually(t, 10*time.Second, "a user of the mount is deaf to TERM", func() bool { _, err := os.Stat(deaf); return err == nil })
	begin := time.Now()
	r := n.stop(spec)
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("took %v", took)
	}
	has(t, r.Output, "sent TERM", "sent KILL", "(sleep)", "works in "+dir)
	n.expect(spec, "stopped")
	hasNot(t, n.sh("cat /proc/mounts"), dir)
}

func TestFilesystemNamesWhatTheKernelHolds(t *testing.T) {
	n := newNode(t)
	dir := t.TempDir()
	device := disk(t, n)
	spec := "Filesystem::" + device + "::" + dir
	n.start(spec)
	n.sh("dd if=/dev/zero of=" + dir + "/inner bs=1M count=1 2>/dev/null")
	inner := strings.TrimSpace(n.sh("losetup --find --show " + dir + "/inner"))
	r := n.do(order{Op: "stop", Spec: spec})
	has(t, r.Err+r.Output, "still writes to it", "loop device", "detached")
	n.expect(spec, "failed")
	n.sh("losetup -d " + inner)
	eventually(t, 5*time.Second, "the stop succeeds", func() bool { return n.do(order{Op: "stop", Spec: spec}).Err == "" })
	n.expect(spec, "stopped")
}

func TestFilesystemSeesErrorsAndStrangers(t *testing.T) {
	n := newNode(t)
	dir := t.TempDir()
	device := disk(t, n)
	spec := "Filesystem::" + device + "::" + dir
	n.sh("mount -t tmpfs stranger " + dir)
	if r := n.expect(spec, "unknown"); !strings.Contains(r.Err, "something else") {
		t.Errorf("status: %q", r.Err)
	}
	if r := n.do(order{Op: "start", Spec: spec}); !strings.Contains(r.Err, "something else") {
		t.Errorf("start over a stranger: %q", r.Err)
	}
	n.stop(spec)
	has(t, n.sh("cat /proc/mounts"), "stranger")
	n.sh("umount " + dir)
	n.start(spec)
	n.sh("mount -o remount,ro " + dir)
	if r := n.expect(spec, "failed"); !strings.Contains(r.Err, "read-only") {
		t.Errorf("status of a file system that has seen an error: %q", r.Err)
	}
	n.stop(spec)
	if r := n.do(order{Op: "start", Spec: "Filesystem::" + device + "::" + dir + "::vfat"}); r.Err == "" {
		t.Error("mounted as a type that it is not")
	}
	r := n.must(order{Op: "check", Spec: "Filesystem::/dev/nosuch::/nosuch/dir::nosuchfs"})
	has(t, strings.Join(r.Faults, "\n"), "/nosuch/dir is not there", "/dev/nosuch is not there now", "nosuchfs")
}
