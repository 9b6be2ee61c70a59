#!/bin/bash
#
# How fast, how soon, how cheap: `sudo make bench`. The project and its peers, on equal wires, in turns.
#
#	bench.sh      this file: namespaces, turns, the way out
#	columns.sh    what is compared: ixy-tapd on its devices, DPDK's testpmd, a naive copy loop, bare veth pairs
#	rows.sh       what is measured, and how
#	report.sh     the samples as JSON, as a table, and as plots
#
# Each column gets namespaces and a wire of its own, fresh for each run; the columns take turns, so that a machine
# that changes its speed meanwhile changes it for all. Shown are medians; all samples are in the JSON.
#
#	namespace here: ixy0 == (what is measured) == wire0 ~~~~ eth0 :namespace peer
#	in: from the peer to ixy0; out: the other way
#
# The peer's offloads are off, because a cable carries frames of MTU size with whole checksums (column veth-tso has
# them on: it is what memory can do here). Nothing here asserts.
#
#	BENCH_RUNS=3       turns
#	BENCH_SECONDS=2    a measurement
#	BENCH_COLUMNS=...  some of: soft soft-poll xdp xdp-poll cable naive pmd-packet pmd-xdp veth veth-tso
#	BENCH_ROWS=REGEX   only rows whose name matches (see rows.sh); `BENCH_ROWS='^tcp_'`

set -u
build=${IXY_BUILD:-build}
runs=${BENCH_RUNS:-3}
seconds=${BENCH_SECONDS:-2}
wanted=${BENCH_ROWS:-.}
read -ra columns <<<"${BENCH_COLUMNS:-soft xdp cable naive pmd-packet pmd-xdp veth veth-tso}"
bench=$(dirname "$0")

if [ "$(id -u)" != 0 ]; then
	echo "the bench makes network namespaces, which takes root; run: sudo make bench" >&2
	exit 77
fi

dir=$(mktemp -d /tmp/ixy-bench.XXXXXX) || exit 1
samples=$dir/samples
: >"$samples"
here='' peer=''            # namespaces
daemon='' nic='' daemon2='' # processes: what is measured, its software NIC, the one at the cable's other end
helpers=()                 # traffic
# shellcheck disable=SC2034 # report.sh's
prefix='' note=''

# shellcheck source=columns.sh
. "$bench/columns.sh"
# shellcheck source=rows.sh
. "$bench/rows.sh"
# shellcheck source=report.sh
. "$bench/report.sh"

# --- the way out ---------------------------------------------------------------------------------------------

end_pid()
{
	[ -n "$1" ] || return 0
	kill "$1" 2>/dev/null
	for _ in {1..100}; do
		[ -e "/proc/$1" ] || return 0
		sleep 0.05
	done
	kill -KILL "$1" 2>/dev/null
}

end_helpers()
{
	local pid
	for pid in ${helpers[@]+"${helpers[@]}"}; do
		end_pid "$pid"
	done
	helpers=()
}

tear_down()
{
	end_helpers
	end_pid "$daemon"
	end_pid "$daemon2"
	exec 9>&-
	[ "$column" != cable ] || end_pid "$nic"
	daemon='' daemon2='' nic=''
	[ -z "$here" ] || ip netns del "$here" 2>/dev/null
	[ -z "$peer" ] || ip netns del "$peer" 2>/dev/null
	here='' peer=''
}

column=''
cleanup()
{
	local status=$?
	trap '' INT TERM
	tear_down
	rm -rf "$dir"
	exit $status
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- namespaces and wires ------------------------------------------------------------------------------------

at_here()
{
	timeout --foreground 30 ip netns exec "$here" "$@"
}

at_peer()
{
	timeout --foreground 30 ip netns exec "$peer" "$@"
}

# until_true SECONDS COMMAND...
until_true()
{
	local tries=$(($1 * 20))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $((tries -= 1)) -gt 0 ] || return 1
		sleep 0.05
	done
}

# offloads NAMESPACE IFNAME on|off
offloads()
{
	local word
	for word in tx tso gso gro; do
		ip netns exec "$1" ethtool -K "$2" "$word" "$3"
	done >/dev/null 2>&1
}

# A veth pair wire0 -- eth0, a queue for each that is to be measured.
plug_in_wire()
{
	ip -n "$here" link add wire0 mtu "$mtu" numrxqueues "$queues" numtxqueues "$queues" type veth \
		peer name eth0 netns "$peer" mtu "$mtu" numrxqueues "$queues" numtxqueues "$queues" || return
	ip -n "$peer" link set eth0 up
	# No ARP: this machine's own stack would answer on wire0 for ixy0's address, and the traffic pass beside it.
	ip -n "$here" link set wire0 arp off up
	offloads "$here" wire0 off
	offloads "$peer" eth0 off
}

# make_namespaces COLUMN
make_namespaces()
{
	local ns
	column=$1
	here=ixy-bench-$$-$1 peer=ixy-bench-$$-$1-peer
	ip netns add "$here" && ip netns add "$peer" || return
	for ns in "$here" "$peer"; do
		# Without IPv6 an idle wire is an idle wire.
		ip netns exec "$ns" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 \
			net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
		ip -n "$ns" link set lo up
	done
}

# set_up_wire COLUMN: nothing but a wire between the two namespaces
set_up_wire()
{
	mtu=1500 queues=1
	make_namespaces "$1" && plug_in_wire
}

# set_up COLUMN MTU QUEUES: with the interface that is to be measured
set_up()
{
	mtu=$2 queues=$3
	make_namespaces "$1" || return
	[ "$1" = cable ] || plug_in_wire || return
	: >"$dir/log" # before the fork, or the line of the run before would be found
	start "$1" || return
	ip -n "$peer" link set eth0 mtu "$mtu" up && ip -n "$peer" addr add 10.82.59.2/24 dev eth0 &&
		ip -n "$here" link set ixy0 mtu "$mtu" up && ip -n "$here" addr add 10.82.59.1/24 dev ixy0 || return
	until_true 15 at_peer ping -c 1 -W 1 10.82.59.1
}

# try COLUMN MTU QUEUES MEASUREMENT...
try()
{
	if set_up "$1" "$2" "$3"; then
		"${@:4}"
	else
		printf ' %s did not start (MTU %s, %s queues)' "$1" "$2" "$3"
		tail -n 3 "$dir/log" | sed 's/^/\n  /' 2>/dev/null
	fi
	tear_down
}

# --- the run -------------------------------------------------------------------------------------------------

read -r load _ </proc/loadavg
! awk "BEGIN { exit !($load > 0.3) }" || echo "note: this machine is busy (load $load): the figures will be too"
for ((run = 1; run <= runs; run++)); do
	for name in "${columns[@]}"; do
		printf 'run %d of %d, %s:' "$run" "$runs" "$name"
		try "$name" 1500 1 measure_all
		! row_wanted tcp_in_9000 tcp_out_9000 || try "$name" 9000 1 measure_jumbo
		if [ "$name" = xdp ] || [ "$name" = pmd-xdp ]; then
			measure_raw "$name"
		fi
		if [ "$name" = soft ] || [ "$name" = xdp ]; then
			for n in 1 2 4; do
				! row_wanted "tcp8_in_q$n" "udp64_in_q$n" || try "$name" 1500 $n measure_queues $n
			done
		fi
		echo
	done
done
report
