#!/bin/bash
#
# Ours beside DPDK's exception paths in a virtual machine, on the same NIC, in turns: `sudo make bench-vm`.
#
#	vm.sh         this file: the guest's life, turns, measurements
#	vm_guest.sh   what runs in the guest: the columns
#	report.sh     the samples as JSON, as a table, and as plots (bench.sh uses the same)
#	common.sh     beginning and the way out
#
#	guest (QEMU): ixy0 == (what is measured) == NIC ~~~~ p0 :namespace of this machine
#	in: from p0 to ixy0; out: the other way
#
# The guest is that of the tests (netns-tests/vm), by way of `make vm-shell`. QEMU emulates its two processors: a
# figure says nothing about a machine, only the ratio of two of them does. What polls keeps one of the two busy, as
# anywhere; CPU time is what the guest's scheduler has accounted, and includes what the guest itself had to wait for.
#
#	BENCH_RUNS=5       turns
#	BENCH_SECONDS=3    a measurement
#	BENCH_NIC=...      virtio (QEMU's virtio-net), virtio-legacy, virtio-vfio (by VFIO behind a virtual IOMMU),
#	                   ixgbe (ixy-softnic; QEMU has one thread for both processors then)
#	BENCH_COLUMNS=...  some of: tap vhost pmd-vhost pmd-vhost-tso pmd-tap stock
#	BENCH_ROWS=REGEX   only rows whose name matches
#	BENCH_RATE=100000  small frames offered a second (0: as many as possible, which takes the guest's CPU time)
#
# Needs what `make test-vm` does, and DPDK. Nothing here asserts.

set -u
build=$(realpath "${IXY_BUILD:-build}")
runs=${BENCH_RUNS:-5}
seconds=${BENCH_SECONDS:-3}
wanted=${BENCH_ROWS:-.}
nic=${BENCH_NIC:-virtio}
rate=${BENCH_RATE:-100000}
read -ra columns <<<"${BENCH_COLUMNS:-tap vhost pmd-vhost pmd-vhost-tso pmd-tap stock}"
bench=$(realpath "$(dirname "$0")")
export IXY_BUILD=$build IXY_VM=${IXY_VM:-$(realpath build/image)}

case $nic in
virtio) guest_arguments=virtio,modern driver=uio_pci_generic stock=virtio_net ;;
virtio-legacy) guest_arguments=virtio,legacy driver=uio_pci_generic stock=virtio_net ;;
virtio-vfio) guest_arguments='iommu virtio,modern,translated' driver=vfio-pci stock=virtio_net ;;
ixgbe) guest_arguments='' driver=uio_pci_generic stock=ixgbe ;;
*)
	echo "$nic: no such NIC; see vm.sh" >&2
	exit 2
	;;
esac

# shellcheck source=common.sh
. "$bench/common.sh"
need_root "the bench makes network namespaces" bench-vm
make_dir bench-vm
samples=$dir/samples
: >"$samples"
column=''  # the one that is being measured
peer=''    # the namespace
vm=''      # the shell's process
patience=600 # seconds, while the guest boots
# shellcheck disable=SC2034 # report.sh's
prefix=vm-$nic-

# shellcheck disable=SC2034 # report.sh's
rows=(
	"#|TCP"
	"tcp_in|in|Mbit/s|%.0f|more"
	"tcp_out|out|Mbit/s|%.0f|more"
	"#|64-byte frames delivered"
	"udp64_in|in|1000/s|%.1f|more"
	"udp64_out|out|1000/s|%.1f|more"
	"#|Round trip"
	"rtt_p50|idle, p50|us|%.0f|less"
	"rtt_p99|idle, p99|us|%.0f|less"
	"#|CPU of the process and of its vhost thread"
	"cpu_tcp_in|TCP in|s/GB|%.1f|less"
	"cpu_tcp_out|TCP out|s/GB|%.1f|less"
	"cpu_udp64_in|64 bytes in|s/million|%.1f|less"
	"cpu_udp64_out|64 bytes out|s/million|%.1f|less"
	"cpu_idle|idle|% of a core|%.1f|less"
)
# shellcheck disable=SC2034 # report.sh's
pairs=("vhost pmd-vhost" "vhost pmd-vhost-tso" "tap pmd-tap" "vhost tap" "tap stock" "vhost stock")

