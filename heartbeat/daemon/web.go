package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

// The bounds of the listener for metrics and the status page: whoever may connect must not be able to hold up this daemon.
const (
	webClients  = 16
	webPatience = 5 * time.Second
	webIdle     = time.Minute
	webHeader   = 8 << 10
	webRetry    = 30 * time.Second
	webTick     = time.Second // how exactly the time line knows when the other node took a group
)

// webAlarm is the key of its alarm.
const webAlarm = "metrics"

// web serves the metrics and the status page where the configuration says so, and nothing where it says nothing. apply is called by one
// goroutine at a time.
type web struct {
	e      *engine
	ctx    context.Context
	place  string
	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

// newWeb makes one that serves nothing yet; ctx ends it.
func newWeb(ctx context.Context, e *engine) *web { return &web{e: e, ctx: ctx} }

// apply makes it serve at a place of the configuration, "" for none.
func (w *web) apply(place string) {
	if w == nil || place == w.place {
		return
	}
	w.close()
	w.place = place
	if place == "" {
		w.e.alarms.clear(webAlarm)
		return
	}
	ctx, cancel := context.WithCancel(w.ctx)
	w.cancel = cancel
	w.tasks.Go(func() { w.run(ctx, place) })
	w.tasks.Go(func() { w.e.remember(ctx) })
}

// close ends it.
func (w *web) close() {
	if w == nil || w.cancel == nil {
		return
	}
	w.cancel()
	w.tasks.Wait()
	w.cancel = nil
}

// run listens, again and again where that does not work: an address in use may become free.
func (w *web) run(ctx context.Context, place string) {
	for ctx.Err() == nil {
		l, err := listenAt(place)
		if err == nil {
			w.e.alarms.clear(webAlarm)
			w.e.log.Infof("Metrics and the status page are at %s", place)
			err = w.serve(ctx, l, !strings.HasPrefix(place, "unix:"))
		}
		if ctx.Err() != nil {
			return
		}
		w.e.alarms.raise(webAlarm, fmt.Sprintf("metrics cannot be told at %s: %v; free it, or change metrics in %s", place, err, w.e.conf().FileOf("main")))
		select {
		case <-time.After(webRetry):
		case <-ctx.Done():
		}
	}
}

// listenAt opens a place of the configuration.
func listenAt(place string) (net.Listener, error) {
	path, unix := strings.CutPrefix(place, "unix:")
	if !unix {
		return net.Listen("tcp", place)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		if conn, err := net.Dial("unix", path); err == nil {
			conn.Close()
			return nil, errors.New("another program listens there")
		}
		os.Remove(path) // left by one that was killed
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o666); err != nil { // as the control socket: reading is for all
		l.Close()
		return nil, err
	}
	return l, nil
}

// serve answers until ctx ends or the listener fails; named says that who asks has to do it by a name of this machine.
func (w *web) serve(ctx context.Context, l net.Listener, named bool) error {
	s := &http.Server{
		Handler: w.handler(named), ReadTimeout: webPatience, WriteTimeout: webPatience, IdleTimeout: webIdle, MaxHeaderBytes: webHeader,
		ErrorLog: log.New(io.Discard, "", 0), // what a client does wrong is no news
	}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	return s.Serve(&limited{Listener: l, slots: make(chan struct{}, webClients)})
}

// limited lets so many connections in; more are closed at once.
type limited struct {
	net.Listener
	slots chan struct{}
}

// Accept is that of the listener.
func (l *limited) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.slots <- struct{}{}:
			return &slotted{Conn: conn, free: sync.OnceFunc(func() { <-l.slots })}, nil
		default:
			conn.Close()
		}
	}
}

// slotted gives its slot back when it is closed.
type slotted struct {
	net.Conn
	free func()
}

// Close closes the connection.
func (c *slotted) Close() error {
	defer c.free()
	return c.Conn.Close()
}

// handler answers GET of /metrics, /status.json and the page.
func (w *web) handler(named bool) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		h := out.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			h.Set("Allow", "GET, HEAD")
			http.Error(out, "this only tells", http.StatusMethodNotAllowed)
		case named && !ownName(r.Host):
			// A page of somebody else's, whose name leads to 127.0.0.1, must not read this through a person's browser.
			http.Error(out, "ask by 127.0.0.1, ::1 or localhost", http.StatusForbidden)
		case r.URL.Path == "/metrics":
			text, err := w.e.metrics(r.Context())
			answer(out, expositionType, text, err)
		case r.URL.Path == "/status.json":
			s, err := w.e.status(r.Context())
			var text []byte
			if err == nil {
				text, err = json.Marshal(s)
			}
			answer(out, "application/json", append(text, '\n'), err)
		case r.URL.Path == "/":
			s, err := w.e.status(r.Context())
			var text []byte
			if err == nil {
				text = renderPage(s, w.e.timeline.view(w.e.clock().Wall))
				h.Set("Content-Security-Policy", pagePolicy)
				h.Set("Referrer-Policy", "no-referrer")
			}
			answer(out, "text/html; charset=utf-8", text, err)
		default:
			http.NotFound(out, r)
		}
	})
}

// answer writes a text, or that there is none: a scrape must not succeed while the daemon hangs.
func answer(out http.ResponseWriter, kind string, text []byte, err error) {
	if err != nil {
		http.Error(out, err.Error(), http.StatusServiceUnavailable)
		return
	}
	out.Header().Set("Content-Type", kind)
	out.Write(text)
}

// ownName tells whether a request was made by one of this machine's own names for itself.
func ownName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}
