#!/bin/bash
# shellcheck disable=SC2317 # functions run by trap, check and within
#
# The user's day with ixy-tapd, in under a minute: `sudo make demo`.
#
#	namespace ixy-demo-N                           namespace ixy-peer-N
#	ixy0 == ixy-tapd == ixy-softnic -- wire0 ~~~~~~ eth0
#	(TAP)   (driver)    (82599)        (veth pair: the cable)
#
# All happens in two network namespaces that are made here and deleted again, also on Ctrl-C. Only processes
# that this script started are ended, by pid. KEEP=1 leaves it all running; `demo.sh end` ends that.

set -u
build=$(realpath -m "${IXY_BUILD:-build}")
base=/run/ixy-demo

# --- what is shown -----------------------------------------------------------------------------------------

bold='' dim='' off=''
if [ -t 1 ]; then
	bold=$'\e[1m' dim=$'\e[2m' off=$'\e[0m'
fi

section()
{
	printf '\n%s%s%s\n' "$bold" "$*" "$off"
}

say()
{
	printf '%s\n' "$*"
}

# show HOST COMMAND...: print the command as it would be typed in that namespace, run it there, print what
# comes out, without empty lines and those that match $hide. A command gets 15 seconds.
show()
{
	local where=$1 shown
	shift
	shown="$*"
	[ "$where" = "$here" ] || shown="$shown   ${dim}# at the peer${off}"
	printf '%s$ %s%s\n' "$bold" "$off" "$shown"
	timeout --foreground 15 ip netns exec "$where" "$@" 2>&1 | grep -vE "^[[:space:]]*\$${hide:+|$hide}" |
		sed -E 's/ mode DEFAULT.*//; s/[[:space:]]+$//; s/^\t/    /; s/^/  /' | cut -c1-100
	return "${PIPESTATUS[0]}"
}

# check WHAT COMMAND...: a step that must work, or the demo has failed and says so at its end.
failures=0
check()
{
	local what=$1
	shift
	"$@" && return
	failures=$((failures + 1))
	say "  ^^^ this should have worked: $what"
}

# within SECONDS COMMAND...: wait until it succeeds.
within()
{
	local tries=$(($1 * 20))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $((tries -= 1)) -gt 0 ] || return 1
		sleep 0.05
	done
}

# --- life and end --------------------------------------------------------------------------------------------

# end_pid PID NAME: end it if it is still the process that we started.
end_pid()
{
	[ "$(cat "/proc/$1/comm" 2>/dev/null)" = "$2" ] || return 0
	kill "$1" 2>/dev/null
	within 5 test ! -e "/proc/$1" || kill -KILL "$1" 2>/dev/null
}

# take_down DIR: everything that a demo whose state is in DIR has made.
take_down()
{
	local dir=$1 ns
	[ ! -s "$dir/iperf3.pid" ] || end_pid "$(cat "$dir/iperf3.pid")" iperf3
	[ ! -s "$dir/tapd.pid" ] || end_pid "$(cat "$dir/tapd.pid")" ixy-tapd
	while read -r ns; do
		ip netns del "$ns" 2>/dev/null
	done <"$dir/namespaces"
	rm -rf "$dir"
}

if [ "$(id -u)" != 0 ]; then
	echo "the demo makes network namespaces, which takes root; run: sudo make demo" >&2
	exit 77
fi

if [ "${1-}" = end ]; then
	found=
	for dir in "$base".*/; do
		[ -d "$dir" ] || continue
		found=1
		echo "ending $(tr '\n' ' ' <"$dir/namespaces")"
		take_down "${dir%/}"
	done
	[ -n "$found" ] || echo "no demo is running"
	exit 0
fi

for program in ixy-tapd ixy-softnic; do
	[ -x "$build/$program" ] || {
		echo "$build/$program is not built; run: make" >&2
		exit 1
	}
done

dir=$(mktemp -d "$base.XXXXXX") || exit 1
: >"$dir/namespaces"
here=ixy-demo-$$ peer=ixy-peer-$$
control=$dir/nic
daemon=
tcpdump=
keep=

