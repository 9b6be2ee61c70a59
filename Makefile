# ixy-tapd: a fast NIC, driven from userspace, as an ordinary Linux interface.  `make help` lists the targets.

MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:

ifeq ($(origin CC),default)
CC      := gcc
endif
PREFIX  ?= /usr/local
DESTDIR ?=
BUILD   := build$(if $(SAN),/san)
Q       := $(if $(V),,@)
VERSION := 0.1.0
CFLAGS  ?= -O2 -g

# Used only by rules that `make deps` has run before, so a missing pkg-config is not an error here.
NL_CFLAGS  := $(shell pkg-config --cflags libnl-3.0 libnl-route-3.0 2>/dev/null)
NL_LIBS    := $(shell pkg-config --libs libnl-3.0 libnl-route-3.0 2>/dev/null)
WARN       := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla $(if $(WERROR),-Werror)
, := ,
SANITIZE   := $(if $(SAN),-fsanitize=address$(,)undefined)
ALL_CFLAGS := -std=gnu11 -D_GNU_SOURCE -pthread -fno-strict-aliasing $(WARN) -I. -DIXY_VERSION='"$(VERSION)"' \
	$(NL_CFLAGS) $(if $(SAN),$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=undefined -DIXY_DEBUG) \
	$(CFLAGS)
ALL_LDFLAGS := -pthread $(SANITIZE) $(LDFLAGS)
# Debian's libev has no .pc file.
LDLIBS     := $(NL_LIBS) -lbpf -lev -lm

# Three rooms, three archives; each program is its main.c and the archives below it. A room of tests is
# programs test_*.c and, for those in namespaces, an archive of what they share.
driver_SRC  := $(wildcard driver/*.c driver/*/*.c)
softnic_SRC := $(filter-out %/main.c,$(wildcard netns-tests/softnic/*.c))
bridge_SRC  := $(filter-out %/main.c,$(wildcard bridge/*.c))
unit_SRC    := $(wildcard netns-tests/unit/test_*.c)
unit_rig_SRC := $(filter-out $(unit_SRC) %.bpf.c,$(wildcard netns-tests/unit/*.c))
netns_SRC   := $(wildcard netns-tests/netns/test_*.c)
rig_SRC     := $(filter-out $(netns_SRC),$(wildcard netns-tests/netns/*.c))
vm_SRC      := $(wildcard netns-tests/vm/test_*.c)
guest_SRC   := $(wildcard netns-tests/vm/guest_*.c)
vm_rig_SRC  := $(filter-out $(vm_SRC) %/agent.c %/shell.c $(guest_SRC),$(wildcard netns-tests/vm/*.c))
obj          = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

LIBIXY   := $(BUILD)/libixy.a
BRIDGE   := $(BUILD)/obj/bridge.a
SOFTNIC  := $(BUILD)/obj/softnic.a
UNIT_RIG := $(BUILD)/obj/unit.a
RIG      := $(BUILD)/obj/netns.a
VM_RIG   := $(BUILD)/obj/vm.a
PROGRAMS := $(BUILD)/ixy-tapd $(BUILD)/ixy-softnic
TOOLS    := contrib/ixy-bind
BENCH    := $(BUILD)/bench/traffic $(BUILD)/bench/naive
# Meters of the driver alone, on the software NIC in their own process.
METERS   := $(BUILD)/bench/fwd_cost $(BUILD)/bench/figures
# Two kinds of applications: examples of AF_XDP, which stay in the build directory, and those on ixy devices, which are
# installed. One of these is contrib/apps/ixy-NAME.c, or a folder contrib/apps/NAME/, or both.
app_SRC  := $(wildcard contrib/apps/app.c contrib/apps/app_*.c)
APPS     := $(patsubst contrib/apps/%.c,$(BUILD)/apps/%,$(filter-out $(app_SRC) contrib/apps/ixy-%,$(wildcard contrib/apps/*.c)))
IXY_APPS := $(addprefix $(BUILD)/ixy-,$(sort $(patsubst contrib/apps/ixy-%.c,%,$(wildcard contrib/apps/ixy-*.c)) \
	$(patsubst contrib/apps/%/,%,$(dir $(wildcard contrib/apps/*/*.c)))))
