# ixy-tapd: a fast NIC, driven from userspace, as an ordinary Linux interface.  `make help` lists the targets.

MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := all

CC      ?= gcc
ifeq ($(origin CC),default)
CC      := gcc
endif
PREFIX  ?= /usr/local
DESTDIR ?=
BUILD   := build$(if $(SAN),/san)
Q       := $(if $(V),,@)
VERSION := 0.1.0

CFLAGS  ?= -O2 -g
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
PKGS    := libev libnl-3.0 libnl-route-3.0
# libev ships no .pc file on Debian; it is a plain -lev.
PKG_CFLAGS := $(shell pkg-config --cflags libnl-3.0 libnl-route-3.0 2>/dev/null)
PKG_LIBS   := $(shell pkg-config --libs libnl-3.0 libnl-route-3.0 2>/dev/null) -lev
override CFLAGS += -std=gnu11 -D_GNU_SOURCE -pthread -fno-strict-aliasing $(WARN) $(if $(WERROR),-Werror) \
	-I. -DIXY_VERSION='"$(VERSION)"' $(PKG_CFLAGS) \
	$(if $(SAN),-fsanitize=address$(,)undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined -DIXY_DEBUG)
LDLIBS  := $(PKG_LIBS) -lm
LDFLAGS += -pthread $(if $(SAN),-fsanitize=address$(,)undefined)
, := ,

# Three rooms, three archives; each program is its main.c and the archives below it.
driver_SRC  := $(wildcard driver/*.c driver/*/*.c)
softnic_SRC := $(filter-out %/main.c,$(wildcard netns-tests/softnic/*.c))
bridge_SRC  := $(filter-out %/main.c,$(wildcard bridge/*.c))
unit_SRC    := $(wildcard netns-tests/unit/test_*.c)
obj          = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

LIBIXY  := $(BUILD)/libixy.a
BRIDGE  := $(BUILD)/obj/bridge.a
SOFTNIC := $(BUILD)/obj/softnic.a
PROGRAMS := $(BUILD)/ixy-tapd $(BUILD)/ixy-softnic
UNITS    := $(patsubst netns-tests/unit/%.c,$(BUILD)/unit/%,$(unit_SRC))

.PHONY: all
all: $(LIBIXY) $(PROGRAMS)

$(LIBIXY): $(call obj,$(driver_SRC))
$(BRIDGE): $(call obj,$(bridge_SRC))
$(SOFTNIC): $(call obj,$(softnic_SRC))
$(LIBIXY) $(BRIDGE) $(SOFTNIC):
	@mkdir -p $(@D)
	@echo "  AR      $@"
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/ixy-tapd: $(call obj,bridge/main.c) $(BRIDGE) $(LIBIXY)
$(BUILD)/ixy-softnic: $(call obj,netns-tests/softnic/main.c) $(SOFTNIC) $(LIBIXY)
$(PROGRAMS):
	@echo "  LINK    $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/unit/%: $(BUILD)/obj/netns-tests/unit/%.o $(SOFTNIC) $(BRIDGE) $(LIBIXY)
	@mkdir -p $(@D)
	@echo "  LINK    $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lcmocka

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)

.PHONY: units
units: $(UNITS)

.PHONY: clean
clean:
	rm -rf build
