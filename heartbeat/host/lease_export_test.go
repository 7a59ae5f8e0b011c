package host

import "github.com/cilium/ebpf"

// LeaseProgram is the loaded program of a direction (0 ingress, 1 egress), for benchmarks.
func LeaseProgram(l *Lease, d int) *ebpf.Program { return l.mechanism.(*bpfLease).programs[d] }
