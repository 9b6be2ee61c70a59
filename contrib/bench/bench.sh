#!/bin/bash
# shellcheck disable=SC2317 # functions run by trap and by name
#
# How fast, how soon, how cheap: `sudo make bench`.
#
#	adaptive, poll   ixy-tapd soft:wire0 ixy0, without and with --poll
#	veth             no daemon: the interface is the end of the veth pair itself, the ceiling on this machine
#	testpmd          DPDK's testpmd forwarding between net_af_packet on wire0 and net_tap as ixy0
#
# Each column gets namespaces and a veth pair of its own, fresh for each run; the columns take turns, so that a
# machine that changes its speed meanwhile changes it for all. Shown are medians; all samples are in the JSON.
#
#	namespace here: ixy0 == (what is measured) == wire0 ~~~~ eth0 :namespace peer
#	in: from the peer to ixy0; out: the other way
#
# The peer's offloads are off, because a cable carries frames of MTU size with whole checksums; the last two
# rows leave them on, which testpmd's af_packet driver is not made for.
# Nothing here asserts. BENCH_RUNS (3), BENCH_COLUMNS ("adaptive poll veth testpmd"), BENCH_SECONDS (2) a cell.

set -u
build=${IXY_BUILD:-build}
runs=${BENCH_RUNS:-3}
seconds=${BENCH_SECONDS:-2}
read -ra columns <<<"${BENCH_COLUMNS:-adaptive poll veth testpmd}"
traffic=$build/bench/traffic

# name|what|unit|format
rows=(
	"tcp_in|TCP in|Gbit/s|%.2f"
	"tcp_out|TCP out|Gbit/s|%.2f"
	"udp64_in|64-byte frames in|frames/s|%.0f"
	"udp64_out|64-byte frames out|frames/s|%.0f"
	"rtt_p50|round trip p50|us|%.1f"
	"rtt_p99|round trip p99|us|%.1f"
	"idle_daemon|idle: daemon|% of a core|%.2f"
	"idle_nic|idle: software NIC|% of a core|%.2f"
	"rss_daemon|resident: daemon|MiB|%.1f"
	"rss_nic|resident: software NIC|MiB|%.1f"
	"tcp_in_offload|TCP in, peer's offloads on|Gbit/s|%.2f"
	"tcp_out_offload|TCP out, peer's offloads on|Gbit/s|%.2f"
)

if [ "$(id -u)" != 0 ]; then
	echo "the bench makes network namespaces, which takes root; run: sudo make bench" >&2
	exit 77
fi

dir=$(mktemp -d /tmp/ixy-bench.XXXXXX) || exit 1
samples=$dir/samples
: >"$samples"
here='' peer='' daemon='' nic='' helper=''

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

tear_down()
{
	end_pid "$helper"
	end_pid "$daemon"
	helper='' daemon='' nic=''
	[ -z "$here" ] || ip netns del "$here" 2>/dev/null
	[ -z "$peer" ] || ip netns del "$peer" 2>/dev/null
	here='' peer=''
}

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

at_here()
{
	timeout --foreground 20 ip netns exec "$here" "$@"
}

