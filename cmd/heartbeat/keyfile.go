package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"hapair/heartbeat/wire"
)

// keyFile is authkeys while it is edited: comments and everything that is not touched stay as they are.
type keyFile struct {
	path string // with symbolic links resolved
	text []byte // as read
	keys *wire.Keys
}

// readKeyFile reads authkeys of a configuration directory. One with errors is not edited.
func readKeyFile(dir string) (*keyFile, error) {
	path := filepath.Join(dir, "authkeys")
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the keys: %w", err)
	}
	keys, faults := wire.ReadKeys(path, bytes.NewReader(text))
	if keys == nil {
		return nil, fmt.Errorf("correct this first:\n%w", faults.Err())
	}
	return &keyFile{path: path, text: text, keys: keys}, nil
}

// others are the entries that do not sign, by index.
func (f *keyFile) others() []int {
	var all []int
	for _, m := range f.keys.Methods() {
		if !m.Signs {
			all = append(all, m.Index)
		}
	}
	return all
}

// free is an index for a new entry: the next after the highest, else the lowest that is free.
func (f *keyFile) free() (int, error) {
	taken := map[int]bool{}
	highest := 0
	for _, m := range f.keys.Methods() {
		taken[m.Index] = true
		highest = max(highest, m.Index)
	}
	if highest < wire.MaxIndex {
		return highest + 1, nil
	}
	for index := 1; index < wire.MaxIndex; index++ {
		if !taken[index] {
			return index, nil
		}
	}
	return 0, errors.New("authkeys has no index left for another key: remove one first")
}

// with is the text with one more entry.
func (f *keyFile) with(index int, method, secret string) []byte {
	text := bytes.TrimRight(f.text, "\n")
	return fmt.Appendf(bytes.Clone(text), "\n%d %s %s\n", index, method, secret)
}

// signingWith is the text with the last auth line, which is the one that counts, naming another entry.
func (f *keyFile) signingWith(index int) ([]byte, error) {
	lines := strings.SplitAfter(string(f.text), "\n")
	for i, line := range slices.Backward(lines) {
		rest := strings.TrimLeft(strings.TrimPrefix(line, "\ufeff"), " \t")
		if len(rest) < 4 || !strings.EqualFold(rest[:4], "auth") {
			continue
		}
		begin := len(line) - len(strings.TrimLeft(rest[4:], " \t"))
		end := begin + len(line[begin:]) - len(strings.TrimLeft(line[begin:], "0123456789"))
		if begin == end {
			continue
		}
		lines[i] = line[:begin] + strconv.Itoa(index) + line[end:]
		return []byte(strings.Join(lines, "")), nil
	}
	return nil, errors.New("find no auth line to change")
}

// without is the text less every line of an entry.
func (f *keyFile) without(index int) []byte {
	var b strings.Builder
	for line := range strings.Lines(string(f.text)) {
		word := strings.TrimLeft(line, " \t")
		digits := word[:len(word)-len(strings.TrimLeft(word, "0123456789"))]
		if n, err := strconv.Atoi(digits); err == nil && n == index {
			continue
		}
		b.WriteString(line)
	}
	return []byte(b.String())
}

// write replaces authkeys by a text that reads well, in one moment, with the old file's owner, readable by him alone.
func (f *keyFile) write(text []byte) error {
	if keys, faults := wire.ReadKeys(f.path, bytes.NewReader(text)); keys == nil {
		return fmt.Errorf("nothing was written, since the result would not be accepted; edit %s by hand: %w", f.path, faults.Err())
	}
	info, err := os.Stat(f.path)
	if err != nil {
		return fmt.Errorf("write the keys: %w", err)
	}
	t, err := os.CreateTemp(filepath.Dir(f.path), ".authkeys-") // mode 0600
	if err != nil {
		return fmt.Errorf("write the keys: %w", err)
	}
	defer os.Remove(t.Name()) // where it was renamed there is nothing to remove
	_, err = t.Write(text)
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && err == nil && int(owner.Uid) != os.Geteuid() {
		err = t.Chown(int(owner.Uid), int(owner.Gid))
	}
	err = errors.Join(err, t.Sync(), t.Close())
	if err == nil {
		err = os.Rename(t.Name(), f.path)
	}
	if err != nil {
		return fmt.Errorf("write the keys: %w", err)
	}
	return nil
}
