# shellcheck shell=bash disable=SC2154 # the variables are bench.sh's
#
# What is measured. A row is name|what|unit|format|which is better; # starts a group.

# shellcheck disable=SC2034 # report.sh's
rows=(
	"#|TCP"
	"tcp_in|in|Gbit/s|%.2f|more"
	"tcp_out|out|Gbit/s|%.2f|more"
	"tcp8_in|8 streams in|Gbit/s|%.2f|more"
	"tcp8_out|8 streams out|Gbit/s|%.2f|more"
	"tcp_both|both ways, sum|Gbit/s|%.2f|more"
	"tcp_in_9000|MTU 9000 in|Gbit/s|%.2f|more"
	"tcp_out_9000|MTU 9000 out|Gbit/s|%.2f|more"
	"#|UDP frames delivered"
	"udp64_in|64 bytes in|1000/s|%.0f|more"
	"udp64_out|64 bytes out|1000/s|%.0f|more"
	"udp512_in|512 bytes in|1000/s|%.0f|more"
	"udp512_out|512 bytes out|1000/s|%.0f|more"
	"udp1472_in|1472 bytes in|1000/s|%.0f|more"
	"udp1472_out|1472 bytes out|1000/s|%.0f|more"
	"loss_in|lost of 50,000/s in|%|%.2f|less"
	"loss_out|lost of 50,000/s out|%|%.2f|less"
	"#|Round trip"
	"rtt_p50|idle, p50|us|%.0f|less"
	"rtt_p99|idle, p99|us|%.0f|less"
	"rtt_p999|idle, p99.9|us|%.0f|less"
	"rtt_load_p50|beside a TCP stream, p50|us|%.0f|less"
	"rtt_load_p99|beside a TCP stream, p99|us|%.0f|less"
	"rtt_load_p999|beside a TCP stream, p99.9|us|%.0f|less"
	"#|Cost"
	"cpu_tcp_in|CPU, TCP in|s/GB|%.2f|less"
	"cpu_tcp_out|CPU, TCP out|s/GB|%.2f|less"
	"cpu_udp64_in|CPU, 64 bytes in|s/million|%.2f|less"
	"cpu_udp64_out|CPU, 64 bytes out|s/million|%.2f|less"
	"cpu_low_in|CPU, 10,000 frames/s in|% of a core|%.1f|less"
	"cpu_low_out|CPU, 10,000 frames/s out|% of a core|%.1f|less"
	"cpu_idle|CPU, idle|% of a core|%.2f|less"
	"rss|resident|MiB|%.0f|less"
	"nic_cpu_tcp_in|software NIC: CPU, TCP in|s/GB|%.2f|less"
	"nic_cpu_idle|software NIC: CPU, idle|% of a core|%.2f|less"
	"nic_rss|software NIC: resident|MiB|%.0f|less"
	"#|Rings without an interface: AF_XDP, 60 bytes"
	"raw_rxdrop|received and dropped|1000/s|%.0f|more"
	"raw_txonly|sent|1000/s|%.0f|more"
	"raw_l2fwd|sent back|1000/s|%.0f|more"
	"#|64-byte frames in, over flows"
	"flows_1|1 flow|1000/s|%.0f|more"
	"flows_100|100 flows|1000/s|%.0f|more"
	"flows_10000|10,000 flows|1000/s|%.0f|more"
	"flows_100000|100,000 flows|1000/s|%.0f|more"
	"#|In, over queues"
	"tcp8_in_q1|8 TCP streams, 1 queue|Gbit/s|%.2f|more"
	"tcp8_in_q2|8 TCP streams, 2 queues|Gbit/s|%.2f|more"
	"tcp8_in_q4|8 TCP streams, 4 queues|Gbit/s|%.2f|more"
	"udp64_in_q1|64 bytes, 10,000 flows, 1 queue|1000/s|%.0f|more"
	"udp64_in_q2|64 bytes, 10,000 flows, 2 queues|1000/s|%.0f|more"
	"udp64_in_q4|64 bytes, 10,000 flows, 4 queues|1000/s|%.0f|more"
)
traffic=$build/bench/traffic

# --- what a process and an interface have done -----------------------------------------------------------------

cpu_ns()
{
	[ -n "$1" ] || return
	cat "/proc/$1/task/"*/schedstat 2>/dev/null | awk '{ sum += $1 } END { printf "%.0f\n", sum }'
}

