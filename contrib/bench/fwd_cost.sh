#!/bin/bash
#
# Instructions that the driver's hot path takes a frame: `make bench-cost`. Runs fwd_cost under callgrind.
#
#	fwd_cost.sh [-j]	-j: JSON instead of the table
#
# The counts do not depend on the machine's speed or load, only on the compiler.

set -eu
build=${IXY_BUILD:-build}
json=
if [ "${1-}" = -j ]; then
	json=1
fi

dir=$(mktemp -d /tmp/ixy-cost.XXXXXX)
trap 'rm -rf "$dir"' EXIT

# What debuggers want to know is not all known to valgrind: clang writes more than it reads.
objcopy --strip-debug "$build/bench/fwd_cost" "$dir/fwd_cost"
if ! valgrind --tool=callgrind --collect-atstart=no --callgrind-out-file="$dir/out" \
	"$dir/fwd_cost" >"$dir/log" 2>&1; then
	cat "$dir/log" >&2
	exit 1
fi

# A dump has its label and its sum: "desc: Trigger: Client Request: forward 32 rx 16384" and "totals: 12345".
# Files are in the order of the dumps; what an empty measurement counts is not the driver's.
# shellcheck disable=SC2016 # these are awk's
find "$dir" -name 'out.*' | sort -t . -k 3n | xargs awk -v json="$json" '
	/^desc: Trigger: Client Request: / { row = $5; batch = $6; part = $7; frames = $8 }
	/^totals: / && row {
		key = row " " batch
		if (!(key in seen)) {
			seen[key] = 1
			order[++rows] = key
		}
		cost[key, part] = $2 / frames
		row = ""
	}
	END {
		if (json)
			print "["
		else
			printf "%-12s %6s %8s %8s %8s   instructions a frame\n", "", "batch", "rx", "tx", "both"
		for (i = 1; i <= rows; i++) {
			split(order[i], name, " ")
			key = order[i]
			tx = cost[key, "tx"] - cost[key, "none"]
			rx = (key SUBSEP "rx") in cost ? cost[key, "rx"] - cost[key, "none"] : 0
			if (json)
				printf "  {\"row\": \"%s\", \"batch\": %d, \"rx\": %.2f, \"tx\": %.2f, \"sum\": %.2f}%s\n",
					name[1], name[2], rx, tx, rx + tx, i < rows ? "," : ""
			else
				printf "%-12s %6d %8.1f %8.1f %8.1f\n", name[1], name[2], rx, tx, rx + tx
		}
		if (json)
			print "]"
	}'
