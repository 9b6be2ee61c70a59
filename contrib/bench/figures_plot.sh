# shellcheck shell=bash disable=SC2154 # the variables are figures.sh's
#
# The figures' plots, each from its data in $out, and the page that shows them.

# gnuplot_to NAME WIDTH: gnuplot's commands from standard input into $out/NAME.svg
gnuplot_to()
{
	{
		echo "set datafile missing '-'; set key outside bottom center horizontal"
		echo "set grid lc rgb '#dddddd'; set style fill solid 0.9 noborder"
		# Ours, in three colours, and the published ones
		echo "ours = '#1f6fb4'; ours2 = '#2ca089'; ours3 = '#e08214'; c = '#555555'; rust = '#b0482f'"
		cat
	} | plot_svg "$out/$1.svg" "$2" 460
}

plot_batch()
{
	gnuplot_to batch 860 <<-EOF
		set title 'Forwarding 64-byte frames on one core, over batch sizes'
		set xlabel 'batch size'; set ylabel 'million frames a second'
		set logscale x 2; set xrange [0.8:320]
		set label 1 '10G line rate, both ways: 29.76' at graph 0.02, first 29.76 offset 0, 0.6 tc rgb '#999999'
		set arrow 1 from graph 0, first 29.76 to graph 1, first 29.76 nohead dt 2 lc rgb '#999999'
		plot '$out/batch.dat' using 1:2 with linespoints lw 2 pt 7 lc rgb ours title 'this driver', \\
			'' using 1:3 with linespoints lw 2 pt 6 lc rgb ours2 title 'with the software NIC', \\
			'' using 1:4 with linespoints lw 2 pt 5 lc rgb c title 'ixy in C, 82599 (published)', \\
			'' using 1:5 with linespoints lw 2 pt 9 lc rgb rust title 'ixy in Rust, 82599 (published)'
	EOF
}

plot_instructions()
{
	gnuplot_to instructions 700 <<-EOF
		set title 'Instructions to receive and send a frame'
		set xlabel 'batch size'; set ylabel 'instructions a frame'; unset grid; set grid y
		set style data histogram; set style histogram clustered gap 1
		plot '$out/instructions.dat' using 2:xtic(1) lc rgb ours title 'this driver', \\
			'' using 3 lc rgb c title 'ixy in C (published)', \\
			'' using 4 lc rgb rust title 'ixy in Rust (published)', \\
			for [i = 2:4] '' using (\$0 + (i - 3) * 0.25):i:(sprintf('%.0f', column(i))) with labels offset 0, 0.6 notitle
	EOF
}

plot_queues()
{
	gnuplot_to queues 700 <<-EOF
		set title 'Queues and threads on $(nproc) cores'
		set xlabel 'queue pairs, a thread each'; set ylabel 'million frames a second'; set xtics (1, 2, 4); set xrange [0.8:4.2]
		stats '$out/queues.dat' using 2 every ::0::0 nooutput
		plot '$out/queues.dat' using 1:2 with linespoints lw 2 pt 7 lc rgb ours title 'this driver', \\
			'' using 1:(STATS_max * (\$1 < $(nproc) ? \$1 : $(nproc))) with lines dt 2 lc rgb '#999999' \\
			title 'one queue, times the cores in use'
	EOF
}

plot_safety()
{
	gnuplot_to safety 980 <<-EOF
		set title 'What safety costs: builds of this driver, batches of 32'
		set ylabel 'instructions a frame'; set y2label 'nanoseconds a frame'; set y2tics; set y2range [0:*]
		unset grid; set grid y; set border 11; set xtics rotate by -20 font ',11'
		set style data histogram; set style histogram clustered gap 1
		plot '$out/safety.dat' using 2:xtic(1) lc rgb ours title 'instructions', \\
			'' using 3 axes x1y2 lc rgb ours2 title 'nanoseconds'
	EOF
	gnuplot_to iommu 700 <<-EOF
		set title 'Address translation: driver and software NIC together'
		set xlabel 'pages that the IOMMU maps'; set ylabel 'instructions a frame'
		set y2label 'nanoseconds a frame'; set y2tics; set y2range [0:*]
		unset grid; set grid y; set border 11
		set style data histogram; set style histogram clustered gap 1
		plot '$out/iommu.dat' using 2:xtic(1) lc rgb ours title 'instructions', \\
			'' using 3 axes x1y2 lc rgb ours2 title 'nanoseconds'
	EOF
}

