# hapair: Heartbeat for Linux pairs.
#
#   make build              bin/heartbeat, one static binary
#   make test               everything there is, at a repetition that takes minutes (see .ci/test)
#   make demo               a firewall pair on this machine loses the power of its active node, and the other one takes over
#   make install DESTDIR=   where a node needs it; a configuration that exists is left alone
#   make deb, make rpm      the packages, in dist: the same bytes from the same commit (GOARCH for another machine's)
#   make interop            every scenario with Linux-HA Heartbeat on neither, either and both nodes; every command with groups on both; every medium,
#                           key method, framing and compression; ping nodes and fencing devices
#                           (a quarter of an hour with JOBS=10 pairs at once; OPTIONS=--busy JOBS=1 keeps every core busy meanwhile, and takes two hours)
#   make vm                 what needs a kernel of its own, in virtual machines: the watchdog resets a hung node before its peer serves, an NFS pair loses nothing
#   make full               the long version of test: soak, simulation, interop five times and once on a busy machine
#   make bench, make fuzz, make clean

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build
.PHONY: build test demo bench fuzz install stage deb rpm full interop vm clean tools

GO ?= go
VERSION ?= 1.0.0
COMMIT := $(shell git rev-parse --short HEAD 2>/dev/null)$(shell git diff --quiet HEAD 2>/dev/null || echo -dirty)
LDFLAGS := -s -w -X hapair/heartbeat/daemon.Version=$(VERSION)$(if $(COMMIT),+$(COMMIT))
FUZZTIME ?= 20s
REPEAT ?= 20
JOBS ?= 4
OPTIONS ?=
PAIR := testdata/cluster/two-links
PINGING := uplink-lost,uplink-standby,ping-lost-both
COMMANDS := standby-all,standby-local,standby-foreign,standby-failback,standby-idle,takeover-all,takeover-local,takeover-foreign,takeover-failback,takeover-idle,there-and-back
BOTH := power-cut,graceful-stop,return-on,return-off,return-legacy,join-on,partition
FENCING := fence-power-cut,fence-delay,fence-levels,fence-fails,fence-partition,fence-apart,fence-loop

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/heartbeat ./cmd/heartbeat

# What the tests need besides Go; as root it is installed, else it is named.
tools:
	@.ci/tools

test: tools
	@GO='$(GO)' .ci/test

demo: build
	@bin/heartbeat rehearse --scenario power-cut

# The figures that the README claims, on this machine: a median of $(REPEAT) of each.
bench: build
	$(GO) test -run '^$$' -bench . -benchmem ./...
	bin/heartbeat rehearse --repeat $(REPEAT) --scenario power-cut,graceful-stop,standby-all $(PAIR) | sed -n '/^scenario /,$$p'

fuzz:
	@for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "== $$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package; \
		done; \
	done

# All of it, whatever of it fails: a matrix with holes tells more than half of one.
interop: build tools
	@failed=; run() { echo "== $$*"; bin/heartbeat rehearse --brief --impl all --jobs $(JOBS) $(OPTIONS) "$$@" || failed=1; }; \
	run --scenario all $(PAIR); \
	run --scenario $(COMMANDS),$(BOTH) testdata/cluster/active-active; \
	run --scenario $(PINGING) testdata/cluster/uplink; \
	run --scenario fence-power-cut,fence-delay,fence-levels --set initdead=10 testdata/cluster/fencing; \
	run --scenario tour --wiring all $(PAIR); \
	[ -z "$$failed" ]

vm: build
	@testdata/vm/watchdog
	@testdata/vm/watchdog-pair
	@testdata/vm/nfs

full: test interop vm
	SIM_SEEDS=100000 $(GO) test -timeout 2h -run 'TestSimulation|TestNoFenceLoop' -v ./heartbeat | tail -n 8
	for round in 2 3 4 5; do $(MAKE) --no-print-directory interop; done
	$(MAKE) --no-print-directory interop OPTIONS=--busy JOBS=1
	for round in 1 2 3; do bin/heartbeat rehearse --brief --scenario all --scripts real; done
	bin/heartbeat rehearse --brief --repeat 5 --scenario $(FENCING) testdata/cluster/fencing
	bin/heartbeat rehearse --brief --repeat 5 --scenario $(PINGING) testdata/cluster/uplink

