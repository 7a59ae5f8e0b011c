package config

// What the tables of tests need of the inside.
var (
	ParseTime = parseTime
	ParseBool = parseBool
	ParseInt  = parseInt
	Show      = show
)

// DirectiveNames are all names of the directive table.
func DirectiveNames() (names []string) {
	for _, d := range directives() {
		names = append(names, d.name)
	}
	return names
}