at_peer()
{
	timeout --foreground 20 ip netns exec "$peer" "$@"
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

# --- columns: each makes an interface ixy0 in $here whose other side is eth0 in $peer --------------------------

start_daemon()
{
	: >"$dir/log" # before the fork, or the line of the run before would be found
	setsid ip netns exec "$here" "$build/ixy-tapd" "$@" soft:wire0 ixy0 >"$dir/out" 2>"$dir/log" &
	daemon=$!
	until_true 10 grep -q 'ready on' "$dir/log" || return
	nic=$(pgrep -P "$daemon" -x ixy-softnic)
}

start_adaptive()
{
	start_daemon
}

start_poll()
{
	start_daemon --poll
}

start_veth()
{
	ip -n "$here" link set wire0 down
	ip -n "$here" link set wire0 name ixy0
	ip -n "$here" link set ixy0 arp on
}

# No huge pages, no PCI devices; it reads its standard input until that ends, so it gets a pipe that does not.
start_testpmd()
{
	mkfifo "$dir/stdin"
	exec 9<>"$dir/stdin"
	: >"$dir/out"
	rm "$dir/stdin"
	setsid ip netns exec "$here" dpdk-testpmd -l 0,1 --no-huge -m 512 --no-pci --no-telemetry \
		--file-prefix="ixybench$$" --vdev=net_af_packet0,iface=wire0 --vdev=net_tap0,iface=ixy0 -- \
		--forward-mode=io --auto-start --total-num-mbufs=16384 <&9 >"$dir/out" 2>"$dir/log" &
	daemon=$!
	exec 9>&-
	until_true 20 grep -q 'Press enter to exit\|Checking link statuses' "$dir/out"
}

offloads()
{
	local word
	for word in tx tso gso gro; do
		at_peer ethtool -K eth0 "$word" "$1"
		[ ! -e "$dir/wire" ] || at_here ethtool -K "$(cat "$dir/wire")" "$word" "$1"
	done >/dev/null 2>&1
}

set_up()
{
	local ns
	here=ixy-bench-$$-$1 peer=ixy-bench-$$-$1-peer
	ip netns add "$here" && ip netns add "$peer" &&
		ip -n "$here" link add wire0 type veth peer name eth0 netns "$peer" || return
	for ns in "$here" "$peer"; do
		# Without IPv6 an idle wire is an idle wire.
		ip netns exec "$ns" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
		ip -n "$ns" link set lo up
	done
	ip -n "$peer" link set eth0 up
	ip -n "$peer" addr add 10.82.59.2/24 dev eth0
	# No ARP: this machine's own stack would answer on wire0 for ixy0's address, and the traffic pass beside it.
	ip -n "$here" link set wire0 arp off up
	echo wire0 >"$dir/wire"
	"start_$1" || return
	[ "$1" != veth ] || echo ixy0 >"$dir/wire"
	offloads off
	ip -n "$here" addr add 10.82.59.1/24 dev ixy0 && ip -n "$here" link set ixy0 up || return
	until_true 15 at_peer ping -c 1 -W 1 10.82.59.1
}

# --- rows ----------------------------------------------------------------------------------------------------

# record ROW VALUE: "null" stands for what could not be measured.
record()
{
	local value=${2:-null}
	[[ $value =~ ^[0-9]+(\.[0-9]+)?$ ]] || value=null
	echo "$1 $column $value" >>"$samples"
	printf ' %s=%s' "$1" "${value/null/-}"
}

cpu_ns()
{
	cat "/proc/$1/task/"*/schedstat 2>/dev/null | awk '{ sum += $1 } END { printf "%.0f\n", sum }'
}

measure_idle()
{
	local before_daemon before_nic
	[ -n "$daemon" ] || return
	sleep 1
	before_daemon=$(cpu_ns "$daemon")
	[ -z "$nic" ] || before_nic=$(cpu_ns "$nic")
	sleep 3
	record idle_daemon "$(awk "BEGIN { printf \"%.3f\", ($(cpu_ns "$daemon") - $before_daemon) / 3e7 }")"
	[ -z "$nic" ] ||
		record idle_nic "$(awk "BEGIN { printf \"%.3f\", ($(cpu_ns "$nic") - $before_nic) / 3e7 }")"
}

measure_rtt()
{
	local p50 p99 rest
	ip netns exec "$here" "$traffic" echo 7 2>/dev/null &
	helper=$!
	sleep 0.2
	read -r p50 p99 rest < <(at_peer "$traffic" rtt 10.82.59.1 7 10000 2>/dev/null)
	end_pid "$helper"
	helper=''
	record rtt_p50 "${p50:-}"
	record rtt_p99 "${p99:-}"
}

# measure_udp ROW RECEIVER SENDER ADDRESS
measure_udp()
{
	ip netns exec "$3" "$traffic" flood "$4" 9 64 $((seconds + 2)) >/dev/null 2>&1 &
	helper=$!
	sleep 0.3
	record "$1" "$(timeout --foreground 20 ip netns exec "$2" "$traffic" count 9 "$seconds" 2>/dev/null)"
	end_pid "$helper"
	helper=''
}

# measure_tcp ROW RECEIVER SENDER ADDRESS; the first second is not counted
measure_tcp()
{
	ip netns exec "$2" iperf3 -s -1 >/dev/null 2>&1 &
	helper=$!
	until_true 3 ip netns exec "$2" sh -c 'ss -Htln sport = :5201 | grep -q LISTEN'
	record "$1" "$(timeout --foreground $((seconds + 6)) ip netns exec "$3" \
		iperf3 -J -c "$4" -t "$seconds" -O 1 2>/dev/null |
		jq -r '.end.sum_received.bits_per_second / 1e6 | round / 1000' 2>/dev/null)"
	end_pid "$helper"
	helper=''
}

