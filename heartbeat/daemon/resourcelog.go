package daemon

import (
	"time"

	"hapair/haresources"
)

// logResource writes what the resource manager does, in the words of Heartbeat's ResourceManager where it has some
// (protocol section 8.4).
func logResource(log *Log, e haresources.Event) {
	switch e.Phase {
	case haresources.Begin:
		if e.Operation != haresources.OpStatus {
			log.Infof("Running %s %s", e.Resource, e.Operation)
		}
	case haresources.Output:
		log.Infof("%s %s: %s", e.Resource, e.Operation, e.Line)
	case haresources.Failure:
		log.Errorf("Resource %s failed (%v): restarting it in place", e.Resource, e.Err)
	case haresources.GiveUp:
		log.Errorf("Resource %s is not restarted any more (%v): giving up its group", e.Resource, e.Err)
	case haresources.Skip:
		if e.Err != nil {
			log.Noticef("Resource %s: %v", e.Resource, e.Err)
			return
		}
		log.Debugf("%s %s: nothing to do", e.Resource, e.Operation)
	case haresources.Retry:
		log.Warnf("Retrying failed stop operation [%s]: %v", e.Resource, e.Err)
	case haresources.Accept:
		log.Errorf("Resource script for %s probably not LSB-compliant: its stop failed (%v), but it does not run", e.Resource, e.Err)
	case haresources.End:
		logResourceEnd(log, e)
	}
}

func logResourceEnd(log *Log, e haresources.Event) {
	switch {
	case (e.Operation == haresources.OpWatch || e.Operation == haresources.OpMonitor) && e.Err != nil:
		log.Warnf("Resource %s: %v", e.Resource, e.Err)
	case e.Err != nil:
		log.Errorf("%v (after %v)", e.Err, e.Took.Round(time.Millisecond))
	case e.Operation != haresources.OpStatus && e.Operation != haresources.OpWatch:
		log.Debugf("%s %s: done in %v", e.Resource, e.Operation, e.Took.Round(100*time.Microsecond))
	}
}
