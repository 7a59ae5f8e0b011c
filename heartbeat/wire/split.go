package wire

import "bytes"

// Split is a bufio.SplitFunc that cuts classic frames, markers included, out of the bytes of a serial line or a FIFO
// (protocol section 4.5). What is between frames is dropped. A start marker within a frame means that the rest of
// that frame was lost: the new one counts. A frame longer than MaxText is dropped, so a bufio.Scanner with its default buffer
// never meets bufio.ErrTooLong. It returns no error.
//
// Outside a frame, noise in front of the start marker does not hide it; what Split returns is still to be verified.
func Split(data []byte, atEOF bool) (advance int, token []byte, err error) {
	start := bytes.Index(data, []byte(textStart))
	if start < 0 {
		return len(data) - pending(data, atEOF), nil, nil
	}
	frame := data[start:]
	end := markerLine(frame, textEnd)
	if end >= 0 {
		frame = frame[:end+len(textEnd)]
	}
	for again := markerLine(frame, textStart); again >= 0; again = markerLine(frame, textStart) {
		start, frame = start+again, frame[again:]
	}
	switch {
	case end >= 0 && len(frame) <= MaxText:
		return start + len(frame), frame, nil
	case end >= 0:
		return start + len(frame), nil, nil
	case atEOF || len(frame) >= MaxText:
		return len(data) - pending(data, atEOF), nil, nil
	}
	return start, nil, nil
}

// markerLine is where the first line behind the first byte begins that is exactly marker, -1 when there is none. It looks for
// the marker rather than for line ends, because while a frame grows it is looked through again and again.
func markerLine(data []byte, marker string) int {
	for from := 1; from < len(data); {
		i := bytes.Index(data[from:], []byte(marker))
		if i < 0 {
			break
		}
		if from += i; data[from-1] == '\n' {
			return from
		}
		from++
	}
	return -1
}

// pending counts the bytes at the end of data that may become a start marker.
func pending(data []byte, atEOF bool) int {
	for n := min(len(textStart), len(data)); n > 0 && !atEOF; n-- {
		// A newline in front is kept too: only a line of its own interrupts a frame.
		if tail := data[len(data)-n:]; bytes.HasPrefix([]byte("\n"+textStart), tail) || bytes.HasPrefix([]byte(textStart), tail) {
			return n
		}
	}
	return 0
}
