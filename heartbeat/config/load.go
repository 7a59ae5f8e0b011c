package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"hapair/haresources"
	"hapair/heartbeat/fault"
	"hapair/heartbeat/wire"
)

// Option changes how Load works.
type Option func(*loader)

// WithNode reads the files as the node of that name would, whatever this machine is called.
func WithNode(name string) Option { return func(l *loader) { l.node = strings.ToLower(name) } }

// loader is one call of Load.
type loader struct {
	node   string // from WithNode
	cfg    *Config
	table  []byte // haresources as it is
	faults fault.List
}

// Load reads heartbeat.toml, or ha.cf and haresources, and authkeys (and nodeinfo, where there is one) of a directory. It touches nothing else of
// the host but its node name. The Config is never nil; where the faults hold an Error nothing may be started from it.
func Load(dir string, options ...Option) (*Config, fault.List) {
	l := loader{cfg: &Config{Dir: dir}}
	for _, o := range options {
		o(&l)
	}
	l.identify()
	if l.one() {
		l.loadTOML()
	} else {
		l.loadClassic()
	}
	l.faults.Sort()
	return l.cfg, l.faults
}

// loadClassic reads the three files.
func (l *loader) loadClassic() {
	l.cfg.File = filepath.Join(l.cfg.Dir, classicFile)
	p := l.readMain()
	l.readTable()
	l.readKeys(authkeysFile)
	if p != nil {
		p.notePlaces()
		p.crossCheck()
		l.checkTable()
		p.checkWatchdog()
	}
}

// one says whether the directory holds the one file, and complains where it holds the other ones too: which of them counts must not be
// a matter of chance.
func (l *loader) one() bool {
	exists := func(name string) bool {
		_, err := os.Lstat(filepath.Join(l.cfg.Dir, name))
		return err == nil
	}
	if !exists(tomlFile) {
		return false
	}
	at := fault.Fault{File: filepath.Join(l.cfg.Dir, tomlFile), Severity: fault.Error}
	switch {
	case exists(classicFile):
		l.faults.Addf(at, "keep one: heartbeat convert shows what the other files say in the language of heartbeat.toml",
			"there is also %s, and only one of the two can count", classicFile)
	case exists("haresources"):
		at.Severity = fault.Warning
		l.faults.Addf(at, "move it away, so that nobody takes it for what is in force", "haresources stands beside it and is not read")
	}
	return true
}

// maxTOML bounds a heartbeat.toml: 10,000 addresses are a third of it, and brackets nested deeper than it is long would exhaust the stack.
const maxTOML = 1 << 20

// loadTOML reads heartbeat.toml.
func (l *loader) loadTOML() {
	l.cfg.File = filepath.Join(l.cfg.Dir, tomlFile)
	l.cfg.Table.File = l.cfg.File
	path, data, ok := l.read(tomlFile, "")
	if !ok {
		return
	}
	if len(data) > maxTOML {
		l.faults.Addf(fault.Fault{File: path, Severity: fault.Error}, "is this the right file?", "longer than %d bytes", maxTOML)
		return
	}
	r := parseTOML(l.cfg, path, data, &l.faults)
	r.notePlaces()
	l.readTOMLKeys(r)
	if !r.broken {
		r.crossCheck()
		r.checkTable(l)
		r.checkWatchdog()
	}
}

// readTOMLKeys reads authkeys from where heartbeat.toml says it is: beside it, at a path, or handed over by systemd.
func (l *loader) readTOMLKeys(r *tomlReader) {
	if r.keys == nil {
		l.readKeys(authkeysFile)
		return
	}
	path, _ := r.keys.value.(string)
	if name, ok := strings.CutPrefix(path, credentialMark); ok {
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if dir == "" || strings.ContainsAny(name, "/") {
			r.failAt(r.keys.valueAt, "LoadCredential="+name+":/PATH in the unit hands it over; to check by hand: systemd-run -P -p LoadCredential=… heartbeat check",
				"authkeys = %s: systemd handed no credentials to this process", quote(path))
			return
		}
		path = filepath.Join(dir, name)
	}
	l.readKeys(path)
}

// nodeinfoPath is the file whose first line overrides uname -n.
func nodeinfoPath(dir string) string { return filepath.Join(dir, "nodeinfo") }

