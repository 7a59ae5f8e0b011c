package wire

import (
	"strconv"
	"strings"
)

// The markers of the netstring framing (protocol section 3.2).
const (
	netStart = "###\n"
	netEnd   = "%%%\n"
)

const (
	typicalFields = 16 // more than any heartbeat has; one allocation
	lengthDigits  = 7  // enough for MaxInflated
)

// element cuts one netstring, `<len>:<bytes>,`, off the front of s.
func element(s string) (value, rest string, err error) {
	n, i := 0, 0
	for i < len(s) && '0' <= s[i] && s[i] <= '9' {
		if i == lengthDigits {
			return "", "", malformed("a length has more than %d digits", lengthDigits)
		}
		n = n*10 + int(s[i]-'0')
		i++
	}
	if i == 0 || i == len(s) || s[i] != ':' || i > 1 && s[0] == '0' {
		return "", "", malformed("a netstring does not begin with its length")
	}
	s = s[i+1:]
	if n >= len(s) {
		return "", "", malformed("a length points beyond the end")
	}
	if s[n] != ',' {
		return "", "", malformed("no comma after a netstring")
	}
	return s[:n], s[n+1:], nil
}

// appendElement appends s as one netstring.
func appendElement[T string | []byte](dst []byte, s T) []byte {
	dst = strconv.AppendInt(dst, int64(len(s)), 10)
	dst = append(dst, ':')
	dst = append(dst, s...)
	return append(dst, ',')
}

// parseFields reads what follows the start marker up to and with the end marker, and returns what is behind that.
func parseFields(s string, depth int) (fields []Field, rest string, err error) {
	if depth == 0 {
		fields = make([]Field, 0, typicalFields)
	}
	for {
		if after, ok := strings.CutPrefix(s, netEnd); ok {
			return fields, after, nil
		}
		if s == "" {
			return nil, "", errNoEnd
		}
		if len(fields) == MaxFields {
			return nil, "", errFields
		}
		var body string
		if body, s, err = element(s); err != nil {
			return nil, "", err
		}
		f, err := netField(body, depth)
		if err != nil {
			return nil, "", err
		}
		fields = append(fields, f)
	}
}

// netField reads `(<type>)<name>=<value>`.
func netField(s string, depth int) (Field, error) {
	if len(s) < 3 || s[0] != '(' || s[2] != ')' {
		return Field{}, malformed("a field does not begin with its type")
	}
	name, value, ok := strings.Cut(s[3:], "=")
	if !ok {
		return Field{}, malformed("a field has no equals sign")
	}
	f := Field{Name: name, Type: Type(s[1] - '0'), Value: value}
	return f, checkField(f, depth)
}

// parseNested reads a message within a message: netstring form without signature; depth is 1 for the outermost of them.
func parseNested(s string, depth int) ([]Field, error) {
	if depth > MaxDepth {
		return nil, malformed("messages are nested deeper than %d", MaxDepth)
	}
	s, ok := strings.CutPrefix(s, netStart)
	if !ok {
		return nil, malformed("a nested message has no start marker")
	}
	fields, rest, err := parseFields(s, depth)
	if err == nil && rest != "" {
		err = malformed("bytes after a nested message")
	}
	return fields, err
}

// appendField appends one field in netstring form.
func appendField[T string | []byte](dst []byte, t Type, name string, value T) []byte {
	dst = strconv.AppendInt(dst, int64(len("(0)")+len(name)+len("=")+len(value)), 10)
	dst = append(dst, ':', '(', '0'+byte(t), ')')
	dst = append(dst, name...)
	dst = append(dst, '=')
	dst = append(dst, value...)
	return append(dst, ',')
}

// appendNetstring appends a message with both markers, without signature.
func appendNetstring(dst []byte, fields []Field) []byte {
	dst = append(dst, netStart...)
	for i := range fields {
		dst = appendField(dst, fields[i].Type, fields[i].Name, fields[i].Value)
	}
	return append(dst, netEnd...)
}
