package lab

// setup is what a machine's process 1 is told first.
type setup struct {
	Hostname string            // of the UTS namespace
	Dir      string            // the machine's own files: its run, log and dev directories are in there
	Binds    []Bind            // shown in the machine
	Serials  map[string]string // device path in the machine → terminal to show there
	Sysctls  map[string]string // path below /proc/sys → value, set before any interface exists
}

// Bind shows a file or directory of the laboratory at a path of one machine.
type Bind struct {
	Source string // a path in the laboratory
	Target string // a path in the machine
}

// request asks a machine's process 1 to run a program.
type request struct {
	ID   int      `json:"id"`
	Argv []string `json:"argv"` // the program's path is looked up in Env's PATH
	Env  []string `json:"env"`
	Log  string   `json:"log,omitempty"` // append standard output and error here; "" returns them in the reply
}

// reply answers a request: once with the process id, once more when it has ended.
type reply struct {
	ID     int    `json:"id"`
	Pid    int    `json:"pid"` // in the machine's own numbering
	Ended  bool   `json:"ended,omitempty"`
	Exit   int    `json:"exit"` // 128 + signal for a process that a signal ended
	Output string `json:"output,omitempty"`
	Error  string `json:"error,omitempty"` // why it could not be started, or why the set-up failed
}