# Bytes through the interface, both ways together.
interface_bytes()
{
	at_here cat /sys/class/net/ixy0/statistics/rx_bytes /sys/class/net/ixy0/statistics/tx_bytes |
		awk '{ sum += $1 } END { printf "%.0f\n", sum }'
}

rss_mib()
{
	[ -z "$1" ] || awk '/^VmRSS/ { printf "%.1f", $2 / 1024 }' "/proc/$1/status" 2>/dev/null
}

# start_cost; then record_cost SUFFIX UNITS: the CPU that each of them took since, as cpu_SUFFIX
start_cost()
{
	daemon_ns=$(cpu_ns "$daemon") nic_ns=$(cpu_ns "$nic")
}

record_cost()
{
	[ -n "$daemon" ] || return
	record "cpu_$1" "$(compute "($(cpu_ns "$daemon") - $daemon_ns) / 1e9 / ($2)")"
	[ -z "$nic" ] || record "nic_cpu_$1" "$(compute "($(cpu_ns "$nic") - $nic_ns) / 1e9 / ($2)")"
}

# --- measurements ----------------------------------------------------------------------------------------------

# measure_tcp ROW RECEIVER SENDER ADDRESS IPERF-OPTIONS...; the first second is not counted
measure_tcp()
{
	local bytes
	row_wanted "$1" "cpu_$1" || return
	ip netns exec "$2" iperf3 -s -1 >/dev/null 2>&1 &
	helpers+=($!)
	until_true 3 ip netns exec "$2" sh -c 'ss -Htln sport = :5201 | grep -q LISTEN'
	start_cost
	bytes=$(interface_bytes)
	record "$1" "$(timeout --foreground $((seconds + 8)) ip netns exec "$3" \
		iperf3 -J -c "$4" -t "$seconds" -O 1 "${@:5}" 2>/dev/null |
		jq -r '.end | (.sum_received.bits_per_second + (.sum_received_bidir_reverse.bits_per_second // 0)) / 1e6 |
			round / 1000' 2>/dev/null)"
	record_cost "$1" "($(interface_bytes) - $bytes) / 1e9"
	end_helpers
}

# measure_udp ROW RECEIVER SENDER ADDRESS SIZE
measure_udp()
{
	local rate frames
	row_wanted "$1" "cpu_$1" || return
	ip netns exec "$3" "$traffic" flood "$4" 9 "$5" $((seconds + 2)) 0 >/dev/null 2>&1 &
	helpers+=($!)
	sleep 0.3
	start_cost
	read -r rate frames < <(timeout --foreground 20 ip netns exec "$2" "$traffic" count 9 "$seconds" 2>/dev/null)
	record_cost "$1" "${frames:-} / 1e6"
	record "$1" "$(compute "${rate:-} / 1000")"
	end_helpers
}

# measure_loss ROW RECEIVER SENDER ADDRESS: all that is sent counts
measure_loss()
{
	local sent got
	row_wanted "$1" || return
	: >"$dir/count"
	ip netns exec "$2" "$traffic" count 9 $((seconds + 1)) >"$dir/count" 2>/dev/null &
	helpers+=($!)
	sleep 0.3
	read -r _ sent < <(timeout --foreground 20 ip netns exec "$3" "$traffic" flood "$4" 9 64 "$seconds" 50000 2>/dev/null)
	until_true 5 test -s "$dir/count"
	read -r _ got <"$dir/count"
	record "$1" "$(compute "100 * (1 - ${got:-} / ${sent:-})")"
	end_helpers
}

measure_flows()
{
	local mac rate count=$2
	row_wanted "$1" || return
	mac=$(at_here cat /sys/class/net/ixy0/address)
	ip netns exec "$peer" "$traffic" flows eth0 "$mac" 10.82.59.1 9 "$count" $((seconds + 2)) >/dev/null 2>&1 &
	helpers+=($!)
	sleep 0.3
	read -r rate _ < <(timeout --foreground 20 ip netns exec "$here" "$traffic" count 9 "$seconds" 2>/dev/null)
	record "$1" "$(compute "${rate:-} / 1000")"
	end_helpers
}