rss_mib()
{
	awk '/^VmRSS/ { printf "%.1f", $2 / 1024 }' "/proc/$1/status" 2>/dev/null
}

measure()
{
	measure_idle
	measure_rtt
	measure_udp udp64_in "$here" "$peer" 10.82.59.1
	measure_udp udp64_out "$peer" "$here" 10.82.59.2
	measure_tcp tcp_in "$here" "$peer" 10.82.59.1
	measure_tcp tcp_out "$peer" "$here" 10.82.59.2
	offloads on
	measure_tcp tcp_in_offload "$here" "$peer" 10.82.59.1
	measure_tcp tcp_out_offload "$peer" "$here" 10.82.59.2
	[ -z "$daemon" ] || record rss_daemon "$(rss_mib "$daemon")"
	[ -z "$nic" ] || record rss_nic "$(rss_mib "$nic")"
}

# --- the run -------------------------------------------------------------------------------------------------

read -r load _ </proc/loadavg
! awk "BEGIN { exit !($load > 0.3) }" || echo "note: this machine is busy (load $load): the figures will be too"
for ((run = 1; run <= runs; run++)); do
	for column in "${columns[@]}"; do
		printf 'run %d of %d, %s:' "$run" "$runs" "$column"
		if set_up "$column"; then
			measure
		else
			printf ' did not start\n'
			sed 's/^/  /' "$dir/log" 2>/dev/null
		fi
		tear_down
		echo
	done
done

# --- the results -----------------------------------------------------------------------------------------------

processor=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)
commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
mkdir -p "$build/bench"
result=$build/bench/$(date -u +%Y%m%dT%H%M%SZ).json
printf '%s\n' "${rows[@]}" | jq -R 'split("|") | {name: .[0], what: .[1], unit: .[2]}' | jq -s \
	--rawfile samples "$samples" --arg date "$(date -u +%FT%TZ)" --arg processor "$processor" \
	--arg cores "$(nproc)" --arg kernel "$(uname -r)" --arg commit "$commit" --arg runs "$runs" --arg load "$load" '
	def median: sort | if length == 0 then null elif length % 2 == 1 then .[length / 2 | floor]
		else (.[length / 2 - 1] + .[length / 2]) / 2 end;
	($samples | split("\n") | map(select(. != "") | split(" ") |
		{row: .[0], column: .[1], value: (.[2] | fromjson)})) as $all |
	{date: $date, commit: $commit, processor: $processor, cores: ($cores | tonumber), kernel: $kernel,
	 runs: ($runs | tonumber), load_before: ($load | tonumber),
	 rows: map(.name as $row | . + {columns: ([$all[] | select(.row == $row)] | group_by(.column) |
		map({key: .[0].column, value: {median: (map(.value | values) | median), samples: map(.value)}}) |
		from_entries)})}' >"$result"
ln -sf "$(basename "$result")" "$build/bench/latest.json"

echo
printf '%s, %s cores, Linux %s; medians of %s runs; %s\n\n' "$processor" "$(nproc)" "$(uname -r)" "$runs" "$commit"
{
	printf '%-28s %-12s' '' ''
	printf ' %10s' "${columns[@]}"
	printf ' %16s\n' 'adaptive:testpmd'
	for row in "${rows[@]}"; do
		IFS='|' read -r name what unit format <<<"$row"
		printf '%-28s %-12s' "$what" "$unit"
		for column in "${columns[@]}" ratio; do
			value=$(jq -r --arg row "$name" --arg column "$column" '.rows[] | select(.name == $row) | .columns |
				if $column == "ratio" then
					if .testpmd.median and .adaptive.median and .testpmd.median > 0
					then .adaptive.median / .testpmd.median else "-" end
				else .[$column].median // "-" end' "$result")
			width=10 pattern=$format
			[ "$column" != ratio ] || width=16 pattern='%.2f'
			# shellcheck disable=SC2059 # the format is the row's
			[ "$value" = - ] || value=$(printf "$pattern" "$value")
			printf " %${width}s" "$value"
		done
		echo
	done
} | tee "$build/bench/latest.txt"
echo
echo "all samples: $result"
