package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"hapair/heartbeat/config"
	"hapair/heartbeat/fault"
)

func (a *app) convertCommand() *cobra.Command {
	var output string
	var force bool
	c := &cobra.Command{
		Use: "convert [DIR]", Short: "Turn ha.cf and haresources into one heartbeat.toml that means the same", Args: cobra.MaximumNArgs(1),
		Long: "Say in the language of heartbeat.toml what the ha.cf and haresources of a directory say, with their comments. Both are then read\n" +
			"as each node reads them and compared field by field: where they do not mean the same, nothing is written. authkeys stays as it is.\n" +
			"Exit code 0: written; 1: nothing was written, since the files hold errors or the two would not mean the same.",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				a.dirs.config = args[0]
			}
			return a.convert(output, force)
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "write to this `FILE` instead of standard output")
	c.Flags().BoolVar(&force, "force", false, "replace the file where it exists")
	return c
}

// convert is `heartbeat convert`.
func (a *app) convert(output string, force bool) error {
	dir := a.dirs.paths().Config
	out, err := config.Convert(dir)
	if err != nil {
		for _, f := range out.Faults {
			if f.Severity == fault.Error {
				fmt.Fprintln(a.err, f.Error())
			}
		}
		return &exit{exitFailure, err}
	}
	if output == "" {
		if _, err := a.out.Write(out.Text); err != nil {
			return &exit{exitFailure, err}
		}
		return nil
	}
	if err := writeNew(output, out.Text, 0o644, force); err != nil {
		return &exit{exitFailure, err}
	}
	fmt.Fprintf(a.out, "Wrote %s. It means the same as %s and haresources in %s, which was verified field by field.\n", output, "ha.cf", dir)
	if n := len(out.Left); n > 0 {
		fmt.Fprintf(a.out, "Left out, since it has no effect:\n  %s\n", strings.Join(out.Left, "\n  "))
	}
	if same, err := sameDirectory(filepath.Dir(output), dir); err == nil && same {
		fmt.Fprintf(a.out, "Only one of the two may be there. Next, on both nodes:\n  mkdir -p %[3]s && mv %[1]s %[2]s %[3]s\n  heartbeat check && heartbeat reload\n",
			filepath.Join(dir, "ha.cf"), filepath.Join(dir, "haresources"), filepath.Join(dir, "classic"))
	}
	return nil
}

// sameDirectory says whether two paths lead to one directory.
func sameDirectory(a, b string) (bool, error) {
	x, err := os.Stat(a)
	if err != nil {
		return false, err
	}
	y, err := os.Stat(b)
	if err != nil {
		return false, err
	}
	return os.SameFile(x, y), nil
}

// writeNew writes a file that does not exist yet, or with force replaces it in one moment. A crash leaves the old one or the new one.
func writeNew(path string, text []byte, mode fs.FileMode, force bool) error {
	if _, err := os.Lstat(path); err == nil && !force {
		return fmt.Errorf("%s exists and was left as it is: move it away, or use --force", path)
	}
	t, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(t.Name()) // where it was put in its place there is nothing to remove, or a second name
	_, err = t.Write(text)
	err = errors.Join(err, t.Chmod(mode), t.Sync(), t.Close())
	switch {
	case err != nil:
	case force:
		err = os.Rename(t.Name(), path)
	default:
		err = os.Link(t.Name(), path) // fails where another was quicker
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
