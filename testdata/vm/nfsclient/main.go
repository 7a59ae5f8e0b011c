// Nfsclient writes numbered records to a file on an NFS mount and syncs each, under a lock that it never gives back; it tells every record that took long,
// and at the end, when the file "end" appears beside it, whether each record that was acknowledged is there.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	pause = 10 * time.Millisecond
	long  = 500 * time.Millisecond
)

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Println("CLIENT FAILED:", err)
		os.Exit(1)
	}
}

// run writes to a file until another one exists.
func run(path, end string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	lock := syscall.Flock_t{Type: syscall.F_WRLCK}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &lock); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	fmt.Println("CLIENT BEGINS")
	n := 0
	for ; ; n++ {
		if _, err := os.Stat(end); err == nil {
			break
		}
		begin := time.Now()
		if _, err := f.WriteAt(record(n), int64(n*len(record(n)))); err != nil {
			return fmt.Errorf("record %d: %w", n, err)
		}
		if err := f.Sync(); err != nil {
			return fmt.Errorf("sync of record %d: %w", n, err)
		}
		if took := time.Since(begin); took >= long {
			fmt.Printf("CLIENT WAITED %.1f s\n", took.Seconds())
		}
		time.Sleep(pause)
	}
	if err := f.Close(); err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var want bytes.Buffer
	for i := range n {
		want.Write(record(i))
	}
	if !bytes.Equal(text, want.Bytes()) {
		return fmt.Errorf("%s holds %d bytes, which are not the %d records that were acknowledged", filepath.Base(path), len(text), n)
	}
	fmt.Printf("CLIENT ENDS: all %d records that were acknowledged are there\n", n)
	return nil
}

func record(n int) []byte { return fmt.Appendf(nil, "%08d\n", n) }