# What is asked of the ratios: ROW OURS PEER TIMES
floors=(
	"udp64_in vhost pmd-vhost 1.0"
	"udp64_out vhost pmd-vhost 1.0"
	"tcp_in vhost pmd-vhost 1.3"
	"tcp_out vhost pmd-vhost 1.3"
	"udp64_in vhost pmd-vhost-tso 1.0"
	"udp64_out vhost pmd-vhost-tso 1.0"
	"tcp_in vhost pmd-vhost-tso 1.3"
	"tcp_out vhost pmd-vhost-tso 1.3"
	"tcp_in tap pmd-tap 2.0"
	"tcp_out tap pmd-tap 2.0"
)

# shellcheck source=report.sh
. "$bench/report.sh"

# --- the guest and the way out ---------------------------------------------------------------------------------

tear_down()
{
	end_helpers
	# At the end of its input the shell ends the guest, and takes its namespaces away.
	exec 6>&-
	[ -z "$vm" ] || timeout 30 tail --pid="$vm" -f /dev/null || kill "$vm"
}
trap : PIPE # the guest is gone: guest() says so

# guest WORD...: a line for a shell in the guest; prints what that prints, returns its status. An answer that comes too
# late is passed over by the next one.
guest()
{
	local line mark=$RANDOM$RANDOM deadline=$((SECONDS + patience)) text=''
	printf '%s; printf "\\n@%s %%d\\n" $?\n' "$*" $mark >&6
	while [ $SECONDS -lt $deadline ] && IFS= read -r -t $patience line <&5; do
		line=${line#guest# }
		case $line in
		"@$mark "*)
			printf '%s' "$text"
			return "${line#* }"
			;;
		@[0-9]*) text='' ;;
		'') ;;
		*) text+=$line$'\n' ;;
		esac
	done
	echo "the guest does not answer" >&2
	cat "$dir/log" >&2
	kill $$
	return 1
}

# in_guest COMMAND...: of vm_guest.sh
in_guest()
{
	guest timeout 100 bash "$bench/vm_guest.sh" "$@"
}

boot()
{
	local words
	mkfifo "$dir/in" "$dir/out"
	# The clock: as the kernel reads it on real machines, not from a chip that QEMU emulates.
	# shellcheck disable=SC2086 # words
	setsid "$build/vm/shell" $guest_arguments tsc=reliable clocksource=tsc \
		<"$dir/in" >"$dir/out" 2>"$dir/log" &
	vm=$!
	exec 6>"$dir/in" 5<"$dir/out"
	words=$(guest true) || return
	peer=$(grep -o -m 1 'ixytest-[0-9]*-peer' <<<"$words") &&
		slot=$(grep -o -m 1 '0000:[0-9a-f]*:[0-9a-f]*\.[0-7]' <<<"$words") || return
	patience=150
	ip -n "$peer" addr add 10.82.59.2/24 dev p0 && in_guest prepare "$slot" "$driver" "$stock"
}

# --- measurements ----------------------------------------------------------------------------------------------

at_peer()
{
	ip netns exec "$peer" timeout --foreground 60 "$@"
}

# start_cost; then record_cost SUFFIX UNITS: the CPU time that the process has taken since, as cpu_SUFFIX. In UNITS
# "bytes" stands for what the interface has carried since, "seconds" for how long ago that was.
start_cost()
{
	read -r ns_before bytes_before time_before < <(in_guest cost)
}

record_cost()
{
	local ns bytes time units=$2
	[ "$column" != stock ] || return 0
	read -r ns bytes time < <(in_guest cost)
	units=${units/bytes/($bytes - $bytes_before)}
	units=${units/seconds/($time - $time_before)}
	record "cpu_$1" "$(compute "($ns - $ns_before) / 1e9 / ($units)")"
}

# measure_tcp ROW IPERF-OPTIONS...
measure_tcp()
{
	row_wanted "$1" "cpu_$1" || return
	in_guest serve
	start_cost
	record "$1" "$(at_peer iperf3 -J -c 10.82.59.1 -t "$seconds" -O 1 "${@:2}" 2>/dev/null |
		jq -r '.end.sum_received.bits_per_second / 1e4 | round / 100' 2>/dev/null)"
	record_cost "$1" "bytes / 1e9"
	in_guest end_helpers
}

