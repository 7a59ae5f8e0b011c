package host_test

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"hapair/heartbeat/host"
	"hapair/heartbeat/rehearsal/require"
)

// connect makes a connection within the loopback interface of a fresh namespace.
func connect(t testing.TB, address string) (client, server net.Conn, ends host.Connection) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	local := server.LocalAddr().(*net.TCPAddr).AddrPort()
	remote := server.RemoteAddr().(*net.TCPAddr).AddrPort()
	unmap := func(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
	return client, server, host.Connection{Local: unmap(local), Remote: unmap(remote)}
}

func TestConnectionsAreListedAndForgotten(t *testing.T) {
	require.Root(t, "the list of connections, and their end")
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", "[::]:0"} {
		client, _, ends := connect(t, address)
		if address == "[::]:0" && !ends.Local.Addr().IsLoopback() {
			t.Fatalf("listening on any address: %v", ends)
		}
		list, err := host.Connections()
		if err != nil || !slices.Contains(list, ends) {
			t.Fatalf("%s: %v is not in %v, %v", address, ends, list, err)
		}
		err = ends.Forget()
		if errors.Is(err, errors.ErrUnsupported) {
			require.Skip(t, "that connections are ended", "this kernel cannot end them")
		}
		if err != nil {
			t.Fatal(err)
		}
		client.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := client.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Errorf("%s: the connection lives: %v", address, err)
		}
		if err := ends.Forget(); err != nil {
			t.Errorf("a connection that is gone: %v", err)
		}
	}
}

// isTimeout says whether an error is that time is up.
func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}