# The classic layout (protocol section 0.1), so that operators' scripts find what they call.
LIBEXEC := $(DESTDIR)/usr/libexec/heartbeat
SHARE := $(DESTDIR)/usr/share/heartbeat
ETC := $(DESTDIR)/etc/ha.d
MAN := $(DESTDIR)/usr/share/man
DOC := $(DESTDIR)/usr/share/doc/hapair
PAGES := $(wildcard docs/man/*.[1-8])
TOOLS := hb_standby hb_takeover hb_addnode hb_delnode hb_setweight hb_setsite ha_propagate ResourceManager req_resource mach_down

install: build
	install -d $(LIBEXEC) $(SHARE)/example $(DESTDIR)/usr/bin $(DESTDIR)/usr/sbin $(DESTDIR)/usr/lib/systemd/system \
		$(DESTDIR)/usr/lib/sysusers.d $(DESTDIR)/etc/logrotate.d $(DESTDIR)/etc/init.d $(ETC)/rc.d $(ETC)/resource.d $(ETC)/stonith.d $(ETC)/hooks $(DESTDIR)/var/lib/heartbeat
	install -m 0755 bin/heartbeat $(LIBEXEC)/heartbeat
	ln -sfn ../libexec/heartbeat/heartbeat $(DESTDIR)/usr/sbin/heartbeat
	ln -sfn ../libexec/heartbeat/heartbeat $(DESTDIR)/usr/bin/cl_status
	for tool in $(TOOLS); do ln -sfn ../../libexec/heartbeat/heartbeat $(SHARE)/$$tool; done
	[ -e $(ETC)/harc ] || ln -s ../../usr/libexec/heartbeat/heartbeat $(ETC)/harc
	cp -r ha.d/ha.cf ha.d/heartbeat.toml.reference ha.d/haresources ha.d/authkeys ha.d/resource.d ha.d/stonith.d ha.d/firewall ha.d/README $(SHARE)/example/
	chmod 0600 $(SHARE)/example/authkeys
	install -d $(SHARE)/monitoring
	install -m 0644 ha.d/monitoring/*.yml ha.d/monitoring/*.json $(SHARE)/monitoring/
	for script in ha.d/resource.d/*; do \
		[ -e $(ETC)/resource.d/$${script##*/} ] || install -m 0755 $$script $(ETC)/resource.d/; \
	done
	[ -e $(ETC)/README ] || install -m 0644 ha.d/README $(ETC)/README
	install -m 0755 ha.d/init.d/heartbeat $(DESTDIR)/etc/init.d/heartbeat
	install -m 0644 ha.d/heartbeat.service $(DESTDIR)/usr/lib/systemd/system/heartbeat.service
	install -m 0644 ha.d/heartbeat.service $(SHARE)/heartbeat.service
	install -m 0644 ha.d/package/sysusers $(DESTDIR)/usr/lib/sysusers.d/heartbeat.conf
	[ -e $(DESTDIR)/etc/logrotate.d/heartbeat ] || install -m 0644 ha.d/package/logrotate $(DESTDIR)/etc/logrotate.d/heartbeat
	install -d $(DOC)
	install -m 0644 README.md docs/*.md $(DOC)/
	for page in $(PAGES); do \
		install -d $(MAN)/man$${page##*.}; gzip -9nc $$page >$(MAN)/man$${page##*.}/$${page##*/}.gz; chmod 0644 $(MAN)/man$${page##*.}/$${page##*/}.gz; \
	done
	for shell in bash:bash-completion/completions/heartbeat zsh:zsh/vendor-completions/_heartbeat fish:fish/vendor_completions.d/heartbeat.fish; do \
		install -d $(DESTDIR)/usr/share/$$(dirname $${shell#*:}); \
		GOARCH= $(GO) run ./cmd/heartbeat completion $${shell%%:*} >$(DESTDIR)/usr/share/$${shell#*:}; chmod 0644 $(DESTDIR)/usr/share/$${shell#*:}; \
	done
	@echo "installed; an example to start from is in /usr/share/heartbeat/example"

# Packages. Everything in them depends on the commit alone: names, order, modes and times.
NFPM ?= $(GO) run github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.4
DIST ?= dist
ARCH := $(or $(GOARCH),$(shell $(GO) env GOARCH))
STAGE := $(abspath $(DIST))/stage-$(ARCH)
PACKAGE_VERSION ?= $(VERSION)$(if $(COMMIT),+$(shell git rev-list --count HEAD 2>/dev/null).g$(subst -,.,$(COMMIT)))
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
export SOURCE_DATE_EPOCH

stage:
	rm -rf $(STAGE)
	umask 022; $(MAKE) -s install DESTDIR=$(STAGE) >/dev/null
	install -D -m 0644 ha.d/package/copyright $(STAGE)/usr/share/doc/hapair/copyright
	$(GO) list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}' ./cmd/heartbeat | sort -u | while read -r module dir; do \
		for text in $$dir/LICENSE* $$dir/COPYING*; do \
			[ ! -e $$text ] || install -D -m 0644 $$text $(STAGE)/usr/share/doc/hapair/licenses/$$module/$${text##*/}; \
		done; \
	done
	chmod -R u+rwX,go+rX,go-w $(STAGE)
	chmod 0600 $(STAGE)/usr/share/heartbeat/example/authkeys
	find $(STAGE) -exec touch -h -d @$(SOURCE_DATE_EPOCH) {} +

deb rpm: stage
	STAGE=$(STAGE) ARCH=$(ARCH) PACKAGE_VERSION='$(PACKAGE_VERSION)' GOARCH= $(NFPM) package --config ha.d/package/nfpm.yaml --packager $@ --target $(DIST)/

clean:
	rm -rf bin dist
	$(GO) clean -testcache
