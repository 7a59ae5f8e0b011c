package wire

import (
	"bytes"
	"encoding/base64"
	"strings"
)

// The markers of the classic framing, lines of their own (protocol section 3.1, variant V1).
const (
	textStart = ">>>\n"
	textEnd   = "<<<\n"
)

// newline stands for a newline within a value, because a newline ends the line.
const newline = '\x13'

// nestedNewline stands for the newlines of a nested message, one byte for each depth (protocol section 3.3).
const nestedNewline = "\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x0f\x10\x11\x12"

// parseText reads the lines between the markers; depth counts the messages around them.
func parseText(s string, depth int) ([]Field, error) {
	var fields []Field
	if depth == 0 {
		fields = make([]Field, 0, typicalFields)
	}
	for s != "" {
		line, rest, ok := strings.Cut(s, "\n")
		if !ok {
			return nil, malformed("the last line has no end")
		}
		f, err := textField(line, depth)
		if err != nil {
			return nil, err
		}
		if len(fields) == MaxFields {
			return nil, errFields
		}
		fields, s = append(fields, f), rest
	}
	return fields, nil
}

// textField reads `name=value`, or `(<type>)name=value` for every type but String.
func textField(line string, depth int) (Field, error) {
	var f Field
	if len(line) > 3 && line[0] == '(' && line[2] == ')' && line[1] != '0' {
		f.Type, line = Type(line[1]-'0'), line[3:]
	}
	var ok bool
	if f.Name, f.Value, ok = strings.Cut(line, "="); !ok {
		return Field{}, malformed("a line has no equals sign")
	}
	var err error
	switch f.Type {
	case String, List:
		f.Value = swap(f.Value, newline, '\n')
	case Binary, Compressed:
		f.Value, err = decodeBase64(f.Value)
	case Struct, Uncompressed:
		f.Value, err = nestedText(f.Value, depth)
	}
	if err != nil {
		return Field{}, err
	}
	return f, checkField(f, depth)
}

// nestedText turns the one line of a nested message into its netstring form.
func nestedText(value string, depth int) (string, error) {
	if depth >= MaxDepth {
		return "", malformed("messages are nested deeper than %d", MaxDepth)
	}
	s, ok := strings.CutPrefix(swap(value, nestedNewline[depth], '\n'), textStart)
	if ok {
		s, ok = strings.CutSuffix(s, textEnd)
	}
	if !ok {
		return "", malformed("a nested message lacks a marker")
	}
	fields, err := parseText(s, depth+1)
	if err != nil {
		return "", err
	}
	return string(appendNetstring(nil, fields)), nil
}

// decodeBase64 accepts exactly what appendText writes.
func decodeBase64(s string) (string, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || strings.IndexByte(s, '\r') >= 0 || strings.IndexByte(s, '\n') >= 0 {
		return "", malformed("a binary value is not base64")
	}
	return string(b), nil
}

// swap is s with each from replaced by to.
func swap(s string, from, to byte) string {
	if strings.IndexByte(s, from) < 0 {
		return s
	}
	b := []byte(s)
	swapBytes(b, from, to)
	return string(b)
}

// swapBytes is swap in place.
func swapBytes(b []byte, from, to byte) {
	for i := bytes.IndexByte(b, from); i >= 0; {
		b[i] = to
		next := bytes.IndexByte(b[i+1:], from)
		if next < 0 {
			return
		}
		i += 1 + next
	}
}

// appendText appends the lines of the classic form, without markers and without any field named auth: at depth 0 this is what
// the inner digest is computed over (protocol section 2.4). The fields have passed Check.
func appendText(dst []byte, fields []Field, depth int) []byte {
	for i := range fields {
		f := &fields[i]
		if depth == 0 && f.Name == authName {
			continue
		}
		if f.Type != String {
			dst = append(dst, '(', '0'+byte(f.Type), ')')
		}
		dst = append(dst, f.Name...)
		dst = append(dst, '=')
		start := len(dst)
		switch f.Type {
		case Binary, Compressed:
			dst = base64.StdEncoding.AppendEncode(dst, []byte(f.Value))
		case Struct, Uncompressed:
			nested, _ := parseNested(f.Value, depth+1)
			dst = append(dst, textStart...)
			dst = appendText(dst, nested, depth+1)
			dst = append(dst, textEnd...)
			swapBytes(dst[start:], '\n', nestedNewline[depth])
		default:
			dst = append(dst, f.Value...)
			swapBytes(dst[start:], '\n', newline)
		}
		dst = append(dst, '\n')
	}
	return dst
}
