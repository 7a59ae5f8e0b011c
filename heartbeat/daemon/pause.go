package daemon

import (
	"context"
	"time"

	"hapair/heartbeat"
)

// PauseLongest bounds a pause.
const PauseLongest = heartbeat.PauseLongest

// answerPause suspends takeovers, on both nodes.
func (e *engine) answerPause(ctx context.Context, who caller, r Request) Reply {
	err := e.request(ctx, heartbeat.Request{Kind: heartbeat.RequestPause, For: time.Duration(r.DurationMS) * time.Millisecond, By: who.String()})
	return Reply{OK: err == nil, Error: sentence(err)}
}