# A plot a load: what share of the round trips takes longer, on a scale that shows the last in ten thousand.
plot_latency()
{
	local load
	for load in "${loads[@]}"; do
		gnuplot_to "latency-$load" 860 <<-EOF
			set title 'Round trips at $load a second'
			set xlabel 'percentile'; set ylabel 'microseconds'
			set logscale y; set yrange [1:*]
			set logscale x; set xrange [1:0.00008] reverse
			set xtics ('0' 1, '50' 0.5, '90' 0.1, '99' 0.01, '99.9' 0.001, '99.99' 0.0001)
			plot '$out/latency-adaptive-$load.dat' using (1 - \$1):2 with lines lw 2 lc rgb ours title 'adaptive', \\
				'$out/latency-interrupt-$load.dat' using (1 - \$1):2 with lines lw 2 lc rgb ours2 title 'interrupt', \\
				'$out/latency-polling-$load.dat' using (1 - \$1):2 with lines lw 2 lc rgb ours3 title 'polling', \\
				'$out/latency-ixy-$load.dat' using (1 - \$1):2 with lines lw 2 dt 2 lc rgb c \\
				title 'ixy in C, forwarder (published)'
		EOF
	done
}

# --- the page ----------------------------------------------------------------------------------------------------------

# rows FILE: the data as rows of a table, quoted words whole
table_rows()
{
	grep -v '^#' "$1" | awk '{
		line = "<tr>"
		if ($0 ~ /^"/) {
			split($0, part, "\"")
			line = line "<td>" part[2] "</td>"
			$0 = part[3]
		}
		for (i = 1; i <= NF; i++)
			line = line "<td>" $i "</td>"
		print line "</tr>"
	}'
}

# table FILE HEADING...
table()
{
	[ -e "$1" ] || return
	echo '<table><tr>'
	printf '<th>%s</th>' "${@:2}"
	echo '</tr>'
	table_rows "$1"
	echo '</table>'
}

# The percentiles of all modes at all loads.
latency_table()
{
	local load mode file share
	echo '<table><tr><th>load, 1/s</th><th></th><th>p50</th><th>p90</th><th>p99</th><th>p99.9</th><th>p99.99</th><th></th></tr>'
	for load in "${loads[@]}"; do
		for mode in adaptive interrupt polling ixy; do
			file=$out/latency-$mode-$load.dat
			[ -e "$file" ] || continue
			printf '<tr><td>%s</td><td>%s</td>' "$load" "${mode/ixy/ixy in C, published}"
			for share in 0.5 0.9 0.99 0.999 0.9999; do
				awk -v share=$share '!/^#/ && $1 - share > -1e-7 && $1 - share < 1e-7 { value = $2 }
					END { printf "<td>%s</td>", value }' "$file"
			done
			printf '<td>%s</td></tr>\n' "$(sed -n '1s/.*, \(sent .*\)/\1/p; 1s/.*forwarding \(.*\):.*/\1/p' "$file")"
		done
	done
	echo '</table>'
}

# image NAME: if it was drawn, now or in an earlier run
image()
{
	[ ! -e "$out/$1.svg" ] || echo "<p><img src=\"$1.svg\" alt=\"\"></p>"
}

