package host

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// NodeName is this machine's name in the cluster, lower case: the first line of nodeinfo in the configuration directory, or
// else `uname -n` (protocol section 1.4, `node`).
func NodeName(configDir string) (string, error) {
	if f, err := os.Open(filepath.Join(configDir, "nodeinfo")); err == nil {
		defer f.Close()
		line, _ := bufio.NewReader(f).ReadString('\n')
		if name := strings.TrimSpace(line); name != "" {
			return strings.ToLower(name), nil
		}
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("read node name: %w", err)
	}
	return strings.ToLower(unix.ByteSliceToString(u.Nodename[:])), nil
}

// BootID names this run of the machine's kernel, "" where that cannot be read. Whatever was held under another boot id is
// not held any more.
func BootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// Generation is the outcome of NextGeneration.
type Generation struct {
	Number uint32
	Notes  []string // what is worth a warning, in Heartbeat's words where it has some
	Err    error    // it is not on disk: write it later with WriteGeneration
}

// generationFile and uuidFile have Linux-HA's names and formats (protocol section 5.2), so that a node can change between
// the two programs in both directions.
const (
	generationFile = "hb_generation"
	uuidFile       = "hb_uuid"
)

// NextGeneration reads the generation of the last run from the state directory, adds one and writes it back. A missing or
// broken file starts from the clock; so does one that cannot be written, with Err set, because a node that does not start is
// worse than one whose next generation is again taken from the clock.
func NextGeneration(dir string, now time.Time) Generation {
	var g Generation
	fromClock := uint32(now.Unix()) + 1
	last, err := readGeneration(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		g.Number = fromClock
		g.Notes = append(g.Notes, fmt.Sprintf("No Previous generation - starting at %d", g.Number))
	case err != nil:
		g.Number = fromClock
		g.Notes = append(g.Notes, fmt.Sprintf("BROKEN previous generation - starting at %d: %v", g.Number, err))
	default:
		g.Number = last + 1
	}
	if g.Err = WriteGeneration(dir, g.Number); g.Err != nil {
		g.Number = max(g.Number, fromClock)
	}
	return g
}

// readGeneration reads the number of the last run; 0 is an error.
func readGeneration(dir string) (uint32, error) {
	text, err := os.ReadFile(filepath.Join(dir, generationFile))
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(string(bytes.TrimSpace(text)), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("parse %s: %w", generationFile, err)
	}
	if n == 0 || n == 1<<32-1 {
		return 0, fmt.Errorf("parse %s: %d cannot be a generation", generationFile, n)
	}
	return uint32(n), nil
}

// WriteGeneration records the number for the next start. On a full disk it overwrites the 16 bytes in place, which needs no
// new block.
func WriteGeneration(dir string, number uint32) error {
	path := filepath.Join(dir, generationFile)
	content := fmt.Appendf(nil, "%15d\n", number)
	err := ReplaceFile(path, content, 0o644)
	if err == nil {
		return nil
	}
	if inPlace := overwrite(path, content); inPlace != nil {
		return err
	}
	return nil
}

// overwrite changes the bytes of an existing file of the same length and waits until they are on disk.
func overwrite(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_DSYNC, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt(content, 0); err != nil {
		return err
	}
	if err := f.Truncate(int64(len(content))); err != nil {
		return err
	}
	return f.Sync()
}

// UUID reads this node's identifier from the state directory or makes one. made tells that it is new; err that a new one
// could not be kept, so that the next start will have another.
func UUID(dir string) (id [16]byte, made bool, err error) {
	path := filepath.Join(dir, uuidFile)
	if content, err := os.ReadFile(path); err == nil && len(content) == len(id) && [16]byte(content) != id {
		return [16]byte(content), false, nil
	}
	rand.Read(id[:])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	if err := ReplaceFile(path, id[:], 0o644); err != nil {
		return id, true, fmt.Errorf("keep uuid: %w", err)
	}
	return id, true, nil
}

// ReplaceFile writes a file so that after a power cut either the old or the new content is there, whole.
func ReplaceFile(path string, content []byte, mode fs.FileMode) (err error) {
	tmp := fmt.Sprintf("%s.%d.tmp", path, os.Getpid())
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(tmp)
		}
	}()
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err = os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

// syncDirectory makes a rename in the directory survive a power cut.
func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
