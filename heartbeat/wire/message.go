package wire

// Type is a field's type on the wire (heartbeat-protocol section 3.3 of the reference: one digit in parentheses).
type Type uint8

// The field types of Linux-HA 3.0.6.
const (
	String     Type = 0 // text; a newline becomes 0x13 in the classic form
	Binary     Type = 1 // raw bytes; base64 in the classic form
	Struct     Type = 2 // a nested message
	List       Type = 3 // a list of strings
	Compressed Type = 4 // a compressed nested message
)

// Field is one name=value of a Message. Value holds the raw bytes whatever the type; for Struct and List it holds the
// netstring text, from which the classic text is derived.
type Field struct {
	Name  string
	Type  Type
	Value string
}

// Message is an ordered list of fields. Order and duplicates are kept, because digests are computed over them.
// The zero Message is empty and ready to use. Copying a Message shares its fields: use Clone before changing a copy.
type Message struct {
	fields []Field
}

// New returns a message whose first field is t=kind.
func New(kind string) Message {
	var m Message
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
