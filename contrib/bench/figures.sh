#!/bin/bash
#
# The figures that are known from the papers on ixy, of this driver: `sudo make figures`. Into build/figures: a plot (SVG)
# and its data each, and index.html with all of them and words on what they say.
#
#	figures.sh          this file: measurements
#	figures_plot.sh     plots and the page
#	figures.c           what is measured of the driver alone
#	published.txt       the published curves' numbers, and where they are from
#	wires.sh columns.sh ixy-tapd on a wire, as for bench.sh
#	common.sh           beginning, the way out, plots
#
#	FIGURES=...         some of: batch instructions latency safety queues
#	FIGURES_SECONDS=4   a load
#
# Nothing here asserts. Shown is the best of several runs where the machine's other work can only make a figure worse
# (times), and all samples where that is the subject (latency).

set -u
build=${IXY_BUILD:-build}
seconds=${FIGURES_SECONDS:-4}
read -ra figures <<<"${FIGURES:-batch instructions latency safety queues}"
bench=$(dirname "$0")
out=$build/figures
loads=(1000 10000 50000) # frames a second

# shellcheck source=common.sh
. "$bench/common.sh"
need_root "the figures are measured in network namespaces" figures
make_dir figures
mkdir -p "$out"

# shellcheck source=wires.sh
. "$bench/wires.sh"
# shellcheck source=columns.sh
. "$bench/columns.sh"
# shellcheck source=figures_plot.sh
. "$bench/figures_plot.sh"

meter=$build/bench/figures

# published FIGURE SERIES: its lines, without these two words
published()
{
	sed -n "s/^$1 $2 //p" "$bench/published.txt"
}

# --- the driver alone ------------------------------------------------------------------------------------------

# Nanoseconds a frame become million frames a second.
measure_batch()
{
	"$meter" batch >"$dir/nanoseconds" || return
	awk '{ printf "%d %.2f %.3f\n", $1, 1000 / $2, 1000 / $3 }' "$dir/nanoseconds" >"$dir/batch"
	{
		echo "# batch, Mpps: the driver; driver and software NIC on one core; published: ixy in C, in Rust"
		paste -d ' ' "$dir/batch" <(published batch c | cut -d ' ' -f 2) <(published batch rust | cut -d ' ' -f 2)
	} >"$out/batch.dat"
}

measure_instructions()
{
	local batch
	IXY_BUILD=$build "$bench/fwd_cost.sh" -j >"$dir/cost.json" || return
	{
		echo "# batch, instructions a frame: ours, ixy in C, in Rust; cycles: ours, ixy in C, in Rust"
		for batch in 8 32; do
			echo "$batch" \
				"$(jq -r ".[] | select(.row == \"forward\" and .batch == $batch).sum" "$dir/cost.json")" \
				"$(published instructions c | sed -n "s/^$batch \([0-9]*\) .*/\1/p")" \
				"$(published instructions rust | sed -n "s/^$batch \([0-9]*\) .*/\1/p")" \
				"$("$meter" cycles "$batch" || echo -)" \
				"$(published instructions c | sed -n "s/^$batch [0-9]* //p")" \
				"$(published instructions rust | sed -n "s/^$batch [0-9]* //p")"
		done
	} >"$out/instructions.dat"
}

measure_queues()
{
	"$meter" queues >"$dir/queues" || return
	{
		echo "# queues and threads, Mpps"
		cat "$dir/queues"
	} >"$out/queues.dat"
}

# --- the cost of safety ------------------------------------------------------------------------------------------

# A build of the driver is name|what|compiler's flags; without flags it is the one that is there. What all have is the
# driver's own checks of what the device writes and the caller asks for: they are folded into the comparisons that the
# hot path makes anyway, and have no switch.
builds=(
	"plain|as shipped|"
	"hardened|hardened as distributions do|-O2 -g -fstack-protector-strong -fstack-clash-protection -fcf-protection -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3"
	"pools|double frees are found|-O2 -g -DIXY_DEBUG"
	"overflow|integer overflows trap|-O2 -g -fsanitize=signed-integer-overflow,shift,integer-divide-by-zero -fsanitize-undefined-trap-on-error"
	"undefined|undefined behaviour traps (bounds too)|-O2 -g -fsanitize=undefined -fsanitize-undefined-trap-on-error"
	"address|AddressSanitizer|-O2 -g -fsanitize=address -fno-omit-frame-pointer"
)

