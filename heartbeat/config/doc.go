// Package config reads the three files of a Heartbeat installation, ha.cf, haresources and authkeys, into one checked Config; or the one
// file heartbeat.toml, which says all of it and what pragmas say, in a language of its own, beside authkeys.
//
// It accepts every directive of Linux-HA 3.0.6 (protocol section 1) and is kinder than that to files as they really are: any
// order of directives, CR LF, `udp`, a missing final newline. Whatever Linux-HA would have refused or misread gets a
// warning. All faults of all files are reported at once, each with its place and the remedy, before anything starts.
//
// Both forms go through the same checks to the same Config: Convert turns the three files into heartbeat.toml and proves it.
//
// Load looks at the files only; Config.CheckHost compares them with the machine they stand on. The daemon starts from
// exactly the code that `heartbeat check` runs.
package config
