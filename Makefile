# What people type; Meson does the building. `make help` says what there is.
BUILD := build
ifeq ($(SAN),1)
BUILD := build-san
SETUP := -Db_sanitize=address,undefined -Db_lundef=false
endif
JOBS ?= $(shell nproc)
VERSION := 0.1.0

.PHONY: help deps build run test check bench soak docs source dist test-package test-release test-kubernetes install clean

help:
	@echo 'make deps      install the system packages it needs (sudo only if not root)'
	@echo 'make build     build into $(BUILD)/: $(BUILD)/bin/kong is usable in place'
	@echo 'make run       deps, build, and run a gateway in the foreground; Ctrl-C stops it'
	@echo 'make test      deps, build, unit and integration tests   T=pattern selects, SAN=1 with sanitizers'
	@echo 'make check     format, include rings, sizes, static analysis, spelling'
	@echo 'make bench     deps, build, and the benchmark'
	@echo 'make soak      mixed load while the configuration changes ten times a second   MINUTES=10'
	@echo 'make docs      write docs/reference anew from the code'"'"'s tables'
	@echo 'make dist      a source archive and a Debian package of the commit, in dist/'
	@echo 'make test-package   build the package in a fresh Debian, install, use, upgrade and purge it   RELEASE=bookworm'
	@echo 'make test-release   build and test the working tree in a system of another Debian   RELEASE=trixie T=pattern'
	@echo 'make test-kubernetes   render the chart, and check it and the manifests; needs Go'
	@echo 'make install   install (DESTDIR, and PREFIX on the first build)'
	@echo 'make clean     remove what was built'

deps:
	@tools/deps

$(BUILD)/build.ninja:
	@meson setup $(BUILD) $(SETUP) $(if $(PREFIX),--prefix $(PREFIX)) > /dev/null || { tail -n 30 $(BUILD)/meson-logs/meson-log.txt; exit 1; }

build: $(BUILD)/build.ninja
	@ninja -C $(BUILD) -j $(JOBS) --quiet

# Root's own folders are closed to the workers' user, so as root the node lives in the usual prefix.
run: deps build
	@if [ "$$(id -u)" != 0 ] && [ -z "$$KONG_PREFIX" ]; then export KONG_PREFIX="$(CURDIR)/$(BUILD)/node"; fi; \
	KONG_NGINX_MAIN_DAEMON=off exec $(BUILD)/bin/kong start

test:
	@tools/deps test
	@$(MAKE) --no-print-directory build
	@tools/test $(T)

check:
	@tools/deps check
	@$(MAKE) --no-print-directory build
	@tools/check

bench:
	@tools/deps bench test
	@$(MAKE) --no-print-directory build
	@/usr/bin/python3 tests/bench/bench.py $(BENCH)

soak:
	@tools/deps bench test
	@$(MAKE) --no-print-directory build
	@/usr/bin/python3 tests/soak/soak.py --minutes $(or $(MINUTES),10)

docs: build
	@ninja -C $(BUILD) --quiet docs

source:
	@mkdir -p dist
	@git archive --format=tar.gz --prefix=silverback-$(VERSION)/ -o dist/silverback-$(VERSION).tar.gz HEAD
	@echo dist/silverback-$(VERSION).tar.gz

dist: source
	@tools/deps dist
	@tools/make-deb dist/silverback-$(VERSION).tar.gz dist

test-package: source
	@tools/deps package
	@tools/test-package $(RELEASE)

test-release:
	@tools/deps package
	@tools/test-release $(or $(RELEASE),trixie) $(T)

test-kubernetes:
	@tools/deps package
	@/usr/bin/python3 tests/packaging/kubernetes.py

install: build
	@meson install -C $(BUILD) --no-rebuild --quiet $(if $(DESTDIR),--destdir $(DESTDIR))

clean:
	@rm -rf build build-san dist
