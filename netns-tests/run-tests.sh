#!/bin/sh
# Run cmocka programs, show what they print, and add up their summaries.
#
#	run-tests.sh [-t SECONDS] [-j JOBS] PROGRAM...
#
# With more than one job, programs run side by side, and each one's output is shown when it has ended.
# A program that crashes, hangs, is killed, or exits with an error that its summary does not explain (a leak
# found at its end, say) is one more failure. The last line is "N passed, N failed" with ", N skipped" when
# some were; the exit status is 0 only if none failed.

set -u

limit=300 jobs=1 dir=
while getopts t:j:d: option; do
	case $option in
	t) limit=$OPTARG ;;
	j) jobs=$OPTARG ;;
	d) dir=$OPTARG ;; # only from below: run one program, leave its results there
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || {
	echo "usage: $0 [-t SECONDS] [-j JOBS] PROGRAM..." >&2
	exit 2
}

# Where the results of a program are, less the ending; two rooms may have one of the same name.
results_of()
{
	echo "$dir/$(echo "$1" | tr / _)"
}

# run_program PROGRAM: leaves in .log what it printed, in .result its counts, in .failures and .skips a line for each
run_program()
{
	name=$(basename "$1")
	results=$(results_of "$1")
	log=$results.log
	: >"$log"
	start=$(date +%s)
	# The program writes to a file, not to a pipe: a process that it leaves behind cannot hold us here.
	# timeout(1) puts it in a process group of its own and ends that group.
	timeout -k 15 "$limit" "$1" >"$log" 2>&1 </dev/null &
	child=$!
	echo $child >"$results.pid"
	if [ "$jobs" -eq 1 ]; then
		printf '\n----- %s\n' "$1"
		tail -n +1 -s 0.1 -f --pid=$child "$log" &
		tail=$!
	fi
	wait $child
	status=$?
	rm -f "$results.pid"
	[ "$jobs" -ne 1 ] || wait "$tail" 2>/dev/null

	# What cmocka says of itself: "[==========] 3 test(s) run.", then "[  PASSED  ] 2 test(s)." and,
	# where there are any, "[  FAILED  ] 1 test(s), listed below:" and "[  SKIPPED ] 1 test(s), ...".
	counts=$(awk '
		/^\[==========\] .*Running [0-9]+ test/ { started++ }
		/^\[==========\] .*[0-9]+ test\(s\) run\./ { ended++ }
		match($0, /^\[  (PASSED|FAILED|SKIPPED) +\] [0-9]+ test\(s\)/) { sum[$2] += $4 }
		END { print sum["PASSED"] + 0, sum["FAILED"] + 0, sum["SKIPPED"] + 0, started + 0, ended + 0 }
	' "$log")
	program=$1
	# shellcheck disable=SC2086 # five numbers
	set -- $counts
	passed=$1 failed=$2 skipped=$3 why=
	elapsed=$(($(date +%s) - start))
	if [ $status -gt 0 ] && [ $elapsed -ge "$limit" ]; then
		why="did not end within $limit seconds"
	elif [ $status -gt 128 ]; then
		why="killed by signal $((status - 128))"
	elif [ "$5" -eq 0 ] || [ "$4" -ne "$5" ]; then
		why="ended without its summary (exit status $status)"
	elif [ $status -ne 0 ] && [ "$failed" -eq 0 ]; then
		why="exit status $status although no test failed"
	fi
	if [ "$jobs" -ne 1 ]; then
		printf '\n----- %s\n' "$program"
		cat "$log"
	fi
	[ $elapsed -lt 5 ] || echo "----- $program: $elapsed seconds"
	{
		sed -n "s/^\[  FAILED  \] \([^ ]*\)$/$name: \1/p" "$log" | sort -u
		if [ -n "$why" ]; then
			failed=$((failed + 1))
			echo "----- $program: $why" >&2
			echo "$name: $why"
		fi
	} >"$results.failures"
	sed -n "s/^SKIP[: ]*/$name: /p" "$log" >"$results.skips"
	echo "$passed $failed $skipped" >"$results.result"
}

if [ -n "$dir" ]; then
	# Each one's output in one piece: what is printed goes to a file, and from there when it is one's turn.
	output=$(results_of "$1").output
	run_program "$1" >"$output" 2>&1
	exec flock "$dir/turn" cat "$output"
fi

dir=$(mktemp -d) || exit 1
runner=
finish()
{
	[ -z "$runner" ] || kill "$runner" 2>/dev/null
	cat "$dir"/*.pid 2>/dev/null | while read -r pid; do
		kill "$pid" 2>/dev/null
	done
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [ "$jobs" -eq 1 ]; then
	for program; do
		run_program "$program"
	done
else
	printf '%s\0' "$@" >"$dir/programs"
	xargs -0 -n 1 -P "$jobs" -a "$dir/programs" "$0" -t "$limit" -j "$jobs" -d "$dir" &
	runner=$!
	wait $runner
	runner=
fi

echo
cat "$dir"/*.skips | sed 's/^/skipped: /'
cat "$dir"/*.failures | sed 's/^/FAILED: /'
awk -v programs=$# '
	{ passed += $1; failed += $2; skipped += $3 }
	END {
		failed += programs - NR # those of which nothing was left
		printf "%d passed, %d failed", passed, failed
		if (skipped)
			printf ", %d skipped", skipped
		print ""
		exit failed > 0
	}' "$dir"/*.result
