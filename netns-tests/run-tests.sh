#!/bin/sh
# Run cmocka programs one after another, show what they print, and add up their summaries.
#
#	run-tests.sh [-t SECONDS] PROGRAM...
#
# A program that crashes, hangs, is killed, or exits with an error that its summary does not explain (a leak
# found at its end, say) is one more failure. The last line is "N passed, N failed" with ", N skipped" when
# some were; the exit status is 0 only if none failed.

set -u

limit=300
while getopts t: option; do
	case $option in
	t) limit=$OPTARG ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || {
	echo "usage: $0 [-t SECONDS] PROGRAM..." >&2
	exit 2
}

dir=$(mktemp -d) || exit 1
child=
finish()
{
	[ -z "$child" ] || kill "$child" 2>/dev/null
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

passed=0 failed=0 skipped=0
: >"$dir/failures"
: >"$dir/skips"

# The program writes to a file, not to a pipe: a process that it leaves behind cannot hold us here.
# timeout(1) puts it in a process group of its own and ends that group.
for program; do
	name=$(basename "$program")
	printf '\n----- %s\n' "$program"
	log=$dir/$name.log
	: >"$log"
	start=$(date +%s)
	timeout -k 15 "$limit" "$program" >"$log" 2>&1 </dev/null &
	child=$!
	tail -n +1 -s 0.1 -f --pid=$child "$log" &
	tail=$!
	wait $child
	status=$?
	child=
	wait $tail 2>/dev/null

	# What cmocka says of itself: "[==========] 3 test(s) run.", then "[  PASSED  ] 2 test(s)." and,
	# where there are any, "[  FAILED  ] 1 test(s), listed below:" and "[  SKIPPED ] 1 test(s), ...".
	counts=$(awk '
		/^\[==========\] .*Running [0-9]+ test/ { started++ }
		/^\[==========\] .*[0-9]+ test\(s\) run\./ { ended++ }
		match($0, /^\[  (PASSED|FAILED|SKIPPED) +\] [0-9]+ test\(s\)/) { sum[$2] += $4 }
		END { print sum["PASSED"] + 0, sum["FAILED"] + 0, sum["SKIPPED"] + 0, started + 0, ended + 0 }
	' "$log")
	# shellcheck disable=SC2086 # five numbers
	set -- $counts
	why=
	elapsed=$(($(date +%s) - start))
	if [ $status -gt 0 ] && [ $elapsed -ge "$limit" ]; then
		why="did not end within $limit seconds"
	elif [ $status -gt 128 ]; then
		why="killed by signal $((status - 128))"
	elif [ "$5" -eq 0 ] || [ "$4" -ne "$5" ]; then
		why="ended without its summary (exit status $status)"
	elif [ $status -ne 0 ] && [ "$2" -eq 0 ]; then
		why="exit status $status although no test failed"
	fi
	[ $elapsed -lt 5 ] || echo "----- $program: $elapsed seconds"
	passed=$((passed + $1))
	failed=$((failed + $2))
	skipped=$((skipped + $3))
	if [ -n "$why" ]; then
		failed=$((failed + 1))
		echo "----- $program: $why"
		echo "$name: $why" >>"$dir/failures"
	fi
	sed -n "s/^\[  FAILED  \] \([^ ]*\)$/$name: \1/p" "$log" | sort -u >>"$dir/failures"
	sed -n "s/^SKIP[: ]*/$name: /p" "$log" >>"$dir/skips"
done

echo
[ ! -s "$dir/skips" ] || sed 's/^/skipped: /' "$dir/skips"
[ ! -s "$dir/failures" ] || sed 's/^/FAILED: /' "$dir/failures"
summary="$passed passed, $failed failed"
[ $skipped -eq 0 ] || summary="$summary, $skipped skipped"
echo "$summary"
[ $failed -eq 0 ]