measure_safety()
{
	local entry name what flags program cost
	: >"$dir/safety"
	for entry in "${builds[@]}"; do
		IFS='|' read -r name what flags <<<"$entry"
		printf ' %s' "$name"
		program=$meter
		if [ -n "$flags" ]; then
			program=$out/$name/bench/figures
			make -s -j"$(nproc)" BUILD="$out/$name" CFLAGS="$flags" \
				LDFLAGS="$(grep -o -- '-fsanitize=address' <<<"$flags")" "$program" >"$dir/make" 2>&1 || {
				cat "$dir/make" >&2
				return 1
			}
		fi
		cost=$("$program" cost) || return
		echo "\"$what\" $cost" >>"$dir/safety"
	done
	{
		echo "# build, instructions a frame at batches of 32, nanoseconds a frame"
		cat "$dir/safety"
	} >"$out/safety.dat"
	printf ' IOMMU'
	"$meter" iommu >"$dir/iommu" || return
	{
		echo "# IOMMU's pages, instructions a frame of driver and software NIC together, nanoseconds a frame"
		cat "$dir/iommu"
	} >"$out/iommu.dat"
}

# --- latency -------------------------------------------------------------------------------------------------------

# A mode is name|what|column, see columns.sh.
modes=("adaptive|adaptive|soft" "interrupt|interrupt|soft-irq" "polling|polling|soft-poll")

# Round trips from the peer's socket through software NIC and daemon to a program on ixy0 and back, as many a second as
# were asked for, answered or not.
measure_loads()
{
	local load time
	ip netns exec "$here" "$build/bench/traffic" echo 7 2>/dev/null &
	helpers+=($!)
	at_peer "$build/bench/traffic" rtt 10.82.59.1 7 200 >/dev/null
	for load in "${loads[@]}"; do
		# Ten thousand samples, or the curve would not go to 99.99 %
		time=$((10000 / load > seconds ? 10000 / load : seconds))
		at_peer "$build/bench/traffic" trips 10.82.59.1 7 "$load" "$time" >"$dir/trips" 2>"$dir/log" || return
		{
			echo "# share of the round trips, microseconds; $1, $load a second, $(sed -n 's/^sent/sent/p' "$dir/trips")"
			grep -v sent "$dir/trips"
		} >"$out/latency-$1-$load.dat"
		printf ' %s' "$load"
	done
}

measure_latency()
{
	local entry name what column_name i=0 load source
	for entry in "${modes[@]}"; do
		IFS='|' read -r name what column_name <<<"$entry"
		printf ' %s:' "$name"
		if ! { set_up "$column_name" 1500 1 && measure_loads "$name"; }; then
			cat "$dir/log" >&2
			return 1
		fi
		tear_down
	done
	for source in 1 10 20; do
		load=${loads[i]}
		i=$((i + 1))
		{
			echo "# published: ixy in C forwarding $source Mpps: share of the packets, microseconds"
			published "latency-$source" c
		} >"$out/latency-ixy-$load.dat"
	done
}

# --- the run -----------------------------------------------------------------------------------------------------------

# make_figure NAME
make_figure()
{
	case $1 in
	batch) measure_batch && plot_batch ;;
	instructions) measure_instructions && plot_instructions ;;
	latency) measure_latency && plot_latency ;;
	safety) measure_safety && plot_safety ;;
	queues) measure_queues && plot_queues ;;
	*)
		printf ' no such figure; there are: batch instructions latency safety queues'
		return 1
		;;
	esac
}

count=0 status=0
note_load
for figure in "${figures[@]}"; do
	start=$SECONDS
	printf '[%d/%d] %s:' "$((count += 1))" "${#figures[@]}" "$figure"
	if make_figure "$figure"; then
		echo " $((SECONDS - start)) s"
	else
		echo " failed"
		status=1
	fi
done
write_page
echo "figures: $out/index.html"
exit $status