UNITS    := $(patsubst netns-tests/unit/%.c,$(BUILD)/unit/%,$(unit_SRC))
NETNS    := $(patsubst netns-tests/netns/%.c,$(BUILD)/netns/%,$(netns_SRC))
# The same programs under a second name run their tests on an AF_XDP device in place of the software NIC (rig.h).
NETNS_XDP := $(patsubst %,$(BUILD)/netns/test_%-xdp,reach frames transfer counters mirror life offload queues pcap echo stats)
VM       := $(patsubst netns-tests/vm/%.c,$(BUILD)/vm/%,$(vm_SRC))
VM_AGENT := $(BUILD)/vm/agent
VM_SHELL := $(BUILD)/vm/shell
# Tests that run inside the guest, started by one of $(VM).
VM_GUEST := $(patsubst netns-tests/vm/%.c,$(BUILD)/vm/%,$(guest_SRC))

##   all         the programs, the applications and the library, in build/ (default)
.PHONY: all
all: $(LIBIXY) $(PROGRAMS) $(IXY_APPS) $(APPS)

$(LIBIXY): $(call obj,$(driver_SRC))
$(BRIDGE): $(call obj,$(bridge_SRC))
$(SOFTNIC): $(call obj,$(softnic_SRC))
$(UNIT_RIG): $(call obj,$(unit_rig_SRC))
$(RIG): $(call obj,$(rig_SRC))
$(VM_RIG): $(call obj,$(vm_rig_SRC))
$(LIBIXY) $(BRIDGE) $(SOFTNIC) $(UNIT_RIG) $(RIG) $(VM_RIG):
	@mkdir -p $(@D)
	@echo "  AR      $@"
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/ixy-tapd: $(call obj,bridge/main.c) $(BRIDGE) $(LIBIXY)
$(BUILD)/ixy-softnic: $(call obj,netns-tests/softnic/main.c) $(SOFTNIC) $(LIBIXY)
$(BENCH): $(BUILD)/bench/%: $(BUILD)/obj/contrib/bench/%.o $(LIBIXY)
$(METERS): $(BUILD)/bench/%: $(BUILD)/obj/contrib/bench/%.o $(call obj,contrib/bench/forward_rig.c contrib/bench/steps.c) $(SOFTNIC) $(LIBIXY)
$(APPS): $(BUILD)/apps/%: $(BUILD)/obj/contrib/apps/%.o $(call obj,$(app_SRC)) $(LIBIXY)
.SECONDEXPANSION:
$(IXY_APPS): $(BUILD)/ixy-%: $$(call obj,$$(wildcard contrib/apps/ixy-%.c contrib/apps/%/*.c) $(app_SRC)) $(LIBIXY)
# An application that is large enough for unit tests: all of it but its main().
$(filter $(BUILD)/unit/test_pktgen_%,$(UNITS)): \
	$(call obj,$(filter-out %/main.c,$(wildcard contrib/apps/pktgen/*.c)) $(app_SRC))
$(UNITS): $(BUILD)/unit/%: $(BUILD)/obj/netns-tests/unit/%.o $(UNIT_RIG) $(SOFTNIC) $(BRIDGE) $(LIBIXY)
$(NETNS): $(BUILD)/netns/%: $(BUILD)/obj/netns-tests/netns/%.o $(RIG) $(SOFTNIC) $(BRIDGE) $(LIBIXY)
$(VM) $(VM_SHELL): $(BUILD)/vm/%: $(BUILD)/obj/netns-tests/vm/%.o $(VM_RIG) $(RIG) $(SOFTNIC) $(BRIDGE) $(LIBIXY)
$(VM_AGENT): $(call obj,netns-tests/vm/agent.c)
$(VM_GUEST): $(BUILD)/vm/%: $(BUILD)/obj/netns-tests/vm/%.o $(LIBIXY)
$(UNITS) $(NETNS) $(VM) $(VM_GUEST) $(VM_SHELL): LDLIBS += -lcmocka
$(BUILD)/ixy-softnic $(filter %/ixy-pcap %/ixy-pktgen,$(IXY_APPS)) $(UNITS) $(NETNS) $(VM) $(VM_SHELL) \
	$(METERS): LDLIBS += -lpcap
$(PROGRAMS) $(IXY_APPS) $(APPS) $(UNITS) $(NETNS) $(VM) $(VM_AGENT) $(VM_GUEST) $(VM_SHELL) $(BENCH) $(METERS):
	@mkdir -p $(@D)
	@echo "  LINK    $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

$(NETNS_XDP): %-xdp: %
	$(Q)ln -sf $(<F) $@

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Objects depend on how they are compiled: CC=clang, WERROR=1 or other CFLAGS build them again.
.PHONY: FORCE
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@if ! echo '$(CC) $(subst ','\'',$(ALL_CFLAGS))' | cmp -s - $@; then \
		contrib/install-deps.sh -n build 2>/dev/null || { \
			contrib/install-deps.sh -n build; echo "run: sudo make deps" >&2; exit 1; }; \
		echo '$(CC) $(subst ','\'',$(ALL_CFLAGS))' >$@; \
	fi

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)

##   deps        install what is missing (Debian packages, by apt; silent when nothing is)
.PHONY: deps
deps:
	@contrib/install-deps.sh build test vm

# After deps, the targets below start make anew: only then does pkg-config answer.
#
# What `sudo make` built belongs to who called it, or a later plain `make` could not replace it.
GIVE_BACK = @[ -z "$$SUDO_UID" ] || for dir in build $(BUILD); do \
	[ ! -d $$dir ] || chown -R "$$SUDO_UID:$$SUDO_GID" $$dir; done

##   demo        see it work: two namespaces, the daemon between them, the usual tools (KEEP=1 leaves it running)
##   demo-end    end what KEEP=1 left running
.PHONY: demo demo-end
demo:
	@contrib/install-deps.sh build test
	@$(MAKE) -s all
	$(GIVE_BACK)
	@IXY_BUILD=$(BUILD) KEEP=$(KEEP) contrib/demo.sh
demo-end:
	@contrib/demo.sh end

# Every process under test inherits these: a sanitizer's report ends it with a status that no test expects.
IMAGE    := build/image
TEST_ENV := IXY_BUILD=$(BUILD) IXY_VM=$(abspath $(IMAGE)) $(if $(SAN),\
	ASAN_OPTIONS=detect_leaks=1:print_stacktrace=1:exitcode=99 LSAN_OPTIONS=exitcode=99 \
	UBSAN_OPTIONS=print_stacktrace=1:exitcode=99)
HOST_TESTS := $(UNITS) $(NETNS) $(NETNS_XDP)
# What sanitizers add and what emulating each instruction costs multiply in a guest. With SAN the software NIC is
# judged there, which runs outside of it.
VM_TESTS   := $(if $(SAN),$(BUILD)/vm/test_stock_driver,$(VM))
# The longest first, for two programs (or as many as there are processors) at a time.
TESTS      := $(VM_TESTS) $(HOST_TESTS)
TEST_JOBS  ?= $(shell nproc)

##   test        all tests (TESTS="build/unit/test_x ..." for some; TEST_JOBS=1: one program after another, shown live)
##   test-host   those that need no virtual machine: units, and the real programs in network namespaces
##   test-vm     those in QEMU: a stock kernel with its own drivers, and ixy-tapd, on the software NIC and virtio
.PHONY: test test-host test-vm
test-host: TESTS := $(HOST_TESTS)
test-vm: TESTS := $(VM_TESTS)
test test-host test-vm: deps
	@$(MAKE) all test-programs $(if $(filter $(BUILD)/vm/%,$(TESTS)),$(IMAGE)/initrd.gz)
	$(GIVE_BACK)
	@$(TEST_ENV) netns-tests/run-tests.sh -t 1200 -j $(TEST_JOBS) $(TESTS)
.PHONY: test-programs units
test-programs: $(HOST_TESTS) $(VM) $(VM_AGENT) $(VM_GUEST) $(VM_SHELL)
units: $(UNITS)
$(IMAGE)/initrd.gz: netns-tests/vm/image.sh netns-tests/vm/init
	@echo "  IMAGE   $(@D)"
	$(Q)netns-tests/vm/image.sh $(@D)

##   vm-shell    such a guest to look around in: lines that are typed run in it (GUEST="iommu iommu=pt": with VT-d;
##               GUEST=virtio,legacy,queues=4,host_mtu=4000: QEMU's own virtio-net in place of the software NIC)
.PHONY: vm-shell
vm-shell: deps
	@$(MAKE) -s all $(VM_AGENT) $(VM_SHELL) $(IMAGE)/initrd.gz
	$(GIVE_BACK)
	@$(TEST_ENV) $(VM_SHELL) $(GUEST)

##   lint        formatting, static analysis, shell scripts, man pages
SOURCES := $(wildcard driver/*.[ch] driver/*/*.[ch] bridge/*.[ch] netns-tests/*/*.[ch] contrib/*/*.[ch] contrib/apps/*/*.[ch])
SCRIPTS := .ci/run $(TOOLS) $(wildcard contrib/*.sh contrib/*/*.sh contrib/completions/* netns-tests/*.sh netns-tests/vm/*.sh netns-tests/vm/init)
MAN     := $(wildcard contrib/man/*.[1-9])
# Not the tests: cmocka's assertions look to the analyzer as if they returned.
TIDY    := $(patsubst %.c,$(BUILD)/tidy/%,$(filter-out netns-tests/unit/% netns-tests/netns/% netns-tests/vm/%,$(filter %.c,$(SOURCES))))
.PHONY: lint lint-run
lint:
	@contrib/install-deps.sh lint
	@$(MAKE) lint-run
lint-run: $(TIDY)
	@echo "  FORMAT"
	$(Q)clang-format --dry-run -Werror $(SOURCES)
	@echo "  SHELL"
	$(Q)shellcheck $(SCRIPTS)
	$(if $(MAN),@echo "  MAN")
	$(if $(MAN),$(Q)mandoc -T lint -W warning $(MAN))

# One stamp a file: a second run looks only at what changed, and -j2 uses both cores.
$(TIDY): $(BUILD)/tidy/%: %.c .clang-tidy $(wildcard driver/*.h driver/*/*.h bridge/*.h netns-tests/*/*.h)
	@mkdir -p $(@D)
	@echo "  TIDY    $<"
	$(Q)clang-tidy --quiet $< -- $(filter-out -fsanitize%,$(ALL_CFLAGS)) 2>$@.log || { cat $@.log >&2; exit 1; }
	@mv $@.log $@

##   bench       how fast: ours, DPDK's testpmd, a copy loop and bare veth in one run (see contrib/bench/bench.sh)
.PHONY: bench bench-run
bench:
	@contrib/install-deps.sh bench
	@$(MAKE) -s bench-run
bench-run: all $(BENCH)
	@IXY_BUILD=$(BUILD) contrib/bench/bench.sh
	$(GIVE_BACK)

##   bench-vm    in a virtual machine: the tap and vhost-net beside DPDK's, on virtio-net (see contrib/bench/vm.sh)
.PHONY: bench-vm bench-vm-run
bench-vm:
	@contrib/install-deps.sh bench vm
	@$(MAKE) -s bench-vm-run
bench-vm-run: all $(BENCH) $(VM_AGENT) $(VM_SHELL) $(IMAGE)/initrd.gz
	@$(TEST_ENV) contrib/bench/vm.sh
	$(GIVE_BACK)

##   bench-cost  instructions that the driver takes a forwarded frame, by callgrind
.PHONY: bench-cost bench-cost-run
bench-cost:
	@contrib/install-deps.sh bench
	@$(MAKE) -s bench-cost-run
bench-cost-run: $(METERS)
	@IXY_BUILD=$(BUILD) contrib/bench/fwd_cost.sh
	$(GIVE_BACK)

##   figures     the papers' figures, of this driver: plots and a page in build/figures (see contrib/bench/README.md)
.PHONY: figures figures-run
figures:
	@contrib/install-deps.sh bench
	@$(MAKE) -s figures-run
figures-run: all $(BENCH) $(METERS)
	@IXY_BUILD=$(BUILD) contrib/bench/figures.sh
	$(GIVE_BACK)

##   install     programs, library, headers, man pages, completion, unit (DESTDIR, PREFIX=/usr/local)
##   uninstall   take them away again
HEADERS  := $(wildcard driver/ixy.h driver/packet.h driver/dma.h driver/drop.h driver/checksum.h \
	driver/xdp/xsk.h driver/xdp/program.h driver/xdp/endpoint.h)
sbindir  := $(PREFIX)/sbin
bindir   := $(PREFIX)/bin
libdir   := $(PREFIX)/lib
incdir   := $(PREFIX)/include/ixy
mandir   := $(PREFIX)/share/man
compdir  := $(PREFIX)/share/bash-completion/completions
unitdir  := $(PREFIX)/lib/systemd/system
UNIT     := $(wildcard contrib/systemd/*.service)
COMPLETE := $(wildcard contrib/completions/*)
man_of    = $(mandir)/man$(subst .,,$(suffix $(1)))/$(notdir $(1))
.PHONY: install uninstall
install: all
	install -d $(addprefix $(DESTDIR),$(sbindir) $(bindir) $(libdir)/pkgconfig $(incdir)/driver $(compdir) $(unitdir))
	install -m 755 $(PROGRAMS) $(TOOLS) $(DESTDIR)$(sbindir)
	$(if $(IXY_APPS),install -m 755 $(IXY_APPS) $(DESTDIR)$(bindir))
	install -m 644 $(LIBIXY) $(DESTDIR)$(libdir)
	$(foreach header,$(HEADERS),install -D -m 644 $(header) $(DESTDIR)$(incdir)/$(header)$(newline))
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' contrib/ixy.pc.in >$(DESTDIR)$(libdir)/pkgconfig/ixy.pc
	$(foreach page,$(MAN),install -D -m 644 $(page) $(DESTDIR)$(call man_of,$(page))$(newline))
	$(foreach file,$(COMPLETE),install -m 644 $(file) $(DESTDIR)$(compdir)$(newline))
	$(foreach unit,$(UNIT),sed 's|@SBINDIR@|$(sbindir)|' $(unit) >$(DESTDIR)$(unitdir)/$(notdir $(unit))$(newline))
uninstall:
	rm -f $(addprefix $(DESTDIR),$(addprefix $(sbindir)/,$(notdir $(PROGRAMS) $(TOOLS))) \
		$(addprefix $(bindir)/,$(notdir $(IXY_APPS))) $(libdir)/libixy.a \
		$(libdir)/pkgconfig/ixy.pc $(addprefix $(incdir)/,$(HEADERS)) \
		$(foreach page,$(MAN),$(call man_of,$(page))) $(addprefix $(compdir)/,$(notdir $(COMPLETE))) \
		$(addprefix $(unitdir)/,$(notdir $(UNIT))))
	-rmdir $(DESTDIR)$(incdir)/driver/xdp $(DESTDIR)$(incdir)/driver $(DESTDIR)$(incdir)
define newline


endef

##   clean       remove build/
.PHONY: clean
clean:
	rm -rf build

##   help        this list
.PHONY: help
help:
	@echo "make [TARGET] [V=1] [SAN=1] [WERROR=1] [CC=clang] [CFLAGS=...]"
	@sed -n 's/^##//p' $(firstword $(MAKEFILE_LIST))
	@echo "  V=1 shows commands; SAN=1 builds with sanitizers into build/san; demo, test, bench need root."
