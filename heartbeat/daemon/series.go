package daemon

import (
	"context"
	"sync"
)

// series runs jobs one at a time, in the order they came, in a goroutine that exists only while there are any.
type series struct {
	ctx   context.Context
	limit int

	mu      sync.Mutex
	jobs    []func(context.Context)
	running bool
	tasks   sync.WaitGroup
}

// newSeries makes a series of at most limit waiting jobs; ctx is given to each.
func newSeries(ctx context.Context, limit int) *series { return &series{ctx: ctx, limit: limit} }

// add queues a job; it tells whether there was room.
func (s *series) add(job func(context.Context)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.jobs) >= s.limit {
		return false
	}
	s.jobs = append(s.jobs, job)
	if !s.running {
		s.running = true
		s.tasks.Go(s.run)
	}
	return true
}

func (s *series) run() {
	for {
		s.mu.Lock()
		if len(s.jobs) == 0 || s.ctx.Err() != nil {
			s.running = false
			s.mu.Unlock()
			return
		}
		job := s.jobs[0]
		s.jobs = s.jobs[1:]
		s.mu.Unlock()
		job(s.ctx)
	}
}

// wait returns when no job is running.
func (s *series) wait() { s.tasks.Wait() }
