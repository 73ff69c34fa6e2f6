# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2154
# Sourced by model-check: the configurations of docs/model/access.pml.
# A configuration is the two pages and what up to three actors do: "Km U- fast:0 set:01=U".
# Page: its level N, U or K; - not there, + there, m there and mapped by a process.

# Each wrong order, and a small configuration that notices it.
notices() {
	cat <<-'END'
		pinnable-first Um U- fast:0 set:0=K
		populate-late K- K- fault:0 fault:0
		raise-half U+ U+ set:01=K
		store-first U+ U- set:0=K fault:0
		clear-held Km K- fast:0 set:0=U
		unfrozen-and-look Km K- fast:0 fault:0 set:0=U
		freeze-mapped Km K- slow:0 set:0=U
		hide-pinnable Km K- fast:0 set:0=U
		no-second-unmap U+ U- fault:0 set:0=N
		lower-half Km Km fast:1 set:01=U fault:0
		look-before-ref Km K- fast:0 fault:0 set:0=U
		no-pte-again Km K- fast:0 punch:0 other
		no-look Um U- fast:0
		slow-unlocked Km K- slow:0 set:0=U
		fault-unlocked U+ U- fault:0 set:0=N
		fault-level U+ U- fault:0 set:0=N
		put-hides N+ N- dmref:0 dmref:0
		orphan-lost N+ N- dmref:0 punch:0
		punch-held Km K- fast:0 punch:0
		truncate-mapped Um U- punch:0
		guest-late N+ N- guest:0 punch:0
		restore-first U+ U- punch:0
		free-held Km K- fast:0 punch:0
		populate-pinnable K- K- fault:0 set:0=U
		keep-populated K- K- fault:0 set:0=U
		commit-unlocked U+ U- fault:0 set:0=N
	END
}
# The configurations: "world op op op".
configurations() {
	awk -v all="$all" '
	function has(name) { return index(mix, " " name) > 0 }
	# Does every operation have something to do?
	function sensible() {
		if (has("fault") + has("fast") + has("slow") + has("unmap") &&
		    level == "N" && !has("set:0=U") && !has("set:0=K") && !has("set:01=U") && !has("set:01=K"))
			return 0
		if (has("fast") + has("slow") + has("unmap") && state != "m" && !has("fault"))
			return 0
		if (has("access") && level != "N" && !has("set:0=N") && !has("set:01=N"))
			return 0
		if ((has("other") || has("reap")) && !has("punch") && !has("close"))
			return 0
		if (state == "-" && !has("fault") && !has("guest") && !has("access") && !has("dmref"))
			return 0
		if (has("set:0=" level) + has("set:01=" level) && sets < 2)
			return 0
		return 1
	}
	function emit(world, a, b, c) {
		mix = " " a " " b " " c
		level = substr(world, 1, 1)
		state = substr(world, 2, 1)
		sets = gsub(/set/, "set", mix)
		if (sensible())
			print world mix
	}
	function once(op) { return op ~ /^(other|reap|close)/ }
	BEGIN {
		# One page.
		worlds = split("N- N+ U- U+ Um K- K+ Km", world)
		ops = split("fault:0 unmap:0 fast:0 slow:0 guest:0 access:0 dmref:0 set:0=N set:0=U set:0=K punch:0 reap other close", op)
		for (w = 1; w <= worlds; w++)
			for (a = 1; a <= ops; a++)
				for (b = a; b <= ops; b++)
					for (c = b; c <= ops; c++)
						if (!(once(op[a]) && a == b) && !(once(op[b]) && b == c))
							emit(world[w] " " substr(world[w], 1, 1) "-", op[a], op[b], op[c])
		# Two: something with both at once, and others.
		pages = "Um Km,Km Um,N+ N+"
		names = "fault:0 fault:1 fast:0 slow:1 dmref:0 set:01=K set:1=N punch:1 close"
		if (all) {
			pages = pages ",N+ N-,U- U-,Um Um,K- K-,K+ Km,Km Km,N+ Km,Km N+"
			names = names " fast:1 slow:0 guest:0 access:0 dmref:1 set:0=N set:0=K set:01=N set:01=U punch:0 punch:01"
		}
		worlds = split(pages, world, ",")
		wide = split("set:01=N set:01=U set:01=K punch:01", range)
		ops = split(names, op)
		for (w = 1; w <= worlds; w++)
			for (r = 1; r <= wide; r++)
				for (a = 1; a <= ops; a++)
					for (b = a; b <= ops; b++)
						if (!(once(op[a]) && a == b))
							emit(world[w], range[r], op[a], op[b])
	}'
}

# As the model wants them: "configuration|numbers".
encode() {
	awk '
	BEGIN {
		split("fault unmap fast slow guest access dmref set punch reap other close", names)
		for (n in names)
			number[names[n]] = n
		number["idle"] = 0
	}
	function page(text) {
		if (text !~ /^[NUK][-+m]$/)
			bad = 1
		return " " index("NUK", substr(text, 1, 1)) - 1 " " index("-+m", substr(text, 2, 1)) - 1
	}
	function op(text, part) {
		sub(/^close$/, "close:01", text)
		split(text, part, /[:=]/)
		if (!(part[1] in number) || part[2] !~ /^[01]*$/)
			bad = 1
		return " " number[part[1]] " " substr(part[2], 1, 1) + 0 " " substr(part[2], length(part[2])) + 0 \
			" " (part[3] == "" ? 0 : index("NUK", part[3]) - 1)
	}
	{
		out = page($1) page($2)
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
	echo "pages at ${1/ /, }"
}
