package haresources

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// group is one group of a Manager.
type group struct {
	manager *Manager
	turn    chan struct{} // holds one token while an operation runs

	mu      sync.Mutex
	def     Group
	items   []*item
	held    bool
	cancels map[*context.CancelCauseFunc]bool // of the Acquires that wait or run
	lingers context.CancelCauseFunc           // ends what goes on of a Release that has returned; nil for nothing
}

// snapshot is the group's items as of now.
func (g *group) snapshot() []*item {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.items)
}

// definition is the group's line as of now.
func (g *group) definition() Group {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.def
}

// begin waits for the group's turn; the returned function ends it.
func (g *group) begin(ctx context.Context) (end func(), err error) {
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return func() { <-g.turn }, nil
}

// acquiring makes an Acquire known, so that it can be cut short; the returned function ends that.
func (g *group) acquiring(cancel context.CancelCauseFunc) func() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cancels == nil {
		g.cancels = map[*context.CancelCauseFunc]bool{}
	}
	g.cancels[&cancel] = true
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.cancels, &cancel)
	}
}

// linger notes how to end what goes on of a Release, and ends what went on of the one before.
func (g *group) linger(cancel context.CancelCauseFunc) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lingers != nil {
		g.lingers(errOvertaken)
	}
	g.lingers = cancel
}

// errOvertaken ends what goes on of a Release when the group is acquired again.
var errOvertaken = errors.New("overtaken by the next change of the group")

// cutShort cancels every Acquire that waits or runs.
func (g *group) cutShort(cause error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for cancel := range g.cancels {
		(*cancel)(cause)
	}
}

// acquire starts everything, or stops everything again.
func (g *group) acquire(ctx context.Context) error {
	g.voice(ctx)
	items := g.snapshot()
	leave := func() {}
	defer func() { leave() }()
	for i, slotted := 0, false; i < len(items); {
		next := items[i : i+unit(items[i:])]
		if !slotted && batchKey(next[0]) == "" {
			leave, slotted = g.manager.slot(ctx), true
		}
		n, err := g.startUnit(ctx, next)
		i += n
		if err == nil {
			continue
		}
		if errors.Is(context.Cause(ctx), ErrReleased) {
			return err // the release that waits for us stops everything
		}
		return g.rollback(ctx, i, err)
	}
	g.mu.Lock()
	g.held = true
	g.mu.Unlock()
	g.watch(items)
	return nil
}

// unit is how many of the first items are handled together: those that can be batched, else one.
func unit(items []*item) int {
	key := batchKey(items[0])
	n := 1
	for key != "" && n < len(items) && batchKey(items[n]) == key {
		n++
	}
	return n
}

// batchKey is the item's key for batches, "" when it cannot be batched.
func batchKey(it *item) string {
	if b, ok := it.agent.(Batcher); ok {
		return b.BatchKey()
	}
	return ""
}

// startUnit starts one item, or several by one call, and says how many it did.
func (g *group) startUnit(ctx context.Context, items []*item) (int, error) {
	if len(items) > 1 {
		return g.batch(ctx, items, OpStart)
	}
	it := items[0]
	state, known := it.learnt()
	var err error
	if !known {
		state, err = g.ask(ctx, it)
	}
	if ctx.Err() != nil {
		return 0, &OperationError{it.spec(), OpStatus, context.Cause(ctx)}
	}
	if err != nil {
		g.event(it, OpStatus, Event{Phase: End, Err: err})
	}
	for _, step := range planStart(0, it.resource(), state) {
		switch {
		case step.Skip:
			err = g.adopt(ctx, it)
		case step.Do == OpStop:
			err = g.run(ctx, it, OpStop, it.agent.Stop)
		default:
			err = g.run(ctx, it, OpStart, it.agent.Start)
		}
		if err != nil {
			return 0, err
		}
	}
	return 1, nil
}

// adopt takes over a resource that runs already.
func (g *group) adopt(ctx context.Context, it *item) error {
	g.event(it, OpStart, Event{Phase: Skip})
	if a, ok := it.agent.(Adopter); ok {
		if err := a.Adopt(ctx); err != nil {
			return &OperationError{it.spec(), OpStart, err}
		}
	}
	it.pause(false)
	it.end(Running, nil)
	return nil
}