cleanup()
{
	local status=$?
	trap '' INT TERM
	[ -n "$keep" ] && return
	[ -z "$tcpdump" ] || end_pid "$tcpdump" tcpdump
	take_down "$dir"
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

die()
{
	echo "demo: $*" >&2
	[ ! -s "$dir/tapd.log" ] || sed 's/^/  /' "$dir/tapd.log" >&2
	exit 1
}

# --- the demo ------------------------------------------------------------------------------------------------

section "A NIC, its driver in userspace, and an ordinary interface"
say "Two network namespaces stand for two machines, a veth pair for the cable between them:"
say
say "     this machine                                               the peer"
say "     ixy0 <--> ixy-tapd <--> software 82599 <--> wire0 ~~~~~~~~~ eth0"
say "     TAP       driver        (a process)         cable           any kernel interface"

printf '%s\n%s\n' "$here" "$peer" >"$dir/namespaces"
ip netns add "$here" || die "cannot make a network namespace"
ip netns add "$peer" || die "cannot make a network namespace"
for ns in "$here" "$peer"; do
	# IPv6 addresses are usable at once, without the two seconds of duplicate address detection.
	ip netns exec "$ns" sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0
	ip -n "$ns" link set lo up
done
ip -n "$here" link add wire0 type veth peer name eth0 netns "$peer" || die "cannot make a veth pair"
# No ARP: this machine's own stack would answer on wire0 for ixy0's address, and the traffic pass beside it.
ip -n "$here" link set wire0 arp off up
ip -n "$peer" link set eth0 up
ip -n "$peer" addr add 10.82.59.2/24 dev eth0
ip -n "$peer" addr add fd82:599::2/64 dev eth0

section "Start it: one command, device and interface name"
say "With an 82599 in a slot the device would be its PCI address: ixy-tapd 0000:03:00.0 ixy0"
say "control=nic gives the software NIC a control socket, for what comes at the end."
printf '%s$ %sixy-tapd soft:wire0,control=nic ixy0 &\n' "$bold" "$off"
cd "$dir" || exit 1
# A session of its own: Ctrl-C comes here first, and what is kept outlives the terminal.
setsid ip netns exec "$here" "$build/ixy-tapd" soft:wire0,control=nic ixy0 >tapd.out 2>tapd.log &
daemon=$!
echo $daemon >"$dir/tapd.pid"
ready()
{
	grep -q 'ready on' "$dir/tapd.log" || [ ! -e "/proc/$daemon" ]
}
within 10 ready
grep -q 'ready on' "$dir/tapd.log" || die "ixy-tapd did not start:"
sed 's/^/  /' "$dir/tapd.log"

section "It is an interface like any other"
check "give it an address" show "$here" ip address add 10.82.59.1/24 dev ixy0
check "give it an IPv6 address" show "$here" ip address add fd82:599::1/64 dev ixy0
check "bring it up" show "$here" ip link set ixy0 up
carrier()
{
	ip -n "$here" -o link show ixy0 | grep -q 'LOWER_UP.* state UP'
}
within 10 carrier || {
	failures=$((failures + 1))
	say "  ^^^ ixy0 has no carrier after 10 seconds"
}
check "show it" show "$here" ip -brief address show dev ixy0
hide='Support|Advertised|Transceiver|PHYAD|Auto-neg|MDI-X|Current|drv|Settings' \
	check "ethtool" show "$here" ethtool ixy0

section "Ping, from both ends, IPv4 and IPv6"
hide='^PING|^---' check "ping the peer" show "$here" ping -c 3 -i 0.2 10.82.59.2
hide='^PING|^---' check "ping from the peer" show "$peer" ping -c 3 -i 0.2 10.82.59.1
hide='^PING|^---' check "ping over IPv6" show "$here" ping -c 3 -i 0.2 -s 4000 fd82:599::2

section "tcpdump sees every frame"
printf '%s$ %stcpdump -c 4 -ni ixy0 icmp\n' "$bold" "$off"
timeout 10 ip netns exec "$here" tcpdump -c 4 -ni ixy0 icmp >"$dir/tcpdump.out" 2>"$dir/tcpdump.log" &
tcpdump=$!
within 5 grep -q 'listening on' "$dir/tcpdump.log"
ip netns exec "$peer" ping -c 2 -i 0.2 10.82.59.1 >/dev/null
wait $tcpdump
tcpdump=
cut -c1-98 "$dir/tcpdump.out" | sed 's/^/  /'
check "tcpdump on ixy0" test "$(wc -l <"$dir/tcpdump.out")" -eq 4

section "TCP, both ways, 3 seconds each"
say "The software NIC shares the processors with all this; the work of a real one is done by the card."
setsid ip netns exec "$peer" iperf3 -s >"$dir/iperf3.log" 2>&1 &
echo $! >"$dir/iperf3.pid"
# Only the two sums, as sent and as received.
rates='Connecting|iperf Done|local|^- - |Reverse|Interval|(sec|Bytes) *$'
within 5 ip netns exec "$peer" sh -c 'ss -Htln sport = :5201 | grep -q LISTEN'
hide=$rates \
	check "TCP to the peer" show "$here" iperf3 -c 10.82.59.2 -t 3 -i 0
hide=$rates \
	check "TCP from the peer" show "$here" iperf3 -c 10.82.59.2 -t 3 -i 0 --reverse

section "Pull the cable"
say "The software NIC does what it is told: pull cables, or break things (ixy-softnic ctl nic faults)."
printf '%s$ %sixy-softnic ctl nic link 0 out\n' "$bold" "$off"
"$build/ixy-softnic" ctl nic link 0 out >"$dir/ctl.log" 2>&1 || check "$(cat "$dir/ctl.log")" false
no_carrier()
{
	ip -n "$here" -o link show ixy0 | grep -q NO-CARRIER
}
within 5 no_carrier
check "NO-CARRIER within 5 seconds" no_carrier
show "$here" ip -brief link show dev ixy0
hide='^PING|^---' show "$here" ping -c 1 -W 1 10.82.59.2

section "Plug it in again"
printf '%s$ %sixy-softnic ctl nic link 0 in\n' "$bold" "$off"
"$build/ixy-softnic" ctl nic link 0 in >"$dir/ctl.log" 2>&1 || check "$(cat "$dir/ctl.log")" false
within 10 carrier
check "carrier is back" carrier
show "$here" ip -brief link show dev ixy0
hide='^PING|^---' check "ping after the cable came back" show "$here" ping -c 2 -i 0.2 10.82.59.2

section "The counters"
check "ip -s link" show "$here" ip -s link show dev ixy0

if [ "${KEEP:-0}" != 0 ] && [ -n "${KEEP:-}" ]; then
	keep=1
	section "Left running (KEEP=1)"
	say "  sudo ip netns exec $here bash      enter this machine: ixy0 is 10.82.59.1, the peer 10.82.59.2"
	say "  sudo ip netns exec $peer bash      enter the peer"
	say "  sudo $build/ixy-softnic ctl $control link 0 out"
	say "  sudo kill -USR1 $daemon             the daemon's counters, into $dir/tapd.out"
	say "  sudo make demo-end                 end it all"
	exit 0
fi

section "The end"
say "SIGTERM: the daemon drains its rings, stops the NIC, removes ixy0 and prints its counters:"
kill "$daemon"
within 5 test ! -e "/proc/$daemon"
wait "$daemon"
status=$?
check "an orderly end (exit status $status)" test $status -eq 0
sed 's/^/  /' "$dir/tapd.out"
sed -n '/violation/s/^/  /p' "$dir/tapd.log"
say
if [ $failures -gt 0 ]; then
	say "$failures steps did not do what they should."
	exit 1
fi
say "Both namespaces, the cable and all processes are gone. Next: README.md, or KEEP=1 to stay."
exit 0
