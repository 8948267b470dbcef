# Thin words over cargo. The two to begin with: make demo, make test.

CARGO   ?= cargo
target  := $(or $(CARGO_TARGET_DIR),target)
DESTDIR ?=
prefix  ?= /usr
bindir  ?= $(prefix)/bin
docdir  ?= $(prefix)/share/doc/pam_yubiotp
# Where the module looks for the program that speaks to the network. Elsewhere, `ask` in config.toml must say where.
askdir  ?= $(prefix)/libexec/yubiotp
# Where libpam looks for modules: /usr/lib/TRIPLET/security on Debian, /usr/lib64/security on Fedora.
triplet := $(shell dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || cc -print-multiarch 2>/dev/null)
pamdir  ?= $(prefix)/$(if $(triplet),lib/$(triplet),$(if $(wildcard /usr/lib64/security),lib64,lib))/security

.PHONY: help demo test check bench fuzz build install uninstall clean

help:
	@echo 'make demo       logins, replays, a server that goes away: through the real libpam, in a temporary folder'
	@echo 'make test       every test; sshd, sudo and login for real if run as root'
	@echo 'make check      formatting, lints, and what a login process loads'
	@echo 'make bench      beside pam_oath, pam_yubico and the bare disk; writes tests/bench/README.md. BENCH_FULL=1: a million'
	@echo 'make fuzz       what users type, administrators write and networks send; 10 minutes a target: FUZZ_SECONDS='
	@echo 'make build      the module, the program that asks validation servers, and the command'
	@echo 'make install    what was built, as root: DESTDIR=, prefix=, pamdir=, askdir='
	@echo 'make uninstall  takes the files out again; first take the module out of /etc/pam.d'

demo:
	@packaging/need build
	$(CARGO) build -q -p pam_yubiotp
	$(CARGO) build -q -p ykask
	$(CARGO) build -q -p ykmap
	@$(CARGO) run -q -p tests --bin demo

test:
	@packaging/need test
	$(CARGO) test --workspace --no-fail-fast

check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps -q
	packaging/login-dependencies --check
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny --offline check bans licenses sources; \
	else echo 'cargo-deny is not installed: not asked'; fi

bench:
	@packaging/need bench
	$(CARGO) bench -q -p tests --bench peers -- --write

FUZZ_SECONDS ?= 600
fuzz:
	@packaging/need test
	packaging/fuzz $(FUZZ_SECONDS)

# One package at a time: built together, the module would be linked with the command's features.
build:
	@packaging/need build
	$(CARGO) build --release --locked -p pam_yubiotp
	$(CARGO) build --release --locked -p ykask
	$(CARGO) build --release --locked -p ykmap

# Builds nothing, so that cargo does not run as root. A module that is there is replaced in one step, for logins go on.
install:
	@for file in libpam_yubiotp.so yubiotp-ask ykmap; do \
		test -e $(target)/release/$$file || { echo 'first: make build' >&2; exit 1; }; done
	install -d $(DESTDIR)$(pamdir) $(DESTDIR)$(bindir) $(DESTDIR)$(askdir)
	install -d $(DESTDIR)$(docdir)/pam.d-examples $(DESTDIR)$(docdir)/docs
	install -m 644 -s $(target)/release/libpam_yubiotp.so $(DESTDIR)$(pamdir)/.pam_yubiotp.so.new
	mv -f $(DESTDIR)$(pamdir)/.pam_yubiotp.so.new $(DESTDIR)$(pamdir)/pam_yubiotp.so
	install -m 755 -s $(target)/release/yubiotp-ask $(DESTDIR)$(askdir)/.yubiotp-ask.new
	mv -f $(DESTDIR)$(askdir)/.yubiotp-ask.new $(DESTDIR)$(askdir)/yubiotp-ask
	install -m 755 -s $(target)/release/ykmap $(DESTDIR)$(bindir)/ykmap
	install -m 644 README.md SECURITY.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE $(DESTDIR)$(docdir)
	install -m 644 docs/store.md $(DESTDIR)$(docdir)/docs
	install -m 644 pam.d-examples/* $(DESTDIR)$(docdir)/pam.d-examples

# A line in pam.d that names a module which is gone refuses everybody.
uninstall:
	@if [ -z '$(DESTDIR)' ] && grep -ls '^[^#]*pam_yubiotp' /etc/pam.d/* /etc/pam.conf; then \
		echo 'these still name the module: take it out of them first' >&2; exit 1; fi
	rm -f $(DESTDIR)$(pamdir)/pam_yubiotp.so $(DESTDIR)$(bindir)/ykmap
	rm -f $(DESTDIR)$(askdir)/yubiotp-ask
	-rmdir --ignore-fail-on-non-empty $(DESTDIR)$(askdir) 2>/dev/null
	rm -rf $(DESTDIR)$(docdir)

clean:
	$(CARGO) clean