# measure_rtt ROWS TRIPS: ROWS_p50 and so on
measure_rtt()
{
	local p50 p99 p999
	ip netns exec "$here" "$traffic" echo 7 2>/dev/null &
	helpers+=($!)
	sleep 0.2
	read -r p50 p99 p999 _ < <(at_peer "$traffic" rtt 10.82.59.1 7 "$2" 2>/dev/null)
	record "$1_p50" "${p50:-}"
	record "$1_p99" "${p99:-}"
	record "$1_p999" "${p999:-}"
	end_helpers
}

measure_rtt_under_load()
{
	row_wanted rtt_load_p50 rtt_load_p99 rtt_load_p999 || return
	ip netns exec "$here" iperf3 -s -1 >/dev/null 2>&1 &
	helpers+=($!)
	until_true 3 ip netns exec "$here" sh -c 'ss -Htln sport = :5201 | grep -q LISTEN'
	ip netns exec "$peer" iperf3 -c 10.82.59.1 -t 30 >/dev/null 2>&1 &
	helpers+=($!)
	sleep 1
	measure_rtt rtt_load 3000
}

measure_idle()
{
	local d n
	[ -n "$daemon" ] && row_wanted cpu_idle nic_cpu_idle || return
	sleep 1
	d=$(cpu_ns "$daemon") n=$(cpu_ns "$nic")
	sleep 3
	record cpu_idle "$(compute "($(cpu_ns "$daemon") - $d) / 3e7")"
	[ -z "$nic" ] || record nic_cpu_idle "$(compute "($(cpu_ns "$nic") - $n) / 3e7")"
}

# measure_low_load ROW RECEIVER SENDER ADDRESS
measure_low_load()
{
	local d
	[ -n "$daemon" ] && row_wanted "$1" || return
	ip netns exec "$3" "$traffic" flood "$4" 9 64 $((seconds + 2)) 10000 >/dev/null 2>&1 &
	helpers+=($!)
	ip netns exec "$2" "$traffic" count 9 $((seconds + 2)) >/dev/null 2>&1 &
	helpers+=($!)
	sleep 0.5
	d=$(cpu_ns "$daemon")
	sleep "$seconds"
	record "$1" "$(compute "($(cpu_ns "$daemon") - $d) / 1e7 / $seconds")"
	end_helpers
}

# flood_raw: frames from eth0 to wire0 for as long as a raw measurement takes
flood_raw()
{
	local mac
	mac=$(at_here cat /sys/class/net/wire0/address)
	ip netns exec "$peer" "$traffic" flows eth0 "$mac" 10.82.59.1 9 1 $((seconds + 20)) >/dev/null 2>&1 &
	helpers+=($!)
	sleep 0.5
}

# What eth0 has received a second, over some seconds.
rate_at_peer()
{
	local before
	before=$(at_peer cat /sys/class/net/eth0/statistics/rx_packets)
	sleep "$seconds"
	compute "($(at_peer cat /sys/class/net/eth0/statistics/rx_packets) - $before) / $seconds / 1000"
}

# measure_raw COLUMN: on wires of their own
measure_raw()
{
	row_wanted raw_rxdrop raw_txonly raw_l2fwd || return
	"raw_$1" rxdrop
	"raw_$1" txonly
	"raw_$1" l2fwd
}

# Busy polling as net_af_xdp has it by default (20 us; ours defers interrupts too, there that is the user's to do). A
# session of its own, as all that is measured has: on a busy machine the scheduler shares CPUs out by sessions.
raw_xdp()
{
	set_up_wire xdp && case $1 in
	rxdrop)
		flood_raw
		setsid --wait ip netns exec "$here" "$build/apps/xdpbench" --spin --busy-poll 20us --quiet --time "${seconds}s" \
			rxdrop wire0 >"$dir/out" 2>"$dir/log"
		record raw_rxdrop "$(sed -n 's/^rxdrop: \([0-9]*\) frames.* in \([0-9.]*\) s:.*/\1 \2/p' "$dir/out" |
			awk '{ printf "%.1f", $1 / $2 / 1000 }')"
		;;
	txonly)
		setsid ip netns exec "$here" "$build/apps/xdpbench" --spin --quiet --time $((seconds + 2))s \
			txonly wire0 >"$dir/out" 2>"$dir/log" &
		helpers+=($!)
		sleep 1
		record raw_txonly "$(rate_at_peer)"
		;;
	l2fwd)
		flood_raw
		setsid ip netns exec "$here" "$build/apps/l2fwd" --spin --busy-poll 20us --quiet --time $((seconds + 2))s \
			wire0 >"$dir/out" 2>"$dir/log" &
		helpers+=($!)
		sleep 1
		record raw_l2fwd "$(rate_at_peer)"
		;;
	esac
	tear_down
}

