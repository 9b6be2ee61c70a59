# shellcheck shell=bash disable=SC2154 # the variables are bench.sh's
#
# The samples: recorded, as JSON, as two tables (medians; ours over the peers'), and as plots. For bench.sh and vm.sh,
# which say what there is: $rows, $columns, $pairs, plots(), what the files' names begin with ($prefix), and where it was
# measured if not on this machine ($note).

# row_wanted NAME...: is one of them to be measured?
row_wanted()
{
	local row
	for row; do
		[[ ! $row =~ $wanted ]] || return 0
	done
	return 1
}

# record ROW VALUE: "null" stands for what could not be measured.
record()
{
	local value=${2:-null}
	[[ $value =~ ^[0-9]+(\.[0-9]+)?$ ]] || value=null
	row_wanted "$1" && [[ " ${rows[*]}" == *" $1|"* ]] || return
	echo "$1 $column $value" >>"$samples"
	printf ' %s=%s' "$1" "${value/null/-}"
}

# compute EXPRESSION: awk's arithmetic; nothing where an operand is missing or a divisor zero.
compute()
{
	awk "BEGIN { printf \"%.4f\", $1 }" 2>/dev/null
}

write_json()
{
	printf '%s\n' "${rows[@]}" | grep -v '^#' |
		jq -R 'split("|") | {name: .[0], what: .[1], unit: .[2], better: .[4]}' |
		jq -s --rawfile samples "$samples" --arg date "$(date -u +%FT%TZ)" --arg processor "$(processor_name)" \
			--arg cores "$(nproc)" --arg note "$note" --arg kernel "$(uname -r)" --arg runs "$runs" --arg load "$load" \
			--arg commit "$(commit_name)" '
	def median: sort | if length == 0 then null elif length % 2 == 1 then .[length / 2 | floor]
		else (.[length / 2 - 1] + .[length / 2]) / 2 end;
	($samples | split("\n") | map(select(. != "") | split(" ") |
		{row: .[0], column: .[1], value: (.[2] | fromjson)})) as $all |
	{date: $date, commit: $commit, processor: $processor, cores: ($cores | tonumber), kernel: $kernel, note: $note,
	 runs: ($runs | tonumber), load_before: ($load | tonumber),
	 rows: map(.name as $row | . + {columns: ([$all[] | select(.row == $row)] | group_by(.column) |
		map({key: .[0].column, value: {median: (map(.value | values) | median), samples: map(.value)}}) |
		from_entries)})}' >"$1"
}

