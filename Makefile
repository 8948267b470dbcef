# Thin words over cargo. The two to begin with: make demo, make test.

CARGO   ?= cargo
target  := $(or $(CARGO_TARGET_DIR),target)
DESTDIR ?=
prefix  ?= /usr
bindir  ?= $(prefix)/bin
datadir ?= $(prefix)/share
mandir  ?= $(datadir)/man
docdir  ?= $(datadir)/doc/pam_yubiotp
# Whatever the prefix is: where the module looks for the programs that it starts (one speaks to the network, the other
# enrolls users), where libpam looks for modules, which is where its own are (/usr/lib/TRIPLET/security on Debian,
# /usr/lib64/security on Fedora), and where pam-auth-update looks for profiles. Empty leaves the profiles out.
askdir  ?= /usr/libexec/yubiotp
# Where ykweb-password is, which only systemd starts.
passworddir ?= $(prefix)/libexec/ykweb
pamdir  ?= $(patsubst %/pam_permit.so,%,$(or $(firstword \
	$(wildcard /usr/lib/$(shell uname -m)-linux-gnu/security/pam_permit.so /usr/lib64/security/pam_permit.so \
	/usr/lib/*/security/pam_permit.so)),/usr/lib/security/pam_permit.so))
pamconfigdir ?= $(if $(wildcard /etc/debian_version),/usr/share/pam-configs)
# Where each shell looks for completions, and AppArmor for profiles that are switched off.
bashdir ?= $(datadir)/bash-completion/completions
zshdir  ?= $(datadir)/zsh/$(if $(wildcard /etc/debian_version),vendor-completions,site-functions)
fishdir ?= $(datadir)/fish/vendor_completions.d
apparmordir  ?= $(if $(wildcard /etc/debian_version),$(datadir)/apparmor/extra-profiles)

# Where systemd looks for units and users.
unitdir     ?= /usr/lib/systemd/system
sysusersdir ?= /usr/lib/sysusers.d

.PHONY: help demo demo-web test test-web test-clients test-cluster test-packages test-reproducible check advisories \
	bench bench-server bench-web fuzz build build-server build-web deb rpm install install-server install-web \
	uninstall uninstall-server uninstall-web clean

help:
	@echo 'make demo           logins, replays, a server that goes away: through the real libpam, in a temporary folder'
	@echo 'make demo-web       signing in to two web sites, an OTP that is tried twice, a stolen cookie: real nginx and Apache, in a temporary folder'
	@echo 'make test           every test; sshd, sudo and login for real if run as root'
	@echo 'make test-cluster   100,000 OTPs at three validation servers, with etcd and PostgreSQL, under every fault; as root'
	@echo 'make test-packages  the life of a host in a Debian of its own, as root: installed, logged in, upgraded, purged'
	@echo 'make test-reproducible  builds the packages twice, in two folders, and compares every byte'
	@echo 'make test-web       the web login through nginx, Apache, Caddy and Traefik, with a KDC and a browser, from apt and pip'
	@echo 'make test-clients   clients and servers that others wrote, from apt, pip, npm and cargo, against ykvald and the module'
	@echo 'make check          formatting, lints, what a login process loads, and the rules for dependencies (deny.toml)'
	@echo 'make advisories     known faults of dependencies: asks the network, needs cargo-deny or cargo-audit'
	@echo 'make bench          beside pam_oath, pam_google_authenticator, pam_yubico, the bare disk; writes tests/bench/README.md. BENCH_FULL=1: a million'
	@echo 'make bench-server   ykvald beside a bare hello, yubiserver and the disk; writes tests/bench/SERVER.md. BENCH_FULL=1: longer'
	@echo 'make bench-web      ykwebd beside a bare hello and LemonLDAP::NG: decisions about requests; writes tests/bench/WEB.md. BENCH_FULL=1: longer'
	@echo 'make fuzz           what users type, administrators write and networks send; 10 minutes a target: FUZZ_SECONDS='
	@echo 'make build          the module, its programs, and the command'
	@echo 'make build-server   the validation server, ykvald'
	@echo 'make build-web      the web login, ykwebd, and its programs'
	@echo 'make deb, rpm       all three as packages, in $(target)/debian and $(target)/generate-rpm'
	@echo 'make install        what was built, as root: DESTDIR=, prefix=, pamdir=, askdir='
	@echo 'make uninstall      takes the files out again, once no line of pam.d needs them'
	@echo 'make install-server, uninstall-server, install-web, uninstall-web'

demo:
	@packaging/need build
	$(CARGO) build -q -p pam_yubiotp -p ykmap
	$(CARGO) build -q --workspace --bin yubiotp-ask --bin demo # --workspace: with the features that `make test` needs
	@CARGO='$(CARGO)' $(target)/debug/demo

demo-web:
	@packaging/need demo-web
	$(CARGO) build -q --workspace --bin ykwebd --bin ykvald --bin demo-web
	@CARGO='$(CARGO)' $(target)/debug/demo-web

test:
	@packaging/need test
	$(CARGO) test --workspace --no-fail-fast

scripts := .ci/run $(addprefix packaging/,copyright fuzz login-dependencies need package reproducible scripts/postinst scripts/postrm scripts/prerm \
	server/postinst server/postrm server/prerm web/postinst web/postrm web/prerm) \
	$(wildcard tests/packages/*.sh tests/clients/ask/*.sh)
# The tests that --tests leaves out are named, in the same call: another one would compile with other features.
check:
	@packaging/need check
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --lib --bins --tests --benches --examples --test packages --test clients --test web -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps -q
	packaging/login-dependencies --check
	shellcheck $(scripts)
	$(CARGO) test -q --workspace --test dependencies
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny --offline check bans licenses sources; fi # the same rules

# Not part of `check`: what it says changes without a change here. A hosted CI runs it every week.
advisories:
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny check advisories; \
	elif command -v cargo-audit >/dev/null; then $(CARGO) audit --deny unsound --deny yanked; \
	else echo 'neither cargo-deny nor cargo-audit is installed: cargo install --locked cargo-deny' >&2; exit 1; fi

bench:
	@packaging/need bench
	$(CARGO) bench -q -p tests --bench peers -- --write

bench-server:
	@packaging/need bench-server
	$(CARGO) bench -q -p tests --bench server -- --write

bench-web:
	@packaging/need bench-web
	$(CARGO) bench -q -p tests --bench web -- --write

FUZZ_SECONDS ?= 600
fuzz:
	@packaging/need test
	packaging/fuzz $(FUZZ_SECONDS)

# Each is built by a call of its own: in one call with the module, what the others do (decrypt a client's private key, read
# zips) would switch on parts of crates that both use, and bring a login a crate that packaging/login-dependencies.txt does
# not list.
# Paths of this machine are left out, so that two machines build the same bytes.
folders := $(CURDIR) $(or $(CARGO_HOME),$(HOME)/.cargo) $(target)
# As written too: cargo keeps a `..` in CARGO_HOME. Of several that match, the last counts.
folders := $(foreach folder,$(folders),$(folder) $(abspath $(folder)) $(realpath $(folder)))
build build-server build-web: override export RUSTFLAGS += $(foreach folder,$(folders),--remap-path-prefix=$(folder)=/src)
build build-server build-web: override export CFLAGS += $(foreach folder,$(folders),-ffile-prefix-map=$(folder)=/src)
build:
	@packaging/need build
	$(CARGO) build --release --locked -p pam_yubiotp
	$(CARGO) build --release --locked -p ykmap
	$(CARGO) build --release --locked -p ykask
	packaging/copyright pam_yubiotp ykask ykmap >$(target)/release/copyright.new
	mv $(target)/release/copyright.new $(target)/release/copyright
	$(call completions,ykmap)

build-server:
	@packaging/need build
	$(CARGO) build --release --locked -p ykval
	packaging/copyright ykval >$(target)/release/copyright-server.new
	mv $(target)/release/copyright-server.new $(target)/release/copyright-server
	$(call completions,ykvald)

build-web:
	@packaging/need build
	$(CARGO) build --release --locked -p ykweb
	$(CARGO) build --release --locked -p ykpassword
	packaging/copyright ykweb ykpassword >$(target)/release/copyright-web.new
	mv $(target)/release/copyright-web.new $(target)/release/copyright-web
	$(call completions,ykwebd)

define completions
@mkdir -p $(target)/release/completions
for shell in bash zsh fish; do \
	$(target)/release/$(1) completions $$shell >$(target)/release/completions/$(1).$$shell || exit 1; done
endef

deb: build build-server build-web
	@packaging/need deb
	packaging/package deb host $(target)/debian
	packaging/package deb server $(target)/debian
	packaging/package deb web $(target)/debian

rpm: build build-server build-web
	@packaging/need rpm
	packaging/package rpm host $(target)/generate-rpm
	packaging/package rpm server $(target)/generate-rpm
	packaging/package rpm web $(target)/generate-rpm

test-packages: deb rpm
	@packaging/need packages
	$(CARGO) test --workspace --test packages -- --nocapture --test-threads=6 # logins that are refused wait

# A second build takes minutes: .ci/run runs this only where what decides about it has changed since it last passed.
test-reproducible: deb rpm
	@packaging/need packages
	$(CARGO) test --workspace --test packages -- --ignored --exact reproducible::two_builds_in_two_folders_give_the_same_bytes
	packaging/reproducible

# As `make test` does, for longer: a round of faults after the other, until so many OTPs were offered. What was measured is
# in $(target)/tmp/cluster.md, and a cluster that loses a host in cluster-transcript.txt beside it.
CLUSTER_OTPS ?= 50000
test-cluster:
	@packaging/need test
	YUBIOTP_TEST_CLUSTER=$(CLUSTER_OTPS) $(CARGO) test --workspace --test cluster -- --nocapture --test-threads=1
	@for store in etcd postgres; do printf '## %s\n\n' $$store; cat $(target)/tmp/cluster-$$store.md; echo; done \
		>$(target)/tmp/cluster.md; cat $(target)/tmp/cluster.md

# Pictures of the pages are kept in the folder that YUBIOTP_TEST_PICTURES names.
test-web:
	@packaging/need web
	$(CARGO) test --workspace --test web --test web_callers

# Fetches what others wrote, into $(target)/tmp/clients. What each client said is in the folder said there.
test-clients:
	@packaging/need clients
	$(CARGO) test --workspace --test clients

# Builds nothing, so that cargo does not run as root. A module that is there is replaced in one step, for logins go on.
install:
	@case '$(DESTDIR)$(prefix)' in *\ *) echo 'DESTDIR and prefix cannot have blanks' >&2; exit 1; esac
	@for file in libpam_yubiotp.so yubiotp-ask yubiotp-enroll yubiotp-try ykmap; do \
		test -e $(target)/release/$$file || { echo '$(target)/release has no '$$file': first: make build, with the same CARGO_TARGET_DIR' >&2; exit 1; }; done
	install -d $(DESTDIR)$(pamdir) $(DESTDIR)$(bindir) $(DESTDIR)$(askdir)
	install -m 644 -s $(target)/release/libpam_yubiotp.so $(DESTDIR)$(pamdir)/.pam_yubiotp.so.new
	mv -f $(DESTDIR)$(pamdir)/.pam_yubiotp.so.new $(DESTDIR)$(pamdir)/pam_yubiotp.so
	for program in yubiotp-ask yubiotp-enroll yubiotp-try; do \
		install -m 755 -s $(target)/release/$$program $(DESTDIR)$(askdir)/.$$program.new && \
		mv -f $(DESTDIR)$(askdir)/.$$program.new $(DESTDIR)$(askdir)/$$program || exit 1; done
	install -m 755 -s $(target)/release/ykmap $(DESTDIR)$(bindir)/ykmap
	$(call manual,$(host_pages))
	$(call completed,ykmap)
	[ -z '$(pamconfigdir)' ] || install -D -m 644 -t $(DESTDIR)$(pamconfigdir) packaging/pam-configs/*
	[ -z '$(apparmordir)' ] || install -D -m 644 -t $(DESTDIR)$(apparmordir) packaging/apparmor/usr.*
	install -D -m 644 packaging/systemd/yubiotp-ask.sysusers $(DESTDIR)$(sysusersdir)/yubiotp-ask.conf
	install -D -m 644 -t $(DESTDIR)$(unitdir) $(own) $(undo)
	sed -i 's|/usr/libexec/yubiotp/|$(askdir)/|' $(addprefix $(DESTDIR)$(unitdir)/,$(notdir $(own)))
	install -D -m 644 -t $(DESTDIR)$(unitdir) $(metrics)
	sed -i 's|/usr/bin/|$(bindir)/|' $(DESTDIR)$(unitdir)/yubiotp-metrics.service
	sed -i 's|/usr/bin/|$(bindir)/|' $(DESTDIR)$(unitdir)/$(notdir $(undo))
	install -D -m 644 -t $(DESTDIR)$(unitdir)/$(notdir $(helper)) $(helper)/*
	$(documents)
	install -d $(DESTDIR)$(docdir)/pam.d-examples $(DESTDIR)$(docdir)/selinux
	install -m 644 $(target)/release/copyright $(DESTDIR)$(docdir)
	install -m 644 $(filter-out pam.d-examples/ykweb,$(wildcard pam.d-examples/*)) $(DESTDIR)$(docdir)/pam.d-examples
	install -m 644 packaging/selinux/* $(DESTDIR)$(docdir)/selinux

pages := $(wildcard packaging/man/*.[0-9])
host_pages := $(filter-out packaging/man/ykvald% packaging/man/ykweb%,$(pages))
web_pages := $(filter packaging/man/ykweb%,$(pages))
# What polkit's helper needs to write to the store.
helper := packaging/systemd/polkit-agent-helper@.service.d
# What `ykmap self` needs, once it is enabled.
own := packaging/systemd/yubiotp-self.socket packaging/systemd/yubiotp-self@.service
# What writes metrics for Prometheus, once it is enabled.
metrics := packaging/systemd/yubiotp-metrics.service packaging/systemd/yubiotp-metrics.timer
# What undoes a change of `ykmap enable` after a restart, once it is enabled.
undo := packaging/systemd/yubiotp-undo.service
define manual
for page in $(1); do \
	install -D -m 644 $$page $(DESTDIR)$(mandir)/man$${page##*.}/$${page##*/} && \
	gzip -9nf $(DESTDIR)$(mandir)/man$${page##*.}/$${page##*/} || exit 1; done
endef
# Links lead to where things are there. What is about the source stays with it.
define documents
install -d $(DESTDIR)$(docdir)/docs/reference
install -m 644 README.md SECURITY.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE $(DESTDIR)$(docdir)
install -m 644 $(filter-out docs/architecture.md,$(wildcard docs/*.*)) $(DESTDIR)$(docdir)/docs
install -m 644 docs/reference/* $(DESTDIR)$(docdir)/docs/reference
sed -i -e '/CONTRIBUTING.md/d' -e 's|(packaging/selinux/|(selinux/|' -e 's|\[\([^]]*\)\](tests/bench/[A-Z]*.md)|\1|' \
	$(DESTDIR)$(docdir)/README.md
sed -i -e 's|(../packaging/selinux/|(../selinux/|' -e 's|\[\([^]]*\)\](../tests/bench/[A-Z]*.md)|\1|' $(DESTDIR)$(docdir)/docs/*.md
endef
define completed
install -D -m 644 $(target)/release/completions/$(1).bash $(DESTDIR)$(bashdir)/$(1)
install -D -m 644 $(target)/release/completions/$(1).zsh $(DESTDIR)$(zshdir)/_$(1)
install -D -m 644 $(target)/release/completions/$(1).fish $(DESTDIR)$(fishdir)/$(1).fish
endef
installed-pages = $(foreach page,$(notdir $(1)),$(DESTDIR)$(mandir)/man$(subst .,,$(suffix $(page)))/$(page).gz)
installed-completions = $(DESTDIR)$(bashdir)/$(1) $(DESTDIR)$(zshdir)/_$(1) $(DESTDIR)$(fishdir)/$(1).fish

# The validation server, for a host of its own: it shares no file with what `install` brings.
install-server: docdir = $(datadir)/doc/ykvald
install-server:
	@test -e $(target)/release/ykvald || { echo '$(target)/release has no ykvald: first: make build-server, with the same CARGO_TARGET_DIR' >&2; exit 1; }
	install -d $(DESTDIR)$(bindir)
	install -m 755 -s $(target)/release/ykvald $(DESTDIR)$(bindir)/.ykvald.new
	mv -f $(DESTDIR)$(bindir)/.ykvald.new $(DESTDIR)$(bindir)/ykvald
	$(call manual,$(filter packaging/man/ykvald%,$(pages)))
	$(call completed,ykvald)
	install -D -m 644 -t $(DESTDIR)$(unitdir) packaging/systemd/ykvald.service packaging/systemd/ykvald.socket
	sed -i 's|/usr/bin/|$(bindir)/|' $(DESTDIR)$(unitdir)/ykvald.service
	install -D -m 644 packaging/systemd/ykvald.sysusers $(DESTDIR)$(sysusersdir)/ykvald.conf
	$(documents)
	install -m 644 $(target)/release/copyright-server $(DESTDIR)$(docdir)/copyright

uninstall-server: docdir = $(datadir)/doc/ykvald
uninstall-server:
	@if [ -z '$(DESTDIR)' ] && owner=$$(dpkg -S $(bindir)/ykvald 2>/dev/null || rpm -qf $(bindir)/ykvald 2>/dev/null); then \
		echo "a package installed it, which is to be removed: $$owner" >&2; exit 1; fi
	rm -f $(DESTDIR)$(bindir)/ykvald $(DESTDIR)$(sysusersdir)/ykvald.conf
	rm -f $(DESTDIR)$(unitdir)/ykvald.service $(DESTDIR)$(unitdir)/ykvald.socket
	rm -f $(call installed-pages,$(filter packaging/man/ykvald%,$(pages))) $(call installed-completions,ykvald)
	rm -rf $(DESTDIR)$(docdir)

# The web login, for a host of its own: it shares no file with the others either.
web_units := $(addprefix packaging/systemd/,ykwebd.service ykweb-password.socket ykweb-password@.service)
# Other names of ykweb-check, each for one kind of caller.
web_callers := ykweb-check-cosign ykweb-check-pipe ykweb-check-pwauth ykweb-check-checkpassword
install-web: docdir = $(datadir)/doc/ykweb
install-web:
	@for file in ykwebd ykweb-check ykweb-password; do \
		test -e $(target)/release/$$file || { echo '$(target)/release has no '$$file': first: make build-web, with the same CARGO_TARGET_DIR' >&2; exit 1; }; done
	install -d $(DESTDIR)$(bindir) $(DESTDIR)$(passworddir)
	for program in ykwebd ykweb-check; do \
		install -m 755 -s $(target)/release/$$program $(DESTDIR)$(bindir)/.$$program.new && \
		mv -f $(DESTDIR)$(bindir)/.$$program.new $(DESTDIR)$(bindir)/$$program || exit 1; done
	for name in $(web_callers); do ln -sf ykweb-check $(DESTDIR)$(bindir)/$$name || exit 1; done
	install -m 755 -s $(target)/release/ykweb-password $(DESTDIR)$(passworddir)/.ykweb-password.new
	mv -f $(DESTDIR)$(passworddir)/.ykweb-password.new $(DESTDIR)$(passworddir)/ykweb-password
	$(call manual,$(web_pages))
	$(call completed,ykwebd)
	install -D -m 644 -t $(DESTDIR)$(unitdir) $(web_units)
	sed -i 's|/usr/bin/|$(bindir)/|' $(DESTDIR)$(unitdir)/ykwebd.service
	sed -i 's|/usr/libexec/ykweb/|$(passworddir)/|' $(DESTDIR)$(unitdir)/ykweb-password@.service
	install -D -m 644 packaging/systemd/ykweb.sysusers $(DESTDIR)$(sysusersdir)/ykweb.conf
	$(documents)
	install -d $(DESTDIR)$(docdir)/pam.d-examples $(DESTDIR)$(docdir)/web-examples
	install -m 644 pam.d-examples/ykweb $(DESTDIR)$(docdir)/pam.d-examples
	install -m 644 web-examples/* $(DESTDIR)$(docdir)/web-examples
	install -m 644 $(target)/release/copyright-web $(DESTDIR)$(docdir)/copyright

uninstall-web: docdir = $(datadir)/doc/ykweb
uninstall-web:
	@if [ -z '$(DESTDIR)' ] && owner=$$(dpkg -S $(bindir)/ykwebd 2>/dev/null || rpm -qf $(bindir)/ykwebd 2>/dev/null); then \
		echo "a package installed it, which is to be removed: $$owner" >&2; exit 1; fi
	rm -f $(addprefix $(DESTDIR)$(bindir)/,ykwebd ykweb-check $(web_callers)) $(DESTDIR)$(passworddir)/ykweb-password
	rm -f $(DESTDIR)$(sysusersdir)/ykweb.conf $(addprefix $(DESTDIR)$(unitdir)/,$(notdir $(web_units)))
	rm -f $(call installed-pages,$(web_pages)) $(call installed-completions,ykwebd)
	rm -rf $(DESTDIR)$(docdir)
	-rmdir --ignore-fail-on-non-empty $(DESTDIR)$(passworddir) 2>/dev/null

# A line in pam.d that names a module which is gone refuses everybody.
uninstall:
	@if [ -z '$(DESTDIR)' ] && [ -e $(pamdir)/pam_yubiotp.so ]; then \
		if owner=$$(dpkg -S $(pamdir)/pam_yubiotp.so 2>/dev/null || rpm -qf $(pamdir)/pam_yubiotp.so 2>/dev/null); then \
			echo "a package installed it, which is to be removed: $$owner" >&2; exit 1; fi; \
		packaging/scripts/prerm remove; fi
	rm -f $(DESTDIR)$(pamdir)/pam_yubiotp.so $(DESTDIR)$(bindir)/ykmap $(addprefix $(DESTDIR)$(askdir)/yubiotp-,ask enroll try)
	rm -f $(DESTDIR)$(sysusersdir)/yubiotp-ask.conf $(addprefix $(DESTDIR)$(unitdir)/,$(notdir $(own) $(metrics) $(undo)))
	rm -f $(call installed-pages,$(host_pages)) $(call installed-completions,ykmap)
	[ -z '$(pamconfigdir)' ] || rm -f $(addprefix $(DESTDIR)$(pamconfigdir)/,$(notdir $(wildcard packaging/pam-configs/*)))
	[ -z '$(apparmordir)' ] || rm -f $(addprefix $(DESTDIR)$(apparmordir)/,$(notdir $(wildcard packaging/apparmor/usr.*)))
	rm -f $(addprefix $(DESTDIR)$(unitdir)/,$(patsubst packaging/systemd/%,%,$(wildcard $(helper)/*)))
	rm -rf $(DESTDIR)$(docdir)
	-rmdir --ignore-fail-on-non-empty $(DESTDIR)$(askdir) $(DESTDIR)$(unitdir)/$(notdir $(helper)) 2>/dev/null

clean:
	$(CARGO) clean