measure_udp_in()
{
	local frames_s frames
	row_wanted udp64_in cpu_udp64_in || return
	ip netns exec "$peer" "$build/bench/traffic" flood 10.82.59.1 9 64 $((seconds + 20)) "$rate" >/dev/null 2>&1 &
	helpers+=($!)
	sleep 0.5
	start_cost
	read -r frames_s frames < <(guest "timeout 30 $build/bench/traffic" count 9 "$seconds" "2>/dev/null")
	record_cost udp64_in "${frames:-} / 1e6"
	record udp64_in "$(compute "${frames_s:-} / 1000")"
	end_helpers
}

measure_udp_out()
{
	local frames_s frames
	row_wanted udp64_out cpu_udp64_out || return
	in_guest helper "$build/bench/traffic" flood 10.82.59.2 9 64 $((seconds + 20)) 0
	sleep 0.5
	start_cost
	read -r frames_s frames < <(at_peer "$build/bench/traffic" count 9 "$seconds" 2>/dev/null)
	record_cost udp64_out "${frames:-} / 1e6"
	record udp64_out "$(compute "${frames_s:-} / 1000")"
	in_guest end_helpers
}

measure_rtt()
{
	local p50 p99
	row_wanted rtt_p50 rtt_p99 || return
	in_guest helper "$build/bench/traffic" echo 7
	read -r p50 p99 _ < <(at_peer "$build/bench/traffic" rtt 10.82.59.1 7 1000 2>/dev/null)
	record rtt_p50 "${p50:-}"
	record rtt_p99 "${p99:-}"
	in_guest end_helpers
}

measure_idle()
{
	row_wanted cpu_idle || return
	sleep 1
	start_cost
	sleep 3
	record_cost idle "seconds / 100"
}

# The peer may still know the MAC address of the column before.
reaches_guest()
{
	ip -n "$peer" neigh flush dev p0
	until_true 1 at_peer ping -q -c 1 -W 1 10.82.59.1 && return
	echo "no answer to 20 pings" >>"$dir/words"
	return 1
}

measure_all()
{
	measure_idle
	measure_rtt
	measure_udp_in
	measure_udp_out
	measure_tcp tcp_in
	measure_tcp tcp_out --reverse
}

# --- the report ------------------------------------------------------------------------------------------------

plots()
{
	plot_bars "$1" "${prefix}tcp" "TCP in the guest ($nic)" Mbit/s tcp_in tcp_out
	plot_bars "$1" "${prefix}frames" "64-byte frames delivered in the guest ($nic)" 1000/s udp64_in udp64_out
	plot_bars "$1" "${prefix}cpu" "CPU seconds of the process and its vhost thread ($nic)" "s/GB, s/million frames" \
		cpu_tcp_in cpu_tcp_out cpu_udp64_in cpu_udp64_out
}

# What is asked, beside what was measured.
print_floors()
{
	local row ours theirs floor
	printf '\n%-12s %-8s %-14s %9s %9s\n' floors: ours peer asked measured
	for row in "${floors[@]}"; do
		read -r row ours theirs floor <<<"$row"
		jq -r --arg row "$row" --arg a "$ours" --arg b "$theirs" '.rows[] | select(.name == $row).columns |
			(.[$a].median // empty) as $x | (.[$b].median // empty) as $y |
			if $y > 0 then $x / $y else empty end' "$1" |
			while read -r ratio; do
				printf '%-12s %-8s %-14s %9.1f %9.2f%s\n' "$row" "$ours" "$theirs" "$floor" "$ratio" \
					"$(awk "BEGIN { if ($ratio < $floor) print \"  missed\" }")"
			done
	done
}

# --- the run ---------------------------------------------------------------------------------------------------

note_load
if ! boot; then
	echo "the guest did not come up" >&2
	cat "$dir/log" >&2
	exit 1
fi
# shellcheck disable=SC2034 # report.sh's
note="in a guest: $(qemu-system-x86_64 --version | sed -n '1s/ (.*//p') emulates 2 processors (TCG), Linux $(guest uname -r), NIC $nic"
for ((run = 1; run <= runs; run++)); do
	for column in "${columns[@]}"; do
		printf 'run %d of %d, %s:' "$run" "$runs" "$column"
		if in_guest start "$column" "$build" >"$dir/words" && reaches_guest; then
			measure_all
			echo
		else
			echo ' did not start'
			sed 's/^/  /' "$dir/words"
			in_guest words | sed 's/^/  /'
		fi
		in_guest stop
	done
done
report
print_floors "$build/bench/${prefix}latest.json" | tee -a "$build/bench/${prefix}latest.txt"
