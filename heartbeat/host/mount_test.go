package host_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hapair/heartbeat/host"
	"hapair/heartbeat/rehearsal/require"
)

func TestMountUsersAreFound(t *testing.T) {
	require.Root(t, "who uses a file system")
	// A directory of the file system that is there stands for a mount: users are found by their paths.
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "held open"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	works := exec.Command(sleep, "30")
	works.Dir = dir
	opens := exec.Command(sleep, "30")
	f, err := os.Open(filepath.Join(dir, "held open"))
	if err != nil {
		t.Fatal(err)
	}
	opens.Stdin = f
	var want []int
	for _, cmd := range []*exec.Cmd{works, opens} {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		want = append(want, cmd.Process.Pid)
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	}
	f.Close()
	users, err := host.MountUsers([]host.Mount{{ID: -1, Point: dir}})
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	for _, u := range users {
		got = append(got, u.PID)
		if !strings.Contains(u.String(), "sleep") || !strings.Contains(u.String(), dir) {
			t.Errorf("user: %v", u)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("users %v, not %v", got, want)
	}
	if users, _ := host.MountUsers([]host.Mount{{ID: -1, Point: dir + "/nothing"}}); len(users) != 0 {
		t.Errorf("users of a directory nobody uses: %v", users)
	}
	if err := host.Signal(want[0], unix.SIGKILL); err != nil {
		t.Error(err)
	}
}

func TestMountsAreListed(t *testing.T) {
	list, err := host.Mounts()
	if err != nil {
		t.Fatal(err)
	}
	m, found := host.MountedAt(list, "/proc")
	if !found || m.Type != "proc" {
		t.Errorf("/proc: %+v, %v", m, found)
	}
	nested := []host.Mount{{Point: "/srv"}, {Point: "/srv/a"}, {Point: "/srv/a/b"}, {Point: "/srvx"}}
	var below []string
	for _, m := range host.MountsBelow(nested, "/srv") {
		below = append(below, m.Point)
	}
	if !slices.Equal(below, []string{"/srv/a/b", "/srv/a"}) {
		t.Errorf("below: %v", below)
	}
}
