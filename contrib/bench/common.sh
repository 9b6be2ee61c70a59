# shellcheck shell=bash disable=SC2034,SC2154 # the variables are its callers'
#
# What the scripts here share: beginning, the way out, waiting, and plots. A caller defines tear_down(), which ends what
# it has started.

# need_root WHAT TARGET: or the end
need_root()
{
	[ "$(id -u)" != 0 ] || return 0
	echo "$1, which takes root; run: sudo make $2" >&2
	exit 77
}

# Leaves in $load what the machine did before.
note_load()
{
	read -r load _ </proc/loadavg
	! awk "BEGIN { exit !($load > 0.3) }" ||
		echo "note: this machine is busy (load $load): the figures will be too"
}

processor_name()
{
	sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1
}

commit_name()
{
	git rev-parse --short HEAD 2>/dev/null || echo unknown
}

# --- the way out ---------------------------------------------------------------------------------------------

helpers=() # processes that make traffic

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

cleanup()
{
	local status=$?
	trap '' INT TERM
	tear_down
	rm -rf "$dir"
	exit $status
}

# make_dir NAME: a folder for this run, $dir. What follows ends with cleanup(), whatever happens.
make_dir()
{
	dir=$(mktemp -d "/tmp/ixy-$1.XXXXXX") || exit 1
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

# --- waiting -------------------------------------------------------------------------------------------------

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

# --- plots ---------------------------------------------------------------------------------------------------

# plot_svg FILE WIDTH HEIGHT: gnuplot's commands from standard input
plot_svg()
{
	{
		echo "set encoding utf8; set terminal svg size $2,$3 font 'sans,13' background 'white'; set output '$1'"
		echo "set border 3; set xtics nomirror; set ytics nomirror; set yrange [0:*]"
		cat
	} | gnuplot 2>"$dir/gnuplot" || sed 's/^/gnuplot: /' "$dir/gnuplot" >&2
}
