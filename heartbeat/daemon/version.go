package daemon

// Version is this program's version; the linker may set it.
var Version = "1.0.0"

// ClassicVersion is the Linux-HA release whose behaviour the classic commands show.
const ClassicVersion = "3.0.6"