// run does one operation within its time-out and tells about it.
func (g *group) run(ctx context.Context, it *item, op Operation, do func(context.Context) error) error {
	free, err := it.claim(ctx)
	if err != nil {
		return &OperationError{it.spec(), op, err}
	}
	defer free()
	ctx, cancel := limited(ctx, g.definition().Timeout(it.resource(), it.agent, op))
	defer cancel()
	it.begin(op)
	g.event(it, op, Event{Phase: Begin})
	begin := time.Now()
	err = do(WithOutput(ctx, func(text string) {
		it.line(text)
		g.event(it, op, Event{Phase: Output, Took: time.Since(begin), Line: text})
	}))
	if err != nil {
		err = &OperationError{it.spec(), op, err}
	}
	g.event(it, op, Event{Phase: End, Took: time.Since(begin), Err: err})
	switch {
	case err != nil:
		it.end(Failed, err)
	case op == OpStart:
		it.pause(false)
		it.end(Running, nil)
	case op == OpStop:
		it.end(Stopped, nil)
	}
	return err
}

// ask examines one item.
func (g *group) ask(ctx context.Context, it *item) (State, error) {
	free, err := it.claim(ctx)
	if err != nil {
		return Unknown, &OperationError{it.spec(), OpStatus, err}
	}
	defer free()
	limit := g.definition().Timeout(it.resource(), it.agent, OpStatus)
	ctx, cancel := limited(ctx, limit)
	defer cancel()
	it.begin(OpStatus)
	state, err := it.agent.Status(WithOutput(ctx, it.line))
	if err != nil && ctx.Err() != nil {
		err = withCause(ctx, err)
	}
	it.end(state, err)
	if err != nil {
		err = &OperationError{it.spec(), OpStatus, err}
	}
	return state, err
}

// batch starts or stops several items by one call and tells about each of them.
func (g *group) batch(ctx context.Context, items []*item, op Operation) (int, error) {
	def := g.definition()
	limit := def.Timeout(items[0].resource(), items[0].agent, op) + time.Duration(len(items))*10*time.Millisecond
	ctx, cancel := limited(ctx, limit)
	defer cancel()
	free, err := claimAll(ctx, items)
	if err != nil {
		return 0, &OperationError{items[0].spec(), op, err}
	}
	defer free()
	agents := make([]Agent, len(items))
	for i, it := range items {
		agents[i] = it.agent
		it.begin(op)
		g.event(it, op, Event{Phase: Begin})
	}
	first := items[0].agent.(Batcher)
	call, state := first.StartAll, Running
	if op == OpStop {
		call, state = first.StopAll, Stopped
	}
	begin := time.Now()
	done, err := call(ctx, agents)
	took := time.Since(begin)
	for _, it := range items[:done] {
		it.end(state, nil)
		g.event(it, op, Event{Phase: End, Took: took})
	}
	if done == len(items) {
		return done, nil
	}
	err = &OperationError{items[done].spec(), op, err}
	items[done].end(Failed, err)
	g.event(items[done], op, Event{Phase: End, Took: took, Err: err})
	for _, it := range items[done+1:] {
		it.end(Unknown, nil)
		g.event(it, op, Event{Phase: Skip})
	}
	return done, err
}

// examine asks every item, and says whether any of them runs.
func (g *group) examine(ctx context.Context) (running bool, err error) {
	states, err := g.askAll(ctx, g.snapshot())
	running = slices.Contains(states, Running) || slices.Contains(states, Failed)
	if err == nil && !running && slices.Contains(states, Unknown) {
		err = ErrUnsure
	}
	return running, err
}

// askAll examines items. The error is the first one of those that could not be asked.
func (g *group) askAll(ctx context.Context, items []*item) (states []State, first error) {
	for len(items) > 0 {
		n := unit(items)
		found := make([]State, n)
		var err error
		if n > 1 {
			err = g.askBatch(ctx, items[:n], found)
		} else {
			found[0], err = g.ask(ctx, items[0])
		}
		if first == nil && !slices.Contains(found, Failed) {
			first = err
		}
		states, items = append(states, found...), items[n:]
	}
	return states, first
}

// askBatch examines several items by one call.
func (g *group) askBatch(ctx context.Context, items []*item, found []State) error {
	ctx, cancel := limited(ctx, g.definition().Timeout(items[0].resource(), items[0].agent, OpStatus))
	defer cancel()
	agents := make([]Agent, len(items))
	for i, it := range items {
		agents[i] = it.agent
	}
	free, err := claimAll(ctx, items)
	if err != nil {
		return &OperationError{items[0].spec(), OpStatus, err}
	}
	defer free()
	states, err := items[0].agent.(Batcher).StatusAll(ctx, agents)
	if err != nil {
		return &OperationError{items[0].spec(), OpStatus, err}
	}
	for i, it := range items {
		it.end(states[i], nil)
	}
	copy(found, states)
	return nil
}

// event tells about one item.
func (g *group) event(it *item, op Operation, e Event) {
	e.Group, e.Resource, e.Operation = g.definition().Name, it.spec(), op
	g.manager.notify(e)
}
