package agent

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/mail"
	"strings"
	"sync"
	"time"

	"hapair/haresources"
	"hapair/heartbeat/fault"
)

// mailTo is the resource MailTo::ADDRESS[,ADDRESS…][::SUBJECT]: somebody gets a mail when the group comes and when it goes. A
// mail that cannot be sent holds nothing up.
type mailTo struct {
	env     Environment
	to      []string
	subject string
	mark    marker
	sending sync.WaitGroup

	mu   sync.Mutex
	fail error // of the last mail
}

// Bounds on the sending of one mail.
const (
	mailLimit    = time.Minute
	mailPatience = 3 * time.Second // of Close
)

// openMailTo makes the agent.
func openMailTo(env Environment, r haresources.Resource) (haresources.Agent, error) {
	if len(r.Args) < 1 || len(r.Args) > 2 {
		return nil, errors.New("write MailTo::ADDRESS[,ADDRESS…][::SUBJECT]")
	}
	m := &mailTo{env: env, subject: "Resource Group", mark: newMarker(env, r)}
	if len(r.Args) == 2 {
		m.subject = r.Args[1]
	}
	for _, to := range strings.Split(r.Args[0], ",") {
		if a, err := mail.ParseAddress(to); strings.Contains(to, "@") && (err != nil || a.Address != to) || to == "" || strings.HasPrefix(to, "-") {
			return nil, fmt.Errorf("%q is not a mail address", to)
		}
		m.to = append(m.to, to)
	}
	return m, nil
}

// Start sends the mail that the group comes.
func (m *mailTo) Start(context.Context) error {
	return m.once(haresources.Running, "Takeover in progress at %s on %s", m.mark.set)
}

// Stop sends the mail that the group goes.
func (m *mailTo) Stop(context.Context) error {
	return m.once(haresources.Stopped, "Migrating resource away at %s from %s", m.mark.clear)
}

// once sends a mail unless that was done.
func (m *mailTo) once(already haresources.State, text string, note func() error) error {
	if state, err := m.mark.status(); err != nil || state == already {
		return err
	}
	text = fmt.Sprintf(text, time.Now().Format("Mon Jan _2 15:04:05 MST 2006"), m.env.Node)
	m.sending.Go(func() {
		err := m.send(text)
		m.mu.Lock()
		defer m.mu.Unlock()
		m.fail = err
	})
	return note()
}

// send hands one mail to the system: to sendmail, which every mail server brings, or to mail.
func (m *mailTo) send(text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), mailLimit)
	defer cancel()
	subject := mime.QEncoding.Encode("utf-8", m.subject+" "+text)
	t := tool{name: "sendmail", args: append([]string{"-i", "--"}, m.to...), stdin: fmt.Sprintf(
		"To: %s\nSubject: %s\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n%s\n%s\n",
		strings.Join(m.to, ", "), subject, m.subject, text)}
	if _, err := findTool(m.env, t.name); err != nil {
		t = tool{name: "mail", args: append([]string{"-s", m.subject + " " + text, "--"}, m.to...), stdin: m.subject + "\n" + text + "\n"}
	}
	lines, err := t.run(ctx, m.env)
	if err != nil {
		return fmt.Errorf("send mail to %s: %w", strings.Join(m.to, ", "), lastWords(err, lines))
	}
	return nil
}

// Status says whether Start was called since Stop.
func (m *mailTo) Status(context.Context) (haresources.State, error) { return m.mark.status() }

// Describe says whom, and what went wrong with the last mail.
func (m *mailTo) Describe() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail.Error()
	}
	return "mail to " + strings.Join(m.to, ", ")
}

// Close gives a mail that is on its way some time to get there.
func (m *mailTo) Close() error {
	sent := make(chan struct{})
	go func() { defer close(sent); m.sending.Wait() }()
	select {
	case <-sent:
	case <-time.After(mailPatience):
	}
	return nil
}

// Check looks for a program that sends mail.
func (m *mailTo) Check() (list fault.List) {
	for _, name := range []string{"sendmail", "mail"} {
		if _, err := findTool(m.env, name); err == nil {
			return nil
		}
	}
	list.Addf(fault.Fault{Severity: fault.Warning}, "install a mail server, or msmtp-mta", "neither sendmail nor mail is installed: nobody will get mail")
	return list
}
