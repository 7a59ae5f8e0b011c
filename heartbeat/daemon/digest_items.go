package daemon

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"hapair/haresources"
	"hapair/haresources/agent"
	"hapair/heartbeat/config"
)

// maxDigested bounds how much of a file is read for its sum.
const maxDigested = 8 << 20

// sums remembers the sums of files by what tells that they have not changed.
type sums struct {
	mu    sync.Mutex
	known map[string]fileSum
}

// fileSum is the sum of a file as it was.
type fileSum struct {
	size int64
	time time.Time
	sum  string
}

// of is the sum of a file's contents, config.Missing where it cannot be read.
func (s *sums) of(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return config.Missing
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return config.Missing
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.known[path]; ok && old.size == info.Size() && old.time.Equal(info.ModTime()) {
		return old.sum
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, maxDigested)); err != nil {
		return config.Missing
	}
	if s.known == nil {
		s.known = map[string]fileSum{}
	}
	sum := hex.EncodeToString(h.Sum(nil))
	s.known[path] = fileSum{info.Size(), info.ModTime(), sum}
	return sum
}

// items is all that both nodes must have alike: what the configuration says, the scripts that it names, and this program.
func (s *sums) items(c *config.Config, p Paths) []config.Item {
	list := c.Items()
	env := scriptEnvironment(c, p)
	seen := map[string]bool{}
	add := func(key, path string, line int) {
		if !seen[key] {
			seen[key] = true
			value := config.Missing
			if path != "" {
				value = s.of(path)
			}
			list = append(list, config.Item{Part: config.PartScripts, Key: key, Line: line, Value: value, Open: value == config.Missing})
		}
	}
	for _, g := range c.Table.Groups {
		for _, r := range g.Resources {
			path, err := agent.Program(r, env)
			if path != "" || err != nil {
				add(scriptName(r), path, r.Line)
			}
			for _, file := range agent.Files(r) {
				add(file, file, r.Line)
			}
		}
	}
	for _, k := range c.Checks {
		add(k.Path, k.Path, 0)
	}
	return append(list, config.Item{Part: config.PartProgram, Key: "hapair", Value: Version, Open: true})
}

// scriptName is what a resource's script is called on both nodes, wherever it stands.
func scriptName(r haresources.Resource) string {
	if r.Class == haresources.ClassHeartbeat {
		return r.Name
	}
	return r.Class + ":" + r.Name
}

// digestVersion begins what travels in the heartbeats: "1 k=KEY PART=DIGEST …". An unknown version is not compared.
const digestVersion = "1"

// digestParts are the parts that it has.
var digestParts = []string{config.PartMain, config.PartGroups, config.PartKeys, config.PartScripts, config.PartProgram}

// digest sums items up for the heartbeats; index names the key that hides what they say.
func digest(c *config.Config, items []config.Item, index int) string {
	byPart := map[string][]string{}
	for _, it := range items {
		byPart[it.Part] = append(byPart[it.Part], it.Key+"\x00"+it.Value+"\n")
	}
	words := []string{digestVersion, "k=" + strconv.Itoa(index)}
	for _, part := range digestParts {
		lines := byPart[part]
		sort.Strings(lines)
		words = append(words, part+"="+c.Keys.Digest(index, []byte(part+"\n"+strings.Join(lines, ""))))
	}
	return strings.Join(words, " ")
}

// parseDigest reads what the peer's heartbeats told.
func parseDigest(text string) (index int, parts map[string]string, err error) {
	words := strings.Fields(text)
	if len(words) < 2 || words[0] != digestVersion {
		return 0, nil, fmt.Errorf("its digests are of another version")
	}
	parts = map[string]string{}
	for _, w := range words[1:] {
		name, value, _ := strings.Cut(w, "=")
		parts[name] = value
	}
	index, err = strconv.Atoi(parts["k"])
	delete(parts, "k")
	return index, parts, err
}
