package agent_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hapair/heartbeat/rehearsal/require"
)

// exportfsDouble is a test double of the program exportfs: it keeps a list as the real one prints it, and exports nothing.
const exportfsDouble = `#!/bin/sh
cd "$(dirname "$0")"; touch list
case "$1" in
-s) cat list;;
-i) client=${4%:*}; dir=${4##*:}; client=$(echo "$client" | tr -d '[]'); grep -v "^$dir  $client(" list > new; echo "$dir  $client($3,sec=sys)" >> new; mv new list;;
-u) client=${2%:*}; dir=${2##*:}; client=$(echo "$client" | tr -d '[]'); grep -v "^$dir  $client(" list > new; mv new list;;
-f) echo flushed >> flushed;;
*) echo "exportfs: what is $1?" >&2; exit 1;;
esac
`

func TestNFSExportWithTestDouble(t *testing.T) {
	n := newNode(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "exportfs"), []byte(exportfsDouble), 0o755); err != nil {
		t.Fatal(err)
	}
	env := []string{"PATH=" + dir + ":" + os.Getenv("PATH")}
	one, six := "NFSExport::/srv/nfs::192.0.2.0/24::rw,fsid=1", "NFSExport::/srv/nfs::[2001:db8::]/64::rw,fsid=1"
	for _, spec := range []string{one, six} {
		if r := n.do(order{Op: "status", Spec: spec, Env: env}); r.State != "stopped" {
			t.Fatalf("%s at first: %s %s", spec, r.State, r.Err)
		}
		for range 2 {
			n.start(spec)
			n.expect(spec, "running")
		}
	}
	for range 2 {
		n.stop(one)
		n.expect(one, "stopped")
	}
	n.expect(six, "running")
	n.stop(six)
	if _, err := os.Stat(filepath.Join(dir, "flushed")); err != nil {
		t.Error("the kernel was not told to forget the files of the export")
	}
	r := n.must(order{Op: "check", Spec: "NFSExport::/srv/nfs::*::rw,async", Env: env})
	has(t, strings.Join(r.Faults, "\n"), "fsid=NUMBER", "use sync")
}

// TestNFSServerWithoutKernelLeavesNothing starts the server where the kernel has none: its state must be out of the way
// again after the stop. A kernel with a server is for a virtual machine.
func TestNFSServerWithoutKernelLeavesNothing(t *testing.T) {
	n := newNode(t)
	if n.do(order{Op: "sh", Spec: "grep -qw nfsd /proc/filesystems"}).Err == "" {
		require.Skip(t, "what a start leaves behind where there is no NFS server", "this kernel has one")
	}
	n.sh("mount -t tmpfs tmpfs /var/lib; mkdir /var/lib/nfs") // as the server's package has it, whether that is installed or not
	spec := "NFSServer::" + filepath.Join(t.TempDir(), "state")
	before := n.sh("cat /proc/self/mounts")
	n.expect(spec, "stopped")
	r := n.do(order{Op: "start", Spec: spec})
	has(t, r.Err, "modprobe nfsd")
	n.expect(spec, "failed")
	for range 2 {
		n.stop(spec)
		n.expect(spec, "stopped")
	}
	if after := n.sh("cat /proc/self/mounts"); after != before {
		t.Errorf("mounts before:\n%s\nafter:\n%s", before, after)
	}
	r = n.must(order{Op: "check", Spec: "NFSServer::/var/lib/nfs/state"})
	has(t, strings.Join(r.Faults, "\n"), "on this node only")
}
