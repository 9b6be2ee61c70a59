#!/bin/sh
# Install what this project needs, by apt, and only what is missing.
#
#	install-deps.sh [-n] PURPOSE...		PURPOSE: build test vm lint bench
#	-n	install nothing; exit 1 if something is missing
#
# Silent, and without calling apt, when everything is there. A purpose that needs more than a Debian package
# is a mistake: everything below is in Debian 12's main section.

set -eu

build="make gcc libc6-dev pkg-config libev-dev libnl-3-dev libnl-route-3-dev libpcap-dev libbpf-dev"

# The demo and the tests talk to the daemon with the tools that a user has; clang compiles the BPF programs that
# a user of the AF_XDP library would bring.
test="$build libcmocka-dev iproute2 iputils-ping iperf3 ethtool tcpdump tshark procps jq socat util-linux clang"

# A stock kernel, which is fetched but not installed, in QEMU.
vm="$test qemu-system-x86 busybox-static kmod cpio gzip"

lint="$build libcmocka-dev clang clang-format clang-tidy shellcheck mandoc valgrind"

# dpdk-testpmd, the peer, lives in dpdk-dev; it loads its drivers when it starts.
bench="$build iproute2 iperf3 ethtool procps jq util-linux valgrind
	dpdk-dev librte-net-af-packet23 librte-net-af-xdp23 librte-net-tap23 librte-net-virtio23 librte-net-ixgbe23
	librte-mempool-ring23 gnuplot-nox"

usage()
{
	echo "usage: $0 [-n] build|test|vm|lint|bench ..." >&2
	exit 2
}

dry_run=
if [ "${1-}" = -n ]; then
	dry_run=1
	shift
fi
[ $# -gt 0 ] || usage

wanted=
for purpose; do
	case $purpose in
	build) wanted="$wanted $build" ;;
	test) wanted="$wanted $test" ;;
	vm) wanted="$wanted $vm" ;;
	lint) wanted="$wanted $lint" ;;
	bench) wanted="$wanted $bench" ;;
	*) usage ;;
	esac
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	[ -z "$dry_run" ] || exit 0
	echo "$0: this is not Debian; please install what these Debian packages hold:" >&2
	echo "$wanted" | tr -s ' \t' '\n' | sort -u | sed '/^$/d; s/^/  /' >&2
	exit 0
fi

# dpkg-query lists those it knows; what is not among them as installed is missing.
# shellcheck disable=SC2086 # a list of words
installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $wanted 2>/dev/null |
	sed -n 's/^installed //p' || true)
missing=
for package in $wanted; do
	case "
$installed
$missing
" in
	*"
$package
"*) ;;
	*) missing="${missing:+$missing
}$package" ;;
	esac
done

[ -n "$missing" ] || exit 0
missing=$(echo "$missing" | tr '\n' ' ')
if [ -n "$dry_run" ]; then
	echo "missing packages: $missing" >&2
	exit 1
fi
if [ "$(id -u)" != 0 ]; then
	echo "$0: missing packages: $missing" >&2
	echo "$0: run: sudo make deps" >&2
	exit 77
fi

echo "installing: $missing"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT

install_missing()
{
	# shellcheck disable=SC2086 # a list of words
	apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 $missing >"$log" 2>&1
}

# A fresh system has no package lists yet, and old ones name files that the mirror no longer has.
if ! install_missing; then
	apt-get update -qq -o DPkg::Lock::Timeout=300
	if ! install_missing; then
		cat "$log" >&2
		echo "$0: apt could not install: $missing" >&2
		exit 1
	fi
fi
