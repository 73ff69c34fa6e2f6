# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2154
# Sourced by model-check: the configurations of docs/model/blocks.pml.
# A configuration is the two blocks, the cgroup's limit in pages and the pool's high watermark in
# blocks, and what up to three actors do: "wb 4/1 hole:0 look:1". docs/model/README.md has the letters.

# Each wrong order, and a small configuration that notices it.
notices() {
	cat <<-'END'
		pool-first lb 3/1 scrub
		restore-first lb 3/1 scrub
		uncharge-first lb 3/1 scrub
		charge-late pb 4/1 whole:0
		split-unfrozen wb 4/1 hole:0 look:1
		unfreeze-early wb 4/1 look:1 level:0
		entries-late wb 4/1 look:1 level:0
		no-recheck wb 4/1 look:1 level:0
		truncate-part wb 4/1 pin:0 hole:0
		clear-mapped wb 4/1 pin:0 hole:0
		shrink-unsplit pb 4/1 single:0 shrink
		shrink-listed pb 4/1 whole:0 shrink
		poison-pooled lb 3/1 scrub poison:0
		refill-unhidden bb 4/1 refill
		refill-unflushed bb 4/1 refill
		cut-unsplit pb 4/1 single:0 shrink
		drain-refilled bb 4/1 refill drain
		undo-pools pb 1/1 whole:0 drain
		map-punched mb 4/1 whole:0
		keep-mark mb 4/1 single:1
		whole-moving bb 4/1 whole:0 level:1
		put-old-folio sb 4/1 dmref:1 level:1
		put-unreferenced wb 4/1 hole:0 dmref:1 scrub
		alloc-referenced bb 4/1 refill stale:20
		scrub-held lb 3/1 scrub stale:20
		poison-restored pb 4/1 shrink poison:0
		finish-listed qb 4/1 scrub single:0
		lost-freed pb 4/1 whole:0 whole:0 stale:20
		poison-mapped wb 4/1 poison:0 single:0
		block-late qb 4/1 scrub refill drain
		broken-lost pb 4/1 poison:0
		merge-used gb 4/1 dmref:0 scrub
		scrub-pools lb 3/1 scrub drain
		scrub-frees qb 4/1 scrub drain
		cut-frees pb 4/1 single:0 drain
		retry-open mb 4/1 retry:0 single:1
		drain-no-wait bb 4/1 refill drain
		refill-dirty bb 4/1 refill
		reference-unsplit wb 4/1 dmref:0
		put-unflushed wb 4/1 dmref:0
		lone-unsplit gb 4/1 single:1
		broken-frees pb 4/1 scrub drain poison:0
		look-marked mb 4/1 look:1 retry:0
	END
}

# The configurations: "blocks limit/high op op op".
configurations() {
	awk -v all="$all" '
	function has(name) { return index(mix, " " name) > 0 }
	# Does every operation have something to do?
	function sensible(world) {
		if (world !~ /^[wsmcCg]/ && !has("whole") && !has("single") &&
		    has("hole") + has("pin") + has("look") + has("dmref") + has("close") + has("retry"))
			return 0
		return !has("retry") || world ~ /^m/ || has("hole") || has("poison")
	}
	function once(op) { return op ~ /^(refill|drain|poison|close)/ }
	function emit(world, a, b, c) {
		if ((once(a) && a == b) || (once(b) && b == c))
			return
		mix = " " a " " b (c == "" ? "" : " " c)
		if (sensible(world))
			print world mix
	}
	BEGIN {
		names = "whole:0 single:1 single:2 refill hole:0 hole:01 level:1 pin:0 look:1 dmref:0 dmref:1 " \
			"scrub retry:0 shrink drain poison:0 poison:1 close:0 other stale:20"
		# In four worlds these by threes.
		some = "whole:0 refill hole:0 look:1 dmref:1 scrub drain poison:0"
		worlds = split("wb 4/1,mb 4/1,qb 4/1,pb 4/1,sb 4/1,cb 4/1,Cb 3/1,gb 4/1,lb 3/1,tb 3/1,pp 1/2,wl 2/1,lw 3/2,cp 1/1", world, ",")
		for (w = 1; w <= worlds; w++) {
			ops = split(names, op)
			for (a = 1; a <= ops; a++)
				for (b = a; b <= ops; b++)
					emit(world[w], op[a], op[b])
			if (!all && w > 4)
				continue
			ops = split(all ? names : some, op)
			for (a = 1; a <= ops; a++)
				for (b = a; b <= ops; b++)
					for (c = b; c <= ops; c++)
						emit(world[w], op[a], op[b], op[c])
		}
	}'
}

# As the model wants them: "configuration|numbers".
encode() {
	awk '
	BEGIN {
		split("whole single refill hole level pin look dmref scrub retry shrink drain poison close other stale", names)
		for (n in names)
			number[names[n]] = n
		number["idle"] = 0
	}
	function op(text, part, lo, hi) {
		split(text, part, ":")
		lo = substr(part[2], 1, 1) + 0
		hi = substr(part[2], length(part[2])) + 0
		if (!(part[1] in number) || part[2] !~ /^[0-3]?[0-3]?$/)
			bad = 1
		# A range lies in one file, a closed file has an even index.
		if (part[1] == "hole" && (hi < lo || int(lo / 2) != int(hi / 2)))
			bad = 1
		if (part[1] ~ /^(close|retry)$/ && lo % 2)
			bad = 1
		return " " number[part[1]] " " lo " " hi
	}
	{
		if ($1 !~ /^[bpwsmlcCqgt][bpwsmlcCqgt]$/ || $2 !~ /^[0-4]\/[0-2]$/)
			bad = 1
		out = index("bpwsmlcCqgt", substr($1, 1, 1)) - 1 " " index("bpwsmlcCqgt", substr($1, 2)) - 1 \
			" " substr($2, 1, 1) " " substr($2, 3)
		for (n = 3; n <= 5; n++)
			out = out op($n == "" ? "idle" : $n)
		if (bad || NF > 5) {
			print "model-check: cannot read \"" $0 "\"" >"/dev/stderr"
			exit 1
		}
		print $0 "|" out
	}'
}

# The first two words of a configuration.
describe() {
	echo "blocks $1"
}