// identify finds this node's name (protocol section 1.4).
func (l *loader) identify() {
	c := l.cfg
	if l.node != "" {
		c.Node, c.NodeSource = l.node, sourceOption
		return
	}
	path := nodeinfoPath(c.Dir)
	data, err := os.ReadFile(path)
	first, _, _ := bytes.Cut(data, []byte("\n"))
	name := strings.TrimSpace(string(first))
	at := fault.Fault{File: path, Line: 1}
	switch {
	case err == nil && name != "":
		c.Node, c.NodeSource = strings.ToLower(name), path
		if strings.IndexFunc(name, notInName) >= 0 || len(name) > maxName {
			at.Severity = fault.Error
			l.faults.Addf(at, "one line with the node name", "%s cannot be the name of a node", quote(name))
		}
		return
	case err == nil:
		at.Severity, at.Line = fault.Warning, 0
		l.faults.Addf(at, "write the node name, or remove the file", "the file has no first line: uname -n is used")
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR):
		at.Severity, at.Line = fault.Warning, 0
		l.faults.Addf(at, "", "cannot read it: %v; uname -n is used", reason(err))
	}
	if name, err := nodeName(); err == nil {
		c.Node, c.NodeSource = strings.ToLower(name), "uname -n"
	}
}

// reason is an error without the path, which the fault names already.
func reason(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// open opens one of the files; where that fails it says so and notes it as unread.
func (l *loader) open(name, hint string) (string, *os.File) {
	path := name
	if !filepath.IsAbs(name) {
		path = filepath.Join(l.cfg.Dir, name)
	}
	f, err := os.Open(path)
	if err == nil {
		if info, err2 := f.Stat(); err2 == nil && !info.Mode().IsRegular() {
			f.Close()
			err = errors.New("not a regular file")
		}
	}
	if err != nil {
		l.unread(path, hint, err)
		return path, nil
	}
	return path, f
}

// unread notes a file that could not be read.
func (l *loader) unread(path, hint string, err error) {
	l.cfg.Unread = append(l.cfg.Unread, path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		hint = "run this as root"
	case errors.Is(err, unix.ENOTDIR):
		hint = "name the directory that the files are in"
	case !errors.Is(err, fs.ErrNotExist):
		hint = ""
	}
	l.faults.Addf(fault.Fault{File: path, Severity: fault.Error}, hint, "cannot read it: %v", reason(err))
}

// read reads a whole file of bounded length.
func (l *loader) read(name, hint string) (path string, data []byte, ok bool) {
	path, f := l.open(name, hint)
	if f == nil {
		return path, nil, false
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("longer than %d bytes", maxFile)
	}
	if err != nil {
		l.unread(path, hint, err)
		return path, nil, false
	}
	return path, data, true
}

// readMain reads ha.cf; nil where that cannot be read.
func (l *loader) readMain() *parser {
	path, data, ok := l.read(classicFile, "heartbeat init writes a configuration; or copy a sample there, edit it, and try again")
	if !ok {
		return nil
	}
	return parse(l.cfg, path, data, &l.faults)
}

// readTable reads haresources.
func (l *loader) readTable() {
	path, data, ok := l.read("haresources", "write one line for each group: NODE RESOURCE [RESOURCE …]; an empty file is allowed")
	l.cfg.Table.File = path
	if !ok {
		return
	}
	table, faults := haresources.Parse(path, bytes.NewReader(data))
	l.table, l.cfg.Table = data, table
	l.faults = append(l.faults, faults...)
}

// authkeysFile is where the keys are, unless heartbeat.toml says otherwise.
const authkeysFile = "authkeys"

// credentialMark begins the name of a systemd credential.
const credentialMark = "credential:"

// readKeys reads authkeys, unless others can read it too.
func (l *loader) readKeys(name string) {
	path, f := l.open(name, "write two lines, `auth 1` and `1 sha1 SECRET`, the same on both nodes, and chmod 600 it")
	if f == nil {
		return
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Mode().Perm()&0o044 != 0 {
		l.faults.Addf(fault.Fault{File: path, Severity: fault.Error}, "chmod 600 "+path,
			"mode %04o lets others than the owner read the keys: refused, as by Linux-HA", info.Mode().Perm())
	}
	keys, faults := wire.ReadKeys(path, f)
	l.cfg.Keys = keys
	l.faults = append(l.faults, faults...)
}