raw_pmd-xdp()
{
	local mode=$1
	case $1 in
	rxdrop) mode=rxonly ;;
	l2fwd) mode=macswap ;;
	esac
	set_up_wire pmd-xdp && run_testpmd --vdev=net_af_xdp0,iface=wire0 -- --stats-period 1 --forward-mode="$mode" --auto-start \
		--txpkts=60 --total-num-mbufs=16384 && case $1 in
	rxdrop)
		flood_raw
		sleep $((seconds + 1))
		record raw_rxdrop "$(compute "$(testpmd_rate) / 1000")"
		;;
	txonly)
		sleep 1
		record raw_txonly "$(rate_at_peer)"
		;;
	l2fwd)
		flood_raw
		record raw_l2fwd "$(rate_at_peer)"
		;;
	esac
	tear_down
}

# --- what is done to a column ------------------------------------------------------------------------------------

measure_all()
{
	local size
	measure_idle
	! row_wanted rtt_p50 rtt_p99 rtt_p999 || measure_rtt rtt 10000
	measure_low_load cpu_low_in "$here" "$peer" 10.82.59.1
	measure_low_load cpu_low_out "$peer" "$here" 10.82.59.2
	measure_udp udp64_in "$here" "$peer" 10.82.59.1 64
	measure_udp udp64_out "$peer" "$here" 10.82.59.2 64
	for size in 512 1472; do
		measure_udp udp${size}_in "$here" "$peer" 10.82.59.1 $size
		measure_udp udp${size}_out "$peer" "$here" 10.82.59.2 $size
	done
	measure_loss loss_in "$here" "$peer" 10.82.59.1
	measure_loss loss_out "$peer" "$here" 10.82.59.2
	for size in 1 100 10000 100000; do
		measure_flows flows_$size $size
	done
	measure_tcp tcp_in "$here" "$peer" 10.82.59.1
	measure_tcp tcp_out "$peer" "$here" 10.82.59.2
	measure_tcp tcp8_in "$here" "$peer" 10.82.59.1 -P 8
	measure_tcp tcp8_out "$peer" "$here" 10.82.59.2 -P 8
	measure_tcp tcp_both "$here" "$peer" 10.82.59.1 --bidir
	measure_rtt_under_load
	[ -z "$daemon" ] || record rss "$(rss_mib "$daemon")"
	[ -z "$nic" ] || record nic_rss "$(rss_mib "$nic")"
}

measure_jumbo()
{
	measure_tcp tcp_in_9000 "$here" "$peer" 10.82.59.1
	measure_tcp tcp_out_9000 "$peer" "$here" 10.82.59.2
}

measure_queues()
{
	measure_tcp "tcp8_in_q$1" "$here" "$peer" 10.82.59.1 -P 8
	measure_flows "udp64_in_q$1" 10000
}

# --- what is plotted, from FILE ----------------------------------------------------------------------------------

plots()
{
	plot_bars "$1" tcp "TCP, one wire of MTU-size frames" Gbit/s tcp_in tcp_out tcp8_in tcp8_out tcp_both
	plot_bars "$1" frames "UDP frames delivered" 1000/s udp64_in udp64_out udp512_in udp512_out udp1472_in udp1472_out
	local bars_style="set logscale y; set yrange [10:*]"
	plot_bars "$1" latency "Round trip, idle" us rtt_p50 rtt_p99 rtt_p999
	plot_bars "$1" latency-load "Round trip beside a TCP stream" us rtt_load_p50 rtt_load_p99 rtt_load_p999
	bars_style=''
	plot_bars "$1" cpu "CPU seconds of the forwarding process" "s/GB, s/million frames" \
		cpu_tcp_in cpu_tcp_out cpu_udp64_in cpu_udp64_out
	plot_lines "$1" flows "64-byte frames in, over flows" 1000/s flows \
		1=flows_1 100=flows_100 10000=flows_10000 100000=flows_100000
	plot_lines "$1" queues "8 TCP streams in, over queues" Gbit/s queues 1=tcp8_in_q1 2=tcp8_in_q2 4=tcp8_in_q4
}
