package rehearsal

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// wiring is a way for the heartbeats: over which media, with what key method, in which framing. It takes the place of what the files say.
type wiring struct {
	media       []string // one or two of mediaLines
	method      string   // crc, md5, sha1
	framing     string   // classic, netstring
	compression string   // "", zlib, bz2: linux-ha compresses whole messages above a kilobyte
}

// Wirings are the ways that are tried where somebody asks for all of them: every medium with every method, every two media at once, and each of that in
// either framing, with each way to compress.
func Wirings() []string {
	return []string{
		"ucast/crc/classic", "ucast/md5/netstring", "ucast/sha1/classic",
		"bcast/crc/netstring", "bcast/md5/classic", "bcast/sha1/netstring/zlib",
		"mcast/crc/classic", "mcast/md5/netstring/bz2", "mcast/sha1/classic/zlib",
		"serial/crc/netstring", "serial/md5/classic", "serial/sha1/netstring",
		"ucast+bcast/crc/classic/bz2", "ucast+mcast/md5/classic", "ucast+serial/sha1/classic",
		"bcast+mcast/sha1/netstring", "bcast+serial/crc/netstring", "mcast+serial/md5/netstring",
	}
}

// mediaLines are the lines of ha.cf for each medium.
var mediaLines = map[string][]string{
	"ucast":  {"ucast eth1 10.88.0.1", "ucast eth1 10.88.0.2"},
	"bcast":  {"bcast eth0"},
	"mcast":  {"mcast eth2 239.77.0.1 694 1 0"},
	"serial": {"serial /dev/ttyS0"},
}

// wiringMethods are the lines of authkeys for each method.
var wiringMethods = map[string]string{
	"crc":  "auth 2\n1 sha1 RehearsalTestKey6\n2 crc\n",
	"md5":  "auth 3\n3 md5 RehearsalTestKey7\n",
	"sha1": "auth 1\n1 sha1 RehearsalTestKey8\n",
}

// parseWiring reads MEDIUM[+MEDIUM]/METHOD/FRAMING[/COMPRESSION].
func parseWiring(text string) (wiring, error) {
	words := strings.Split(text, "/")
	if len(words) < 3 || len(words) > 4 {
		return wiring{}, fmt.Errorf("no wiring %q: want MEDIUM[+MEDIUM]/METHOD/FRAMING[/COMPRESSION], as in ucast+serial/sha1/classic/zlib", text)
	}
	w := wiring{media: strings.Split(words[0], "+"), method: words[1], framing: words[2]}
	if len(words) == 4 {
		w.compression = words[3]
	}
	for _, m := range w.media {
		if mediaLines[m] == nil {
			return w, fmt.Errorf("no wiring %q: no medium %q, there are %q", text, m, slices.Sorted(maps.Keys(mediaLines)))
		}
	}
	if wiringMethods[w.method] == "" {
		return w, fmt.Errorf("no wiring %q: no method %q, there are %q", text, w.method, slices.Sorted(maps.Keys(wiringMethods)))
	}
	if w.framing != "classic" && w.framing != "netstring" {
		return w, fmt.Errorf("no wiring %q: the framing is classic or netstring", text)
	}
	if w.compression != "" && w.compression != "zlib" && w.compression != "bz2" {
		return w, fmt.Errorf("no wiring %q: what is compressed is so by zlib or bz2", text)
	}
	return w, nil
}

// set are the directives of ha.cf that a wiring replaces. One link that loses a fifth of all frames needs a deadtime of many keepalives.
func (w wiring) set() map[string]string {
	set := map[string]string{"msgfmt": w.framing, "keepalive": "100ms", "warntime": "500ms", "deadtime": "1", "baud": "115200"}
	for _, medium := range []string{"ucast", "ucast6", "bcast", "mcast", "mcast6", "serial"} {
		set[medium] = ""
	}
	if w.compression != "" {
		maps.Copy(set, map[string]string{"compression": w.compression, "compression_threshold": "1", "traditional_compression": "on"})
	}
	return set
}

// write puts what no directive can say into a configuration directory.
func (w wiring) write(dir string) error {
	path := filepath.Join(dir, "ha.cf")
	text, err := readFile(path)
	if err != nil {
		return err
	}
	for _, m := range w.media {
		text += strings.Join(mediaLines[m], "\n") + "\n"
	}
	if err := writeFile(path, text, 0o644); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(dir, "authkeys")); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("write authkeys: %w", err)
	}
	return writeFile(filepath.Join(dir, "authkeys"), wiringMethods[w.method], 0o600)
}
