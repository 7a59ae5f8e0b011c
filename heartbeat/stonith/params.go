package stonith

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// param is one parameter of a device.
type param struct{ name, value string }

// text is the parameters of a device as written: on the line, or in the file (protocol section 9).
func (s Spec) text() (string, error) {
	if s.File == "" {
		return s.Params, nil
	}
	f, err := os.Open(s.File)
	if err != nil {
		return "", &Failure{Device: s.Type, Cause: CauseFile, What: err.Error(), Remedy: remedies[CauseFile], Err: err}
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	for in.Scan() {
		if line := strings.TrimSpace(in.Text()); line != "" && !strings.HasPrefix(line, "#") {
			return line, nil
		}
	}
	if err := in.Err(); err != nil {
		return "", &Failure{Device: s.Type, Cause: CauseFile, What: fmt.Sprintf("%s: %v", s.File, err), Remedy: remedies[CauseFile], Err: err}
	}
	return "", fail(s.Type, CauseFile, "%s holds no parameters", s.File)
}

// exposed tells of a file with parameters that everybody may read.
func (s Spec) exposed() string {
	if s.File == "" {
		return ""
	}
	info, err := os.Stat(s.File)
	if err != nil || info.Mode()&0o044 == 0 {
		return ""
	}
	return fmt.Sprintf("%s: everybody may read %s, which may hold a password: chmod 600 it", s.Type, s.File)
}

// positional gives the words of text to names, in their order; the last name takes the rest.
func positional(device, text string, names []string) ([]param, error) {
	var list []param
	rest := strings.TrimSpace(text)
	for i, name := range names {
		if rest == "" {
			f := fail(device, CauseParameter, "parameter %s is missing", name)
			f.Remedy = fmt.Sprintf("write them in this order: %s", strings.Join(names, " "))
			return list, f
		}
		if i == len(names)-1 {
			return append(list, param{name, rest}), nil
		}
		word, after, _ := strings.Cut(strings.ReplaceAll(rest, "\t", " "), " ")
		list = append(list, param{name, word})
		rest = strings.TrimSpace(rest[len(rest)-len(after):])
	}
	return list, nil
}

// assignment is the beginning of key=value.
var assignment = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*=`)

// assignments reads key=value words; quotes keep blanks together.
func assignments(device, text string) ([]param, error) {
	words, err := splitWords(text)
	if err != nil {
		return nil, fail(device, CauseParameter, "parameters %s: %v", masked(text), err)
	}
	var list []param
	for _, w := range words {
		name, value, found := strings.Cut(w, "=")
		if !found || !assignment.MatchString(w) {
			f := fail(device, CauseParameter, "%q is not key=value", w)
			f.Remedy = "write each parameter as key=value, with quotes around a value that holds blanks"
			return nil, f
		}
		list = append(list, param{name, value})
	}
	return list, nil
}

// splitWords splits at blanks; single and double quotes protect them, and a backslash protects a quote inside double quotes.
func splitWords(text string) ([]string, error) {
	var words []string
	var word strings.Builder
	var quote rune
	inWord, escaped := false, false
	for _, c := range text {
		switch {
		case escaped:
			word.WriteRune(c)
			escaped = false
		case quote == '"' && c == '\\':
			escaped = true
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			quote, inWord = c, true
		case c == ' ' || c == '\t':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		default:
			word.WriteRune(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, errors.New("a quote is not closed")
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// hosts splits a list of host names, at blanks or commas as the plugins do.
func hosts(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' || r == ';' })
}

// handles tells whether a list of hosts holds the node, without regard to case.
func handles(list []string, node string) bool {
	for _, h := range list {
		if strings.EqualFold(h, node) {
			return true
		}
	}
	return false
}

// secret tells parameters that no log may show.
func secret(name string) bool {
	name = strings.ToLower(name)
	for _, part := range []string{"pass", "secret", "token", "key", "community"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

// masked is text with every value of a key=value left out.
func masked(text string) string {
	return regexp.MustCompile(`=\S+`).ReplaceAllString(text, "=…")
}

// shown renders parameters for a person who wants to try them by hand; passwords are left out.
func shown(list []param) string {
	words := make([]string, 0, len(list))
	for _, p := range list {
		value := p.value
		switch {
		case secret(p.name):
			value = "…"
		case strings.ContainsAny(value, " \t'\"$\\;&|"):
			value = "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
		}
		words = append(words, p.name+"="+value)
	}
	return strings.Join(words, " ")
}