# cells FILE: a line a row of the table: name and each column's median, - for none
cells()
{
	jq -r --arg columns "${columns[*]}" '($columns | split(" ")) as $c |
		.rows[] | . as $r | [.name] + [$c[] | $r.columns[.].median // "-"] | map(tostring) | join(" ")' "$1"
}

# ratios FILE: the same for the pairs, the better way round: over 1 is ours ahead
ratios()
{
	jq -r --arg pairs "$(printf '%s,' "${pairs[@]}")" '($pairs | split(",") | map(select(. != "") | split(" "))) as $p |
		.rows[] | . as $r | [.name] + [$p[] | ($r.columns[.[0]].median) as $a | ($r.columns[.[1]].median) as $b |
			if $a and $b and $a > 0 and $b > 0 then (if $r.better == "more" then $a / $b else $b / $a end)
			else "-" end] | map(tostring) | join(" ")' "$1"
}

# table NUMBERS-FILE WIDTH FORMAT HEADING...: rows without any number are left out. FORMAT "": the row's.
table()
{
	local numbers=$1 width=$2 fixed=$3 name what unit format line value group=''
	shift 3
	printf '%-36s %-11s' '' ''
	printf " %${width}s" "$@"
	echo
	for row in "${rows[@]}"; do
		IFS='|' read -r name what unit format _ <<<"$row"
		if [ "$name" = '#' ]; then
			group=$what
			continue
		fi
		line=$(grep "^$name " "$numbers") || continue
		line=${line#"$name" }
		[[ $line =~ [0-9] ]] || continue
		[ -z "$group" ] || echo "$group"
		group=''
		printf '  %-34s %-11s' "$what" "$unit"
		for value in $line; do
			# shellcheck disable=SC2059 # the format is the row's
			[ "$value" = - ] || value=$(printf "${fixed:-$format}" "$value")
			printf " %${width}s" "$value"
		done
		echo
	done
}

# has_numbers [N]: is there one in the Nth column of what is to be plotted, or in any but the first?
has_numbers()
{
	awk -v n="${1:-0}" '{ for (i = 2; i <= NF; i++) if ((n == 0 || i == n) && $i ~ /^[0-9]/) found = 1 }
		END { exit !found }' "$dir/plot"
}

# draw NAME TITLE UNIT WIDTH STYLE USING: $dir/plot, a column of it for each of ours; gnuplot's words for the rest
draw()
{
	local name=$1 title=$2 unit=$3 width=$4 style=$5 using=$6 c i=2
	has_numbers || return 0
	{
		echo "set title '$title'; set ylabel '$unit'; set key outside right top; $style"
		printf 'plot'
		for c in "${columns[@]}"; do
			# shellcheck disable=SC2059 # a format of ours
			! has_numbers $i || printf " \"%s\" using $using title \"%s\"," "$dir/plot" $i "$c"
			i=$((i + 1))
		done
		echo
	} | sed 's/,$//' | plot_svg "$build/bench/$name.svg" "$width" 420
}

# plot_bars FILE NAME TITLE UNIT ROW...: a cluster of bars a row that has been measured, a bar a column; $bars_style
# comes on top of what gnuplot is told
plot_bars()
{
	local result=$1 name=$2 title=$3 unit=$4 what row values nbsp=$'\u00a0' # a blank that ends no field
	shift 4
	for row; do
		what=$(printf '%s\n' "${rows[@]}" | awk -F '|' -v row="$row" '$1 == row { print $2 }')
		values=$(cells "$result" | sed -n "s/^$row //p")
		[[ ! $values =~ [0-9] ]] || printf '"%s" %s\n' "${what// /$nbsp}" "${values//-/NaN}"
	done >"$dir/plot"
	draw "$name" "$title" "$unit" 1000 "set grid ytics lc rgb '#dddddd'; set style data histogram; \
		set style histogram clustered gap 1; set style fill solid 0.9 noborder; ${bars_style:-}" '%d:xtic(1)'
}

# plot_lines FILE NAME TITLE UNIT XLABEL X=ROW...: a line a column
plot_lines()
{
	local result=$1 name=$2 title=$3 unit=$4 xlabel=$5 row
	shift 5
	for row; do
		echo "${row%%=*} $(cells "$result" | sed -n "s/^${row#*=} //p" | sed 's/-/NaN/g')"
	done >"$dir/plot"
	draw "$name" "$title" "$unit" 800 "set grid lc rgb '#dddddd'; set xlabel '$xlabel'; set logscale x; \
		set xtics (1, 2, 4, 100, 10000, 100000); set style data linespoints" '1:%d lw 2'
}

# width MIN WORD...: of the longest
width()
{
	local width=$1 word
	shift
	for word; do
		[ ${#word} -le "$width" ] || width=${#word}
	done
	echo "$width"
}

report()
{
	local result pair headings=()
	result=$build/bench/${prefix}bench-$(date -u +%Y%m%dT%H%M%SZ).json
	mkdir -p "$build/bench"
	write_json "$result"
	ln -sf "$(basename "$result")" "$build/bench/${prefix}latest.json"
	cells "$result" >"$dir/cells"
	ratios "$result" >"$dir/ratios"
	for pair in "${pairs[@]}"; do
		headings+=("${pair/ /:}")
	done
	echo
	{
		jq -r '"\(.processor), \(.cores) cores, Linux \(.kernel); medians of \(.runs) runs; commit \(.commit)",
			(.note | select(. != "")), ""' "$result"
		table "$dir/cells" "$(width 10 "${columns[@]}")" '' "${columns[@]}"
		printf '\nTimes better than the peer (under 1: worse)\n'
		table "$dir/ratios" "$(width 15 "${headings[@]}")" %.2f "${headings[@]}"
	} | tee "$build/bench/${prefix}latest.txt"
	plots "$result"
	printf '\nall samples: %s\nplots: %s\n' "$result" "$build/bench/$prefix*.svg"
}
