# shellcheck shell=bash disable=SC2034,SC2154 # the variables are wires.sh's
#
# What is compared. Each makes an interface ixy0 in $here whose other side is eth0 in $peer, and leaves in $daemon
# the process that does it, in $nic the software NIC.

# A pair of columns whose ratio says something, where both were measured.
pairs=("soft pmd-packet" "soft naive" "xdp pmd-xdp" "xdp naive" "xdp veth")

start()
{
	case $1 in
	soft) start_tapd soft:wire0 ;;
	soft-poll) start_tapd --poll soft:wire0 ;;
	soft-irq) start_tapd --idle-usecs 0 soft:wire0 ;;
	xdp) start_tapd xdp:wire0 ;;
	xdp-poll) start_tapd --poll xdp:wire0 ;;
	cable) start_cable ;;
	naive) start_naive ;;
	pmd-packet) start_testpmd net_af_packet "iface=wire0,qpairs=$queues$(packet_frames)" ;;
	pmd-xdp) start_testpmd net_af_xdp "iface=wire0,queue_count=$queues" ;;
	veth) start_veth ;;
	veth-tso) start_veth && offloads "$here" ixy0 on && offloads "$peer" eth0 on ;;
	*)
		echo "$1: no such column; see columns.sh" >&2
		exit 2
		;;
	esac
}

await_tapd()
{
	until_true 10 grep -q 'ready on' "$1"
}

start_tapd()
{
	setsid ip netns exec "$here" "$build/ixy-tapd" --mtu "$mtu" --queues "$queues" "$@" ixy0 >"$dir/out" 2>"$dir/log" &
	daemon=$!
	await_tapd "$dir/log" || return
	nic=$(pgrep -P "$daemon" -x ixy-softnic) || true # not on xdp:
}

# Two daemons on one software NIC with a cable between its two ports: no kernel interface in the way.
start_cable()
{
	setsid "$build/ixy-softnic" "$dir/port0=cable" "$dir/port1=cable" >"$dir/nic" 2>&1 &
	nic=$!
	until_true 5 grep -q ready "$dir/nic" || return
	setsid ip netns exec "$peer" "$build/ixy-tapd" --mtu "$mtu" "vfio-user:$dir/port1" eth0 >"$dir/out2" 2>"$dir/log2" &
	daemon2=$!
	setsid ip netns exec "$here" "$build/ixy-tapd" --mtu "$mtu" "vfio-user:$dir/port0" ixy0 >"$dir/out" 2>"$dir/log" &
	daemon=$!
	await_tapd "$dir/log" && await_tapd "$dir/log2"
}

start_naive()
{
	setsid ip netns exec "$here" "$build/bench/naive" wire0 ixy0 >"$dir/out" 2>"$dir/log" &
	daemon=$!
	until_true 5 grep -q ready "$dir/out"
}

start_veth()
{
	ip -n "$here" link set wire0 down
	ip -n "$here" link set wire0 name ixy0
	ip -n "$here" link set ixy0 arp on
}

# Frames of the packet socket's ring: the default of 2048 bytes holds no jumbo frame; net_af_xdp has none for it.
packet_frames()
{
	[ "$mtu" -le 1500 ] || echo ",framesz=9216,blocksz=36864,framecnt=512"
}

# run_testpmd DEVICES... -- OPTIONS...: no huge pages, no PCI devices. It reads its standard input until that ends, so
# it gets a pipe that does not; what it says goes to $dir/out.
run_testpmd()
{
	mkfifo "$dir/stdin"
	exec 9<>"$dir/stdin"
	: >"$dir/out"
	rm "$dir/stdin"
	setsid ip netns exec "$here" stdbuf -oL dpdk-testpmd -l 0,1 --no-huge -m 512 --no-pci --no-telemetry \
		--file-prefix="ixybench$$" "$@" <&9 >"$dir/out" 2>"$dir/log" &
	daemon=$!
	until_true 20 grep -q 'Press enter to exit\|Checking link statuses\|port statistics\|NIC statistics' "$dir/out"
}

# What port 0 of a testpmd with --stats-period takes a second, as it said last.
testpmd_rate()
{
	sed -n 's/.*Rx-pps: *\([0-9]*\).*/\1/p' "$dir/out" | tail -1
}

start_testpmd()
{
	local jumbo=()
	[ "$mtu" -le 1500 ] || jumbo=(--mbuf-size=16384)
	run_testpmd --vdev="${1}0,$2" --vdev=net_tap0,iface=ixy0 -- --forward-mode=io --auto-start \
		--total-num-mbufs=16384 --rxq="$queues" --txq="$queues" ${jumbo[@]+"${jumbo[@]}"}
}
