package wire

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Type is a field's type on the wire, one digit in parentheses (protocol section 3.3).
type Type uint8

// The field types of Linux-HA 3.0.6.
const (
	String       Type = 0 // text without NUL; a newline becomes 0x13 in the classic form
	Binary       Type = 1 // raw bytes; base64 in the classic form
	Struct       Type = 2 // a nested message
	List         Type = 3 // a list of strings
	Compressed   Type = 4 // a nested message, compressed; carried, never opened
	Uncompressed Type = 5 // a nested message that the sender may compress; Linux-HA never puts it on the wire
)

// authName is the field that carries the inner signature (protocol section 2.4).
const authName = "auth"

// Field is one name=value of a Message. Value holds the raw bytes whatever the type; for Struct and List it holds the
// netstring text, from which the classic text is derived.
type Field struct {
	Name  string
	Type  Type
	Value string
}

// Message is an ordered list of fields. Order and duplicates are kept, because digests are computed over them.
// The zero Message is empty and ready to use. Copying a Message shares its fields: use Clone before changing a copy.
// The strings of a received Message share one copy of its frame.
type Message struct {
	fields []Field
}

// New returns a message whose first field is t=kind.
func New(kind string) Message {
	m := Message{fields: make([]Field, 0, typicalFields)}
	m.Add("t", kind)
	return m
}

// Kind is the message's type, its field "t".
func (m Message) Kind() string { return m.Get("t") }

// Len is the number of fields.
func (m Message) Len() int { return len(m.fields) }

// Fields is the message's own slice, in wire order; do not change it.
func (m Message) Fields() []Field { return m.fields }

// Get is the value of the first field of that name, "" when there is none.
func (m Message) Get(name string) string {
	v, _ := m.Lookup(name)
	return v
}

// Lookup is Get that tells an empty field from an absent one.
func (m Message) Lookup(name string) (string, bool) {
	for i := range m.fields {
		if m.fields[i].Name == name {
			return m.fields[i].Value, true
		}
	}
	return "", false
}

// Add appends a string field.
func (m *Message) Add(name, value string) {
	m.fields = append(m.fields, Field{Name: name, Type: String, Value: value})
}

// AddBinary appends a binary field.
func (m *Message) AddBinary(name string, value []byte) {
	m.fields = append(m.fields, Field{Name: name, Type: Binary, Value: string(value)})
}

// AddField appends f as it is.
func (m *Message) AddField(f Field) { m.fields = append(m.fields, f) }

// AddStruct appends a nested message, copied.
func (m *Message) AddStruct(name string, nested Message) {
	m.AddField(Field{Name: name, Type: Struct, Value: string(appendNetstring(nil, nested.fields))})
}

// AddList appends a list of strings.
func (m *Message) AddList(name string, items ...string) {
	var list []byte
	for _, item := range items {
		list = appendElement(list, item)
	}
	m.AddField(Field{Name: name, Type: List, Value: string(list)})
}

// Nested is the message in the first field of that name; false when there is none or it holds no message.
func (m Message) Nested(name string) (Message, bool) {
	f, ok := m.field(name)
	if !ok || f.Type != Struct && f.Type != Uncompressed {
		return Message{}, false
	}
	fields, err := parseNested(f.Value, 1)
	return Message{fields: fields}, err == nil
}

// List is the strings in the first field of that name; false when there is none or it holds no list.
func (m Message) List(name string) ([]string, bool) {
	f, ok := m.field(name)
	if !ok || f.Type != List {
		return nil, false
	}
	items := []string{}
	for rest := f.Value; rest != ""; {
		item, next, err := element(rest)
		if err != nil {
			return nil, false
		}
		items, rest = append(items, item), next
	}
	return items, true
}

// field is the first field of that name.
func (m Message) field(name string) (Field, bool) {
	i := slices.IndexFunc(m.fields, func(f Field) bool { return f.Name == name })
	if i < 0 {
		return Field{}, false
	}
	return m.fields[i], true
}

// Set replaces the first field of that name, or appends one.
func (m *Message) Set(name, value string) {
	for i := range m.fields {
		if m.fields[i].Name == name {
			m.fields[i] = Field{Name: name, Type: String, Value: value}
			return
		}
	}
	m.Add(name, value)
}

// Clone is a copy that shares nothing.
func (m Message) Clone() Message {
	return Message{fields: append([]Field(nil), m.fields...)}
}

// Check tells why no receiver would take the message: a name or value that cannot be framed, too deep a nesting, too many
// fields. Keys.Seal appends nothing for such a message. What Parse and Keys.Open return always passes.
func (m Message) Check() error {
	if len(m.fields) > MaxFields {
		return errFields
	}
	for i := range m.fields {
		if err := checkField(m.fields[i], 0); err != nil {
			return fmt.Errorf("field %d: %w", i+1, err)
		}
	}
	return nil
}

// String renders the message on one line for a log: printable whatever it holds, long values cut.
func (m Message) String() string {
	const longest = 120
	var b strings.Builder
	for i, f := range m.fields {
		if i > 0 {
			b.WriteByte(' ')
		}
		value, dots := f.Value, ""
		if len(value) > longest {
			value, dots = value[:longest], "…"
		}
		if f.Type == Binary || f.Type == Compressed {
			value = base64.StdEncoding.EncodeToString([]byte(value))
		} else if q := strconv.Quote(value); strings.Contains(value, " ") || len(q) != len(value)+2 {
			value = q
		}
		b.WriteString(f.Name + "=" + value + dots)
	}
	return b.String()
}

// without is the message less every field of that name. It reuses m's slice.
func (m Message) without(name string) Message {
	return Message{fields: slices.DeleteFunc(m.fields, func(f Field) bool { return f.Name == name })}
}

// checkField tells whether f can be framed; depth counts the messages around it.
func checkField(f Field, depth int) error {
	if err := checkName(f.Name); err != nil {
		return err
	}
	return checkValue(f.Type, f.Value, depth)
}

// checkName refuses names that the classic form could not tell from something else.
func checkName(name string) error {
	switch {
	case name == "":
		return malformed("a field has no name")
	case name[0] == '(' || strings.HasPrefix(name, ">>>") || strings.HasPrefix(name, "<<<"):
		return malformed("a field's name begins like a type or a marker")
	}
	for i := range len(name) {
		if name[i] < ' ' || name[i] == '=' {
			return malformed("a field's name holds a control character or an equals sign")
		}
	}
	return nil
}

// checkValue refuses values that are not what their type says.
func checkValue(t Type, value string, depth int) error {
	switch t {
	case String, List:
		if strings.IndexByte(value, 0) >= 0 {
			return malformed("text holds a NUL byte")
		}
		return checkList(t, value)
	case Binary, Compressed:
		return nil
	case Struct, Uncompressed:
		_, err := parseNested(value, depth+1)
		return err
	}
	return malformed("unknown field type %d", t)
}

// checkList refuses a List that is not a sequence of netstrings.
func checkList(t Type, value string) error {
	for t == List && value != "" {
		_, rest, err := element(value)
		if err != nil {
			return err
		}
		value = rest
	}
	return nil
}
