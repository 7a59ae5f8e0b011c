package host

import "errors"

// outputs are where a program writes to: two pipes, or the same one twice.
type outputs struct{ stdout, stderr *output }

// newOutputs makes one pipe for both where nobody wants standard error alone.
func newOutputs(line, errLine func(string)) (outputs, error) {
	stdout, err := newOutput(line)
	if err != nil || errLine == nil {
		return outputs{stdout, stdout}, err
	}
	stderr, err := newOutput(errLine)
	if err != nil {
		stdout.abandon()
	}
	return outputs{stdout, stderr}, err
}

// each does something with every pipe.
func (o outputs) each(do func(*output)) {
	do(o.stdout)
	if o.stderr != o.stdout {
		do(o.stderr)
	}
}

func (o outputs) abandon() { o.each((*output).abandon) }
func (o outputs) start()   { o.each((*output).start) }
func (o outputs) release() { o.each((*output).release) }

// finish is output.finish for both; the last line is that of standard error where there is one.
func (o outputs) finish(err error) error {
	result := o.stderr.finish(err)
	if o.stderr == o.stdout {
		return result
	}
	var bad, other *ExitError
	if errors.As(o.stdout.finish(err), &other) && errors.As(result, &bad) && bad.Last == "" {
		return other
	}
	return result
}

// lastLine is the last line of output for the end of a message.
func (o outputs) lastLine() string {
	if text := o.stderr.lastLine(); text != "" {
		return text
	}
	return o.stdout.lastLine()
}
