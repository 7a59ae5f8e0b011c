package agent

import (
	"os"
	"path/filepath"

	"hapair/haresources"
)

// Program is the file that is run for a resource: a script or an OCF agent. "" where none is: what this program does itself, and units
// of systemd. The error says why there is no such file now.
func Program(r haresources.Resource, env Environment) (string, error) {
	switch r.Class {
	case haresources.ClassHeartbeat:
		if native(env.Paths, r.Name) || ownKind(env.Paths, r.Name) != nil {
			return "", nil
		}
		return (&script{env: env, name: r.Name, dirs: []string{env.Paths.ResourceDir, env.Paths.InitDir}}).find()
	case haresources.ClassLSB:
		return (&script{env: env, name: r.Name, dirs: []string{env.Paths.InitDir}}).find()
	case haresources.ClassOCF:
		made, err := openOCF(env, r)
		if err != nil {
			return "", err
		}
		path := made.(*ocf).path()
		_, err = os.Stat(path)
		return path, err
	}
	return "", nil
}

// Files are the regular files that a resource's arguments name by their full path: rulesets and the like.
func Files(r haresources.Resource) (list []string) {
	for _, arg := range r.Args {
		if !filepath.IsAbs(arg) {
			continue
		}
		if info, err := os.Stat(arg); err == nil && info.Mode().IsRegular() {
			list = append(list, arg)
		}
	}
	return list
}
