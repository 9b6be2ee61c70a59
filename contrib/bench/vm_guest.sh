#!/bin/bash
#
# The guest's side of vm.sh: starts and ends what is compared. Each call is a process of its own.
#
#	vm_guest.sh prepare SLOT DRIVER STOCK   once: modules, huge pages; DRIVER hands the NIC to userspace, STOCK drives it
#	vm_guest.sh start COLUMN BUILD          ixy0 is there, up, with its address
#	vm_guest.sh words                       what it has said last
#	vm_guest.sh stop
#	vm_guest.sh cost                        CPU time that it has taken in nanoseconds, bytes through ixy0, seconds
#	vm_guest.sh serve                       one iperf3 session
#	vm_guest.sh helper COMMAND...           in the background
#	vm_guest.sh end_helpers

set -u
state=/run/bench
pages=240

prepare()
{
	mkdir -p $state /dev/hugepages
	echo "$1" >$state/slot
	echo "$2" >$state/driver
	echo "$3" >$state/stock
	sysctl -qw net.ipv6.conf.default.disable_ipv6=1
	modprobe -a "$2" vhost_net tun || return
	echo $pages >/proc/sys/vm/nr_hugepages
	mount -t hugetlbfs hugetlbfs /dev/hugepages
	[ "$(cat /proc/sys/vm/nr_hugepages)" -ge $pages ] || echo "only $(cat /proc/sys/vm/nr_hugepages) huge pages"
	attach
	release_nic
}

# Each call but the first knows of the NIC by what the first was told.
attach()
{
	slot=$(cat $state/slot) driver=$(cat $state/driver) stock=$(cat $state/stock)
	nic=/sys/bus/pci/devices/$slot
}

# --- the NIC ---------------------------------------------------------------------------------------------------

release_nic()
{
	[ ! -e "$nic/driver" ] || echo "$slot" >"$nic/driver/unbind"
	echo >"$nic/driver_override"
}

# give_nic DRIVER
give_nic()
{
	release_nic
	echo "$1" >"$nic/driver_override"
	echo "$slot" >"/sys/bus/pci/drivers/$1/bind"
}

# --- what is compared ------------------------------------------------------------------------------------------

# until_true SECONDS COMMAND...
until_true()
{
	local tries=$(($1 * 10))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $((tries -= 1)) -gt 0 ] || return 1
		sleep 0.1
	done
}

# Its standard input is a pipe that never ends: testpmd does at the end of it.
launch()
{
	rm -f $state/input
	mkfifo $state/input
	setsid "$@" >$state/out 2>$state/log <>$state/input &
	echo $! >$state/pid
}

# start_tapd BUILD KERNEL-PORT. By sysfs it takes the NIC from nobody; by VFIO, from vfio-pci.
start_tapd()
{
	[ "$driver" != vfio-pci ] || give_nic vfio-pci
	launch "$1/ixy-tapd" --kernel "$2" "$slot" ixy0
	until_true 30 grep -q 'ready on' $state/log
}

# start_testpmd VDEV -- OPTIONS...
start_testpmd()
{
	local vdev=$1
	shift
	give_nic "$driver"
	launch stdbuf -oL dpdk-testpmd -l 0,1 -a "$slot" --no-telemetry --vdev="$vdev" "$@"
	until_true 60 grep -q 'packet forwarding - ports=2' $state/out
}

io_options=(--forward-mode=io --auto-start --total-num-mbufs=16384)

# As DPDK's guide has it for super-frames (its "virtio_user as exceptional path"): its csum engine with receive sums
# and LRO, and TSO toward both sides, 0x1c and 0x802c.
start_testpmd_tso()
{
	cat >$state/commands <<-END
		csum mac-swap off 0
		csum mac-swap off 1
		csum set tcp hw 0
		csum set udp hw 0
		csum set tcp hw 1
		csum set udp hw 1
		tso set 1448 0
		tso set 1448 1
		port start all
		start
	END
	start_testpmd "$1" -- --interactive --disable-device-start --cmdline-file=$state/commands --forward-mode=csum \
		--rx-offloads=0x1c --tx-offloads=0x802c --total-num-mbufs=16384
}

# The name of the NIC's interface, in $name: virtio's is that of a device of its own on it.
has_interface()
{
	for name in "$nic"/net/* "$nic"/virtio*/net/*; do
		[ ! -e "$name" ] || break
	done
	name=$(basename "$name")
	[ "$name" != '*' ]
}

start_stock()
{
	modprobe "$stock"
	echo "$slot" >/sys/bus/pci/drivers_probe
	until_true 10 has_interface || return
	ip link set "$name" name ixy0
	sleep infinity & # stands for the process
	echo $! >$state/pid
}

begin()
{
	case $1 in
	tap | vhost) start_tapd "$2" "$1" ;;
	pmd-vhost) start_testpmd "virtio_user0,path=/dev/vhost-net,iface=ixy0,queue_size=1024" -- "${io_options[@]}" ;;
	pmd-vhost-tso) start_testpmd_tso "virtio_user0,path=/dev/vhost-net,iface=ixy0,queue_size=1024" ;;
	pmd-tap) start_testpmd "net_tap0,iface=ixy0" -- "${io_options[@]}" ;;
	stock) start_stock ;;
	*)
		echo "$1: no such column"
		false
		;;
	esac
}

# start COLUMN BUILD
start()
{
	begin "$@" && ip link set ixy0 up && ip addr add 10.82.59.1/24 dev ixy0
}

# What it has said last.
words()
{
	tail -q -n 15 $state/log $state/out
}

stop()
{
	local pid
	end_helpers
	if read -r pid <$state/pid; then
		kill "$pid"
		until_true 10 test ! -e "/proc/$pid" || kill -KILL "$pid"
		rm $state/pid
	fi 2>/dev/null
	release_nic
}

# --- measurements ----------------------------------------------------------------------------------------------

# vhost's threads are the kernel's, named after the process; newer kernels count them among its own.
cost()
{
	local pid
	read -r pid <$state/pid
	{
		cat "/proc/$pid/task/"*/schedstat
		pgrep '^vhost-' | sed 's|.*|/proc/&/schedstat|' | xargs -r cat
	} 2>/dev/null |
		awk '{ sum += $1 } END { printf "%.0f ", sum }'
	cat /sys/class/net/ixy0/statistics/{rx,tx}_bytes | awk '{ sum += $1 } END { printf "%.0f ", sum }'
	cut -d ' ' -f 1 /proc/uptime
}

helper()
{
	setsid "$@" </dev/null >/dev/null 2>&1 &
	echo $! >>$state/helpers
}

serve()
{
	helper iperf3 -s -1
	until_true 5 sh -c 'ss -Htln sport = :5201 | grep -q LISTEN'
}

end_helpers()
{
	[ ! -e $state/helpers ] || xargs kill <$state/helpers 2>/dev/null
	rm -f $state/helpers
}

[ ! -e $state/slot ] || attach
"$@"
