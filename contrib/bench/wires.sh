# shellcheck shell=bash disable=SC2154 # the variables are its caller's
#
# A wire between two namespaces, with what is measured on one end of it.
#
#	namespace here: ixy0 == (what is measured) == wire0 ~~~~ eth0 :namespace peer
#
# For callers of common.sh.

here='' peer=''            # namespaces
daemon='' nic='' daemon2='' # processes: what is measured, its software NIC, the one at the cable's other end

# --- the way out ---------------------------------------------------------------------------------------------

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

# --- namespaces and wires ------------------------------------------------------------------------------------

at_here()
{
	timeout --foreground 30 ip netns exec "$here" "$@"
}

at_peer()
{
	timeout --foreground 30 ip netns exec "$peer" "$@"
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
