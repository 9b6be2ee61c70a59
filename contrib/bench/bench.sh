#!/bin/bash
#
# How fast, how soon, how cheap: `sudo make bench`. The project and its peers, on equal wires, in turns.
#
#	bench.sh      this file: turns
#	common.sh     beginning, the way out, plots
#	wires.sh      namespaces and wires
#	columns.sh    what is compared: ixy-tapd on its devices, DPDK's testpmd, a naive copy loop, bare veth pairs
#	rows.sh       what is measured, and how
#	report.sh     the samples as JSON, as a table, and as plots
#
# Each column gets namespaces and a wire of its own, fresh for each run; the columns take turns, so that a machine
# that changes its speed meanwhile changes it for all. Shown are medians; all samples are in the JSON.
#
#	namespace here: ixy0 == (what is measured) == wire0 ~~~~ eth0 :namespace peer
#	in: from the peer to ixy0; out: the other way
#
# The peer's offloads are off, because a cable carries frames of MTU size with whole checksums (column veth-tso has
# them on: it is what memory can do here). Nothing here asserts.
#
#	BENCH_RUNS=3       turns
#	BENCH_SECONDS=2    a measurement
#	BENCH_COLUMNS=...  some of: soft soft-poll xdp xdp-poll cable naive pmd-packet pmd-xdp veth veth-tso
#	BENCH_ROWS=REGEX   only rows whose name matches (see rows.sh); `BENCH_ROWS='^tcp_'`

set -u
build=${IXY_BUILD:-build}
runs=${BENCH_RUNS:-3}
seconds=${BENCH_SECONDS:-2}
wanted=${BENCH_ROWS:-.}
read -ra columns <<<"${BENCH_COLUMNS:-soft xdp cable naive pmd-packet pmd-xdp veth veth-tso}"
bench=$(dirname "$0")

# shellcheck source=common.sh
. "$bench/common.sh"
need_root "the bench makes network namespaces" bench
make_dir bench
samples=$dir/samples
: >"$samples"
# shellcheck disable=SC2034 # report.sh's
prefix='' note=''

# shellcheck source=wires.sh
. "$bench/wires.sh"
# shellcheck source=columns.sh
. "$bench/columns.sh"
# shellcheck source=rows.sh
. "$bench/rows.sh"
# shellcheck source=report.sh
. "$bench/report.sh"

# --- the run -------------------------------------------------------------------------------------------------

note_load
for ((run = 1; run <= runs; run++)); do
	for name in "${columns[@]}"; do
		printf 'run %d of %d, %s:' "$run" "$runs" "$name"
		try "$name" 1500 1 measure_all
		! row_wanted tcp_in_9000 tcp_out_9000 || try "$name" 9000 1 measure_jumbo
		if [ "$name" = xdp ] || [ "$name" = pmd-xdp ]; then
			measure_raw "$name"
		fi
		if [ "$name" = soft ] || [ "$name" = xdp ]; then
			for n in 1 2 4; do
				! row_wanted "tcp8_in_q$n" "udp64_in_q$n" || try "$name" 1500 $n measure_queues $n
			done
		fi
		echo
	done
done
report