write_page()
{
	local rate
	{
		cat <<-EOF
			<!DOCTYPE html>
			<html lang="en"><head><meta charset="utf-8"><title>ixy-tapd: figures</title>
			<style>body { font-family: sans-serif; max-width: 62em; margin: 2em auto; line-height: 1.4 }
			td, th { padding: 0.1em 0.8em; text-align: right } td:first-child, th:first-child { text-align: left }</style>
			</head><body>
			<h1>Figures</h1>
			<p>$(processor_name), $(nproc) cores,
			Linux $(uname -r), load before $load, commit $(commit_name), $(date -u +%F).</p>
			<p>The published curves are of ixy, on an 82599 of silicon, a core to itself, and a load generator beside it. Here there is
			no such card: the NIC is a model in software, which shares the cores of this machine with the driver and the traffic. So a
			published curve beside ours is a landmark, not a race; only instructions are the same thing on both sides. Where each
			number is from stands in contrib/bench/published.txt, how to measure with real cards in contrib/bench/README.md.</p>

			<h2>Batch sizes</h2>
			$(image batch)
			<p>One core forwards, and changes a byte of each frame. <i>This driver</i>: descriptors are marked complete in memory by the
			same core, so what is seen is the driver and the few instructions that do this; it is an upper bound, because no cache line
			comes from a device and no bus is slow. <i>With the software NIC</i>: the same core does all that the model of the card does
			as well. What batches save is the same in all curves: the part of a call that is done once. Published: both directions
			between two ports, 3.3 GHz.</p>
			$(table "$out/batch.dat" batch 'this driver, Mpps' 'with the software NIC' 'ixy in C' 'ixy in Rust')

			<h2>Instructions and cycles</h2>
			$(image instructions)
			<p>Receiving and sending one frame, counted by callgrind: the same on every machine for one compiler. The published counts are of
			the whole forwarder, its loop and the byte that it changes included, which are a few instructions. Cycles: where the
			processor's counters can be had; - where not, as in most virtual machines. Published cycles: 94 (C) and 100 (Rust) at 32.</p>
			$(table "$out/instructions.dat" batch 'this driver' 'ixy in C' 'ixy in Rust' 'cycles: this driver' 'ixy in C' 'ixy in Rust')

			<h2>Latency</h2>
		EOF
		for rate in "${loads[@]}"; do
			image "latency-$rate"
		done
		cat <<-EOF
			<p>Round trips of small datagrams from a socket on the far end of the wire, through software NIC and ixy-tapd, to a program on
			ixy0 and the same way back; sent at the given rate, answered or not, timed by the kernel. <i>Adaptive</i> is the daemon's
			default, <i>interrupt</i> is --idle-usecs 0, <i>polling</i> is --poll. The published curve is of a forwarder alone, from fibre to
			fibre, at 1, 10 and 20 million packets a second, for the lowest, middle and highest load. Ours has four more
			processes in its way, each of which has to be woken or waits for one of the cores: that is what the tail shows. With
			polling on few cores the daemon takes a core from those others.</p>
			$(latency_table)

			<h2>The cost of safety</h2>
			$(image safety)
			<p>Instructions by single steps, time with the least of NICs, as above. All builds have the driver's own checks: length and state
			of each descriptor that the device wrote, length, buffers and offloads of each frame to send. They cannot be switched
			off, because the hot path has no branch for them alone: one subtraction and one AND say that four received frames
			are plain. Published: Rust's bounds checks are most of its 82 instructions more than C at batches of 32;
			integer overflow checks $(published overflow rust | cut -d ' ' -f 2) more. Traps for signed overflow cost nothing
			here, because this hot path counts in unsigned numbers, of which C says what happens.</p>
			$(table "$out/safety.dat" build 'instructions' 'ns a frame')
			$(image iommu)
			<p>To the driver an IOMMU is nothing: addresses are added to, translated or not. What translates is the NIC's side, here the
			model with VT-d's tables in memory and a cache of 64 pages that is emptied for each burst, for driver and NIC together.
			On silicon the IOMMU has a cache of its own, and what is known is that pages of 2 MiB cost nothing that was
			measured and pages of 4 KiB do (ixy.rs, pull request 9).</p>
			$(table "$out/iommu.dat" "pages" 'instructions' 'ns a frame')

			<h2>Queues</h2>
			$(image queues)
			<p>One device with 1, 2 and 4 queue pairs, a thread with a core of its own each as long as there are cores; threads share
			nothing but the device. No published curve of the papers has this.</p>
			$(table "$out/queues.dat" queues 'Mpps')
			</body></html>
		EOF
	} >"$out/index.html"
}
