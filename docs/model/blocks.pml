/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Physical blocks of hidden memory: how a block is hidden, pooled, put into a
 * file as one folio, split, cut into pages, scrubbed and freed.
 * README.md beside this file says what is modelled and how it is run.
 *
 * Up to three actors do one operation each on a machine of two blocks of two
 * pages and two files of one block range each.  Then both files are closed and
 * the workers run.  Which operations, from which state, and which step is done
 * wrongly on purpose, is in the environment of the verifier: it is built once for
 * all configurations.
 *
 * An atomic step is what one lock covers (the pool lock, a folio lock that
 * every reader of the changed fields takes too), or one access to what other
 * actors can see without a lock.
 */

#define FRAMES	4	/* of the machine; frame f is in block f / 2 */
#define NOTHING	7	/* in the place of a frame or an index */

/* Operations. */
#define IDLE	0
#define WHOLE	1	/* a fault that populates the range of a file as a whole */
#define SINGLE	2	/* a fault that populates one page */
#define REFILL	3	/* the worker that fills the pool */
#define HOLE	4	/* punch a hole */
#define LEVEL	5	/* change the level of one page */
#define PIN	6	/* a reference through a user mapping, kept for a while */
#define LOOK	7	/* a lookup without the folio lock */
#define DMREF	8	/* take a direct-map reference, use it, put it */
#define SCRUB	9	/* the worker that scrubs, frees and merges */
#define RETRY	10	/* the worker that tries failed splits again */
#define SHRINK	11	/* reclaim */
#define DRAIN	12	/* memory hotplug or hibernation */
#define POISON	13	/* memory_failure() of a frame */
#define CLOSE	14	/* the last reference of a file */
#define OTHER	15	/* another user of the buddy allocator */
#define STALE	16	/* LOOK that read its entry in an earlier life of the frame */

/* States of a block.  In TRANSIT one actor has it, and no list. */
#define NONE	0
#define POOL	1
#define TRANSIT	2
#define IN_FILE	3	/* as one folio: WHOLE in README.md */
#define LEFT	4
#define CUT	5
#define BROKEN	6	/* clean, hidden, one page is poisoned, still one piece */

/* States of a page of a CUT block, or of a lone page (IN_FILE and LEFT too). */
#define FREE	1	/* TRANSIT as above */
#define BAD	6
#define OUT	7	/* restored, on its way to the allocator */

/* Owners of a frame. */
#define BUDDY	0
#define LIB	1
#define ELSE	2
#define AWAY	3	/* poisoned; belongs to the kernel, which never uses it */

/* Contents. */
#define ZERO	0
#define HOST	1
#define GUEST	2

/* What to do wrongly; 0 is the protocol. */
#define W_POOL_FIRST		1
#define W_RESTORE_FIRST		2
#define W_UNCHARGE_FIRST	3
#define W_CHARGE_LATE		4
#define W_SPLIT_UNFROZEN	5
#define W_UNFREEZE_EARLY	6
#define W_ENTRIES_LATE		7
#define W_NO_RECHECK		8
#define W_TRUNCATE_PART		9
#define W_CLEAR_MAPPED		10
#define W_SHRINK_UNSPLIT	11
#define W_SHRINK_LISTED		12
#define W_POISON_POOLED		13
#define W_REFILL_UNHIDDEN	14
#define W_REFILL_UNFLUSHED	15
#define W_CUT_UNSPLIT		16
#define W_DRAIN_REFILLED	17
#define W_UNDO_POOLS		18
#define W_MAP_PUNCHED		19
#define W_KEEP_MARK		20
#define W_WHOLE_MOVING		21
#define W_PUT_OLD_FOLIO		22
#define W_ALLOC_REFERENCED	23
#define W_SCRUB_HELD		24
#define W_POISON_RESTORED	25
#define W_FINISH_LISTED		26
#define W_LOST_FREED		27
#define W_POISON_MAPPED		28
#define W_BLOCK_LATE		29
#define W_BROKEN_LOST		30
#define W_MERGE_USED		31
#define W_POISON_TAKEN		32
#define W_SCRUB_POOLS		33
#define W_SCRUB_FREES		34
#define W_CUT_FREES		35
#define W_POOL_SPLIT		36
#define W_RETRY_OPEN		37
#define W_DRAIN_NO_WAIT		38
#define W_REFILL_DIRTY		39
#define W_REFERENCE_UNSPLIT	40
#define W_PUT_UNFLUSHED		41
#define W_LONE_UNSPLIT		42
#define W_BROKEN_FREES		43
#define W_LOOK_MARKED		44
#define W_PUT_UNREFERENCED	45
#define WRONG(what)		(wrong == what)

byte wrong;
byte conf_op[3], conf_lo[3], conf_hi[3];
byte conf_block[2];
byte limit;		/* of the cgroup, in pages */
byte high;		/* the pool's high watermark, in blocks */
/* What allocates memory may fail, until the files are closed at the end. */
bit may_fail = 1;

/* The files: index i is in file i / 2. */
byte at[FRAMES] = NOTHING;	/* the page cache: folios */
byte map[FRAMES] = NOTHING;	/* page tables of processes and guests */
bit punched[FRAMES];	/* a hole was made that could not split the folio */
bit level[FRAMES];
bit moving[FRAMES];	/* a change of level is under way */
bit open[2] = 1;
byte users[2];
bit inv[2];		/* the invalidate_lock is held exclusive */
byte inv_shared[2];
bit chg[2];		/* the change_lock */

/* The folios, by their first frame. */
bit large[2];		/* the frames of the block are one folio */
byte ref[FRAMES];	/* 0: free, a tail, or frozen */
bit locked[FRAMES];
bit priv[FRAMES];	/* the library's word is there */

/* The frames. */
byte owner[FRAMES];
byte page[FRAMES];	/* state */
bit lone[FRAMES];	/* not of a block */
bit present[FRAMES] = 1;	/* in the direct map */
bit stale[FRAMES];	/* absent, but not flushed yet */
bit charged[FRAMES];
bit poison[FRAMES];	/* PG_hwpoison */
byte dm[FRAMES];		/* direct-map references */

/* The blocks. */
byte block[2];
bit split[2];		/* the direct-map entry is a page table */

byte used;		/* what the cgroup is charged */
bit draining;
bit refilling;

/* For assertions only. */
byte data[FRAMES];
byte idx[FRAMES] = NOTHING;	/* the index that a frame is of */
byte pins[FRAMES];
bit handled[FRAMES];	/* memory_failure() has returned */
bit lost[FRAMES];	/* written after a lookup that did not look at the mark */
bit quiet;		/* a drain is complete */
byte finished;

#define B(f)		((f) / 2)
#define FILE(i)		((i) / 2)
#define HEAD(f)		(large[B(f)] -> (f) - (f) % 2 : (f))
#define PAGE(fo, i)	(large[B(fo)] -> (fo) + (i) % 2 : (fo))
#define POOLED		((block[0] == POOL) + (block[1] == POOL))
#define POISONED(b)	(poison[2 * (b)] || poison[2 * (b) + 1])
#define HAS_BAD(b)	(page[2 * (b)] == BAD || page[2 * (b) + 1] == BAD)
#define BOTH_FREE(b)	(owner[2 * (b)] == BUDDY && owner[2 * (b) + 1] == BUDDY && \
			 ref[2 * (b)] == 0 && ref[2 * (b) + 1] == 0)
#define IS_IN(what, f)	(what[0] == (f) || what[1] == (f) || what[2] == (f) || what[3] == (f))
/* A page that the descriptor of its block knows. */
#define OF_BLOCK(f)	(owner[f] == LIB && !lone[f] && page[f] != OUT)

/* References that splitting expects: of the cache, the library, the direct map. */
#define IN_FILE_REFS(fo) (large[B(fo)] -> 3 + dm[2 * B(fo)] + dm[2 * B(fo) + 1] : 2 + dm[fo])

/*
 * A folio of the library never ends by its last put: the library freezes it.
 */
inline put(fo)
{
	assert(ref[fo] > 0);
	ref[fo]--;
	if
	:: ref[fo] == 0 ->
		assert(owner[fo] == ELSE);
		owner[fo] = (poison[fo] -> AWAY : BUDDY);
		data[fo] = HOST
	:: else
	fi
}

/* All of these are parts of atomic steps. */

inline take_block(bb)	/* from the buddy allocator, with frozen counts */
{
	owner[2 * bb] = LIB;
	owner[2 * bb + 1] = LIB;
	assert(present[2 * bb] && present[2 * bb + 1] && !POISONED(bb));
	assert(block[bb] == NONE && !large[bb]);
	if
	:: WRONG(W_ALLOC_REFERENCED) && op == REFILL ->
		ref[2 * bb] = 1;
		ref[2 * bb + 1] = 1
	:: else
	fi;
	block[bb] = TRANSIT
}

inline hide_block(bb)
{
	atomic {
		present[2 * bb] = 0;
		present[2 * bb + 1] = 0;
		stale[2 * bb] = 1;
		stale[2 * bb + 1] = 1
	}
}

inline flush_block(bb)
{
	atomic {
		stale[2 * bb] = 0;
		stale[2 * bb + 1] = 0
	}
}

inline restore_block(bb)
{
	present[2 * bb] = 1;
	present[2 * bb + 1] = 1;
	stale[2 * bb] = 0;
	stale[2 * bb + 1] = 0
}

/* An entry that is not split has only one state. */
inline restore_page(ff)
{
	if
	:: split[B(ff)] -> present[ff] = 1; stale[ff] = 0
	:: else ->
		/* ff and its neighbour. */
		present[ff] = 1;
		present[ff + 1 - 2 * (ff % 2)] = 1
	fi
}

inline to_buddy(ff)
{
	assert(owner[ff] == LIB && ref[ff] == 0 && !locked[ff] && !large[B(ff)]);
	assert(dm[ff] == 0 && pins[ff] == 0 && !charged[ff] && present[ff]);
	assert(!IS_IN(map, ff) && !IS_IN(at, ff));
	assert(poison[ff] || data[ff] == ZERO);
	page[ff] = 0;
	priv[ff] = 0;
	lone[ff] = 0;
	if
	:: poison[ff] -> owner[ff] = AWAY
	:: else -> owner[ff] = BUDDY; data[ff] = HOST
	fi
}

/* The last page of the block has gone: before it is in the allocator. */
inline page_out(ff)
{
	assert(page[ff] == TRANSIT && owner[ff] == LIB);
	page[ff] = OUT;
	if
	:: !lone[ff] && !OF_BLOCK(2 * B(ff)) && !OF_BLOCK(2 * B(ff) + 1) &&
	   !WRONG(W_BLOCK_LATE) ->
		block[B(ff)] = NONE
	:: else
	fi
}

/*
 * A block of one piece that is hidden, clean, uncharged, frozen: to the pool?
 * What a file gives up only if it is still one entry: restored it can be merged.
 */
inline enter_pool(bb, one_entry)
{
	if
	:: POISONED(bb) && !WRONG(W_POISON_POOLED) -> block[bb] = BROKEN; ok = 1
	:: (!POISONED(bb) || WRONG(W_POISON_POOLED)) && POOLED < high &&
	   (!draining || (op == SCRUB && WRONG(W_SCRUB_POOLS)) ||
	    (op == REFILL && WRONG(W_DRAIN_REFILLED)) ||
	    ((op == WHOLE || op == SINGLE) && WRONG(W_UNDO_POOLS))) &&
	   (!split[bb] || !one_entry || WRONG(W_POOL_SPLIT)) ->
		block[bb] = POOL;
		ok = 1
	:: else -> ok = 0
	fi
}

/*
 * Steps, no atomic ones.
 */

/* The same block to the allocator. */
inline give_block(bb)
{
	atomic {
		if
		:: !present[2 * bb] && POISONED(bb) && !WRONG(W_POISON_RESTORED) ->
			block[bb] = BROKEN;
			ok = 0
		:: !present[2 * bb] && (!POISONED(bb) || WRONG(W_POISON_RESTORED)) ->
			assert(!handled[2 * bb] && !handled[2 * bb + 1]);
			restore_block(bb);
			ok = 1
		/* It is restored already, or was not hidden yet. */
		:: present[2 * bb] -> ok = 1
		fi
	}
	if
	:: ok ->
		/* Reclaim leaves that to the worker. */
		if
		:: split[bb] && op != SHRINK && op != DRAIN -> split[bb] = 0
		:: true
		fi;
		atomic {
			block[bb] = NONE;
			page[2 * bb] = OUT;
			page[2 * bb + 1] = OUT
		}
		atomic {
			to_buddy(2 * bb);
			to_buddy(2 * bb + 1);
			ok = 0
		}
	:: else
	fi
}

/* A page in TRANSIT that is clean and uncharged. */
inline give_page(ff)
{
	atomic {
		if
		:: poison[ff] && !WRONG(W_POISON_RESTORED) -> page[ff] = BAD; ok = 0
		:: else ->
			assert(!handled[ff]);
			assert(wrong || split[B(ff)]);
			restore_page(ff);
			ok = 1
		fi
	}
	if
	:: ok ->
		atomic { page_out(ff) }
		atomic {
			ok = WRONG(W_BLOCK_LATE) && block[B(ff)] == CUT && !lone[ff] &&
			     !OF_BLOCK(2 * B(ff)) && !OF_BLOCK(2 * B(ff) + 1);
			to_buddy(ff)
		}
		if
		:: ok -> block[B(ff)] = NONE; ok = 0
		:: else
		fi
	:: else
	fi
}

/* A block of one piece becomes pages; the caller has the page table and the descriptor. */
inline cut_block(bb)
{
	split[bb] = split[bb] || !(WRONG(W_CUT_UNSPLIT) || WRONG(W_SHRINK_UNSPLIT));
	block[bb] = CUT;
	if
	:: poison[2 * bb] -> page[2 * bb] = BAD
	:: else -> page[2 * bb] = FREE
	fi;
	if
	:: poison[2 * bb + 1] -> page[2 * bb + 1] = BAD
	:: else -> page[2 * bb + 1] = FREE
	fi
}

/*
 * A folio of two pages becomes two of one.  The caller has the file's
 * invalidate_lock, exclusive.  Everything that it needs is allocated first.
 */
inline split_folio(fo)
{
	ok = 1;
	if
	:: may_fail -> ok = 0
	:: true
	fi;
	if
	:: ok ->
		b = B(fo);
		atomic { !locked[fo]; locked[fo] = 1 }
		atomic { map[idx[fo]] = NOTHING; map[idx[fo] + 1] = NOTHING }
		atomic {
			if
			:: WRONG(W_SPLIT_UNFROZEN)
			:: ref[fo] == IN_FILE_REFS(fo) && !WRONG(W_SPLIT_UNFROZEN) ->
				assert(pins[fo] == 0 && pins[fo + 1] == 0);
				ref[fo] = 0
			:: else -> locked[fo] = 0; ok = 0
			fi
		}
	:: else
	fi;
	if
	:: ok ->
		split[b] = 1;
		atomic {
			large[b] = 0;
			locked[fo + 1] = 1
		}
		if
		:: WRONG(W_ENTRIES_LATE) || WRONG(W_SPLIT_UNFROZEN)
		:: else -> at[idx[fo] + 1] = fo + 1
		fi;
		if
		:: WRONG(W_UNFREEZE_EARLY)
		:: else -> priv[fo + 1] = 1
		fi;
		atomic {
			block[b] = CUT;
			page[fo] = IN_FILE;
			page[fo + 1] = IN_FILE
		}
		ref[fo] = 2 + dm[fo];
		ref[fo + 1] = 2 + dm[fo + 1];
		at[idx[fo] + 1] = fo + 1;
		priv[fo + 1] = 1;
		atomic {
			locked[fo] = 0;
			locked[fo + 1] = 0
		}
	:: else
	fi;
	b = 0
}

/* A file loses a folio, all of it, under its folio lock. */
inline remove_folio(fo)
{
	if
	:: large[B(fo)] ->
		at[idx[fo]] = NOTHING;
		at[idx[fo] + 1] = NOTHING;
		punched[idx[fo]] = 0;
		punched[idx[fo] + 1] = 0;
		ref[fo] = ref[fo] - 2;
		assert(!IS_IN(map, fo + 1));
		block[B(fo)] = LEFT
	:: else ->
		at[idx[fo]] = NOTHING;
		punched[idx[fo]] = 0;
		ref[fo]--;
		page[fo] = LEFT
	fi;
	assert(ref[fo] > 0 && !IS_IN(map, fo))
}

proctype actor(byte op, lo, hi)
{
	byte i;		/* the index */
	byte f;		/* a frame */
	byte fo;		/* a folio */
	byte b;		/* a block */
	bit ok, k;
	bit again;	/* a second try: a hole's, or a population's after it scrubbed */
	bit single;

	i = lo;
	if
	:: op == WHOLE || op == SINGLE || op == DMREF -> goto find
	:: op == REFILL -> goto refill
	:: op == HOLE || op == LEVEL -> goto exclusive
	:: op == PIN -> goto pin
	:: op == LOOK -> goto look
	:: op == STALE -> fo = hi; goto look_ref
	:: op == SCRUB -> goto scrub
	:: op == RETRY -> goto retry
	:: op == SHRINK -> goto shrink
	:: op == DRAIN -> goto drain
	:: op == POISON -> goto poisoned
	:: op == CLOSE -> goto close
	:: op == OTHER -> goto other
	:: op == IDLE -> goto out
	fi;

	/* A fault, or a direct-map reference, of a page that may have to be populated. */
find:
	atomic {
		if
		:: !open[FILE(i)] -> goto out
		:: open[FILE(i)] && !inv[FILE(i)]
		fi;
		users[FILE(i)]++;
		inv_shared[FILE(i)]++;
		single = op != WHOLE
	}
look_up:
	atomic {
		if
		:: at[i] == NOTHING && op == DMREF -> goto no_page
		:: at[i] == NOTHING && op != DMREF
		:: at[i] != NOTHING && ref[at[i]] > 0 ->
			fo = at[i];
			ref[fo]++;
			goto lock_found
		fi;
		/* One folio has one level. */
		single = single || at[i - i % 2] != NOTHING || at[i - i % 2 + 1] != NOTHING ||
			 level[i - i % 2] != level[i - i % 2 + 1] ||
			 ((moving[i - i % 2] || moving[i - i % 2 + 1]) && !WRONG(W_WHOLE_MOVING));
		if
		:: single -> goto page_take
		:: else
		fi
	}

	/* Populate the whole. */
	ok = 1;
	atomic {
		if
		:: block[0] == POOL -> b = 0
		:: block[0] != POOL && block[1] == POOL -> b = 1
		:: else -> goto block_take
		fi;
		if
		:: POISONED(b) && !WRONG(W_POISON_TAKEN) ->
			block[b] = BROKEN;
			b = 0;
			goto look_up
		:: else -> block[b] = TRANSIT; goto block_charge
		fi
	}
block_take:
	atomic {
		if
		:: BOTH_FREE(0) -> b = 0; take_block(0)
		:: !BOTH_FREE(0) && BOTH_FREE(1) -> b = 1; take_block(1)
		:: !BOTH_FREE(0) && !BOTH_FREE(1) -> single = 1; goto page_take
		:: may_fail -> single = 1; goto page_take
		fi
	}
	atomic { data[2 * b] = ZERO; data[2 * b + 1] = ZERO }
	hide_block(b);
	flush_block(b);
	if
	:: single -> goto cut_new
	:: else
	fi;
block_charge:
	atomic {
		assert(!present[2 * b] && !stale[2 * b] && data[2 * b] == ZERO && !charged[2 * b]);
		assert(!present[2 * b + 1] && !stale[2 * b + 1] && data[2 * b + 1] == ZERO && !charged[2 * b + 1]);
		if
		:: WRONG(W_CHARGE_LATE)
		:: used + 2 <= limit && !WRONG(W_CHARGE_LATE) ->
			charged[2 * b] = 1;
			charged[2 * b + 1] = 1;
			used = used + 2
		:: else -> goto block_undo
		fi
	}
	atomic {
		assert(ref[2 * b] == 0 && ref[2 * b + 1] == 0);
		large[b] = 1;
		priv[2 * b] = 1;
		idx[2 * b] = i - i % 2;
		idx[2 * b + 1] = i - i % 2 + 1;
		block[b] = IN_FILE;
		ref[2 * b] = 1
	}
	atomic {
		fo = 2 * b;
		if
		:: at[idx[fo]] == NOTHING && at[idx[fo] + 1] == NOTHING ->
			at[idx[fo]] = fo;
			at[idx[fo] + 1] = fo;
			ref[fo] = ref[fo] + 2;
			ok = 1
		/* A concurrent fault was faster.  A stale lookup may have a reference. */
		:: else -> ok = 0; block[b] = LEFT
		fi
	}
	atomic {
		if
		:: WRONG(W_CHARGE_LATE) -> charged[fo] = 1; charged[fo + 1] = 1; used = used + 2
		:: else
		fi
	}
	if
	:: !ok && WRONG(W_LOST_FREED) ->
		atomic {
			ref[fo] = 0;
			large[b] = 0;
			used = used - 2;
			charged[fo] = 0;
			charged[fo + 1] = 0;
			idx[fo] = NOTHING;
			idx[fo + 1] = NOTHING;
			block[b] = TRANSIT
		}
		give_block(b)
	:: else
	fi;
	atomic { b = 0; fo = 0; ok = 0; goto look_up }
block_undo:
	atomic { enter_pool(b, 0) }
	if
	:: !ok -> give_block(b)
	:: else
	fi;
	atomic { b = 0; single = 1 }

	/* Populate one page: of a CUT block, of one to be cut, or a lone one. */
page_take:
	atomic {
		f = 0;
		do
		:: f < FRAMES && (block[B(f)] != CUT || page[f] != FREE || owner[f] != LIB) -> f++
		:: f < FRAMES && block[B(f)] == CUT && page[f] == FREE && owner[f] == LIB ->
			if
			:: poison[f] -> page[f] = BAD; f++
			:: else -> page[f] = TRANSIT; goto page_charge
			fi
		:: f == FRAMES -> break
		od;
		f = 0;
		if
		:: block[0] == POOL && !POISONED(0) -> b = 0; block[0] = TRANSIT; goto cut_new
		:: (block[0] != POOL || POISONED(0)) && block[1] == POOL && !POISONED(1) ->
			b = 1;
			block[1] = TRANSIT;
			goto cut_new
		:: else
		fi;
		/* A drain wants no pages that are FREE. */
		if
		:: BOTH_FREE(0) && (!draining || WRONG(W_CUT_FREES)) -> b = 0; take_block(0)
		:: !BOTH_FREE(0) && BOTH_FREE(1) && (!draining || WRONG(W_CUT_FREES)) -> b = 1; take_block(1)
		:: may_fail || draining || (!BOTH_FREE(0) && !BOTH_FREE(1)) -> goto lone_take
		fi
	}
	atomic { data[2 * b] = ZERO; data[2 * b + 1] = ZERO }
	hide_block(b);
	flush_block(b);
cut_new:
	/* The page table and the descriptor. */
	if
	:: may_fail ->
		atomic { enter_pool(b, 0) }
		if
		:: !ok -> give_block(b)
		:: else
		fi;
		b = 0;
		goto lone_take
	:: true
	fi;
	atomic {
		cut_block(b);
		f = 2 * b;
		if
		:: page[f] == BAD -> f++
		:: else
		fi;
		if
		:: page[f] == BAD -> f = 0; b = 0; goto page_take
		:: else -> page[f] = TRANSIT
		fi;
		/* What a drain has begun to take meanwhile must not be left behind. */
		if
		:: draining && page[f + 1 - 2 * (f % 2)] == FREE && !WRONG(W_CUT_FREES) ->
			page[f + 1 - 2 * (f % 2)] = TRANSIT;
			b = f + 1 - 2 * (f % 2)
		:: else -> b = 0; goto page_charge
		fi
	}
	give_page(b);
	b = 0;
page_charge:
	atomic {
		assert(!present[f] && !stale[f] && data[f] == ZERO && !charged[f] && ref[f] == 0);
		if
		:: used + 1 <= limit -> charged[f] = 1; used++
		:: else -> goto page_undo
		fi
	}
	atomic {
		page[f] = IN_FILE;
		priv[f] = 1;
		idx[f] = i;
		ref[f] = 1
	}
	atomic {
		if
		:: at[i] == NOTHING -> at[i] = f; ref[f]++
		:: else -> page[f] = LEFT
		fi;
		f = 0;
		goto look_up
	}
page_undo:
	atomic {
		if
		:: lone[f] -> ok = 0
		:: poison[f] && !lone[f] -> page[f] = BAD; ok = 1
		:: !poison[f] && !lone[f] && (!draining || WRONG(W_UNDO_POOLS)) && !HAS_BAD(B(f)) ->
			page[f] = FREE;
			ok = 1
		:: else -> ok = 0
		fi
	}
	if
	:: !ok -> give_page(f)
	:: else
	fi;
	atomic { f = 0; ok = 0 }
	/* A fault that lacks a charge scrubs what waits, once. */
	if
	:: !again -> again = 1; goto scrub
	:: else -> goto no_page
	fi;
lone_take:
	atomic {
		f = 0;
		do
		:: f < FRAMES && (owner[f] != BUDDY || ref[f] != 0) -> f++
		:: else -> break
		od;
		if
		:: f == FRAMES -> f = 0; goto no_page
		:: f < FRAMES && may_fail -> f = 0; goto no_page
		:: f < FRAMES ->
			assert(present[f] && !poison[f]);
			owner[f] = LIB;
			lone[f] = 1;
			page[f] = TRANSIT
		fi
	}
	atomic {
		data[f] = ZERO;
		split[B(f)] = !WRONG(W_LONE_UNSPLIT);
		present[f] = 0;
		stale[f] = 1
	}
	stale[f] = 0;
	goto page_charge;
no_page:
	atomic {
		inv_shared[FILE(i)]--;
		users[FILE(i)]--;
		goto out
	}

lock_found:
	atomic {
		!locked[fo];
		locked[fo] = 1;
		f = PAGE(fo, i);
		assert(idx[f] == i && at[i] == fo && priv[fo]);
		if
		:: op == DMREF -> goto dmref
		:: else
		fi;
		if
		:: poison[f] && !WRONG(W_POISON_MAPPED) -> goto unlock_found
		:: else
		fi;
		if
		:: !WRONG(W_KEEP_MARK) -> punched[i] = 0
		:: else
		fi;
		/* From here on the guest can write at any time. */
		map[i] = f;
		data[f] = GUEST;
		/* By one entry, if no page of it must be kept out. */
		k = large[B(fo)] && op == WHOLE;
		if
		:: k ->
			k = !((punched[idx[fo]] || punched[idx[fo] + 1]) && !WRONG(W_MAP_PUNCHED)) &&
			    !(POISONED(B(fo)) && !WRONG(W_POISON_MAPPED))
		:: else
		fi;
		if
		:: k ->
			map[idx[fo]] = fo;
			map[idx[fo] + 1] = fo + 1;
			data[fo] = GUEST;
			data[fo + 1] = GUEST
		:: else
		fi;
		k = 0
	}
unlock_found:
	atomic {
		locked[fo] = 0;
		put(fo);
		inv_shared[FILE(i)]--;
		users[FILE(i)]--;
		goto out
	}

dmref:
	if
	:: poison[f] -> goto unlock_found
	:: else
	fi;
	/* The first one of a block allocates the descriptor and the page table. */
	if
	:: !split[B(f)] && may_fail -> goto unlock_found
	:: !split[B(f)] && !WRONG(W_REFERENCE_UNSPLIT) -> split[B(f)] = 1
	:: split[B(f)] || WRONG(W_REFERENCE_UNSPLIT)
	fi;
	atomic {
		dm[f]++;
		restore_page(f);
		punched[i] = 0;
		locked[fo] = 0;
		inv_shared[FILE(i)]--;
		users[FILE(i)]--
	}
	atomic {
		assert(owner[f] == LIB && present[f]);
		data[f] = GUEST
	}
	/*
	 * The put.  A split may move its reference to another folio until it has
	 * one more, of the folio that it locks.
	 */
dmref_folio:
	fo = HEAD(f);
	if
	:: WRONG(W_PUT_OLD_FOLIO) || WRONG(W_PUT_UNREFERENCED)
	:: else ->
		atomic {
			if
			:: ref[fo] == 0 -> goto dmref_folio
			:: else -> ref[fo]++
			fi
		}
		if
		:: HEAD(f) != fo ->
			atomic { put(fo) }
			goto dmref_folio
		:: else
		fi
	fi;
	atomic { !locked[fo]; locked[fo] = 1 }
	if
	:: HEAD(f) != fo && WRONG(W_PUT_UNREFERENCED) ->
		locked[fo] = 0;
		goto dmref_folio
	:: else
	fi;
	atomic {
		assert(dm[f] > 0 && split[B(f)]);
		if
		:: dm[f] == 1 -> present[f] = 0; stale[f] = 1
		:: else
		fi
	}
	if
	:: stale[f] && !WRONG(W_PUT_UNFLUSHED) -> stale[f] = 0
	:: else
	fi;
	atomic {
		dm[f]--;
		locked[fo] = 0;
		if
		:: WRONG(W_PUT_OLD_FOLIO) || WRONG(W_PUT_UNREFERENCED)
		:: else -> put(fo)
		fi;
		put(fo);
		goto out
	}

	/* GUP: the entry and the reference under the page table lock. */
pin:
	atomic {
		f = map[i];
		if
		:: f == NOTHING -> f = 0; goto out
		:: f != NOTHING && ref[HEAD(f)] == 0 -> f = 0; goto out
		:: else
		fi;
		ref[HEAD(f)]++;
		pins[f]++
	}
	atomic {
		assert(owner[f] == LIB && idx[f] == i);
		data[f] = GUEST
	}
	atomic {
		assert(pins[f] > 0);
		pins[f]--;
		fo = HEAD(f);
		put(fo);
		goto out
	}

look:
	fo = at[i];
look_ref:
	atomic {
		if
		:: fo == NOTHING -> fo = 0; goto out
		:: else
		fi;
		if
		:: ref[fo] == 0 -> fo = 0; goto out
		:: else -> ref[fo]++
		fi
	}
	if
	:: at[i] != fo && !WRONG(W_NO_RECHECK) -> goto look_put
	:: else
	fi;
	/* A marked page is populated again first, as by a fault. */
	if
	:: punched[i] && !WRONG(W_LOOK_MARKED) -> goto look_put
	:: else
	fi;
	atomic {
		f = PAGE(fo, i);
		assert(owner[f] == LIB && idx[f] == i && priv[fo]);
		data[f] = GUEST;
		lost[i] = punched[i] && WRONG(W_LOOK_MARKED)
	}
	atomic {
		assert(owner[f] == LIB && idx[f] == i && PAGE(fo, i) == f);
		data[f] = GUEST
	}
look_put:
	atomic {
		f = 0;
		put(fo);
		goto out
	}

other:
	atomic {
		f = 0;
		do
		:: f < FRAMES && (owner[f] != BUDDY || ref[f] != 0) -> f++
		:: else -> break
		od;
		if
		:: f == FRAMES -> f = 0; goto out
		:: else
		fi;
		assert(present[f] && !poison[f] && !charged[f]);
		owner[f] = ELSE;
		data[f] = HOST;
		ref[f] = 1
	}
	atomic {
		assert(owner[f] == ELSE && (present[f] || poison[f]) && data[f] == HOST);
		put(f);
		goto out
	}

refill:
	atomic {
		if
		:: draining && !WRONG(W_DRAIN_REFILLED) -> goto out
		:: POOLED >= high -> goto out
		:: else -> refilling = 1
		fi
	}
	atomic {
		if
		:: BOTH_FREE(0) -> b = 0; take_block(0)
		:: !BOTH_FREE(0) && BOTH_FREE(1) -> b = 1; take_block(1)
		:: !BOTH_FREE(0) && !BOTH_FREE(1) -> goto refilled
		:: may_fail -> goto refilled
		fi
	}
	if
	:: WRONG(W_ALLOC_REFERENCED) -> atomic { ref[2 * b] = 0; ref[2 * b + 1] = 0 }
	:: else
	fi;
	if
	:: WRONG(W_REFILL_DIRTY)
	:: else -> atomic { data[2 * b] = ZERO; data[2 * b + 1] = ZERO }
	fi;
	if
	:: split[b] -> split[b] = 0
	:: true
	fi;
	if
	:: WRONG(W_REFILL_UNHIDDEN) -> atomic { enter_pool(b, 0) }
	:: else
	fi;
	/* Hiding may fail. */
	if
	:: may_fail && !WRONG(W_REFILL_UNHIDDEN) ->
		give_block(b);
		goto refilled
	:: true
	fi;
	hide_block(b);
	if
	:: WRONG(W_REFILL_UNFLUSHED) -> atomic { enter_pool(b, 0) }
	:: else
	fi;
	flush_block(b);
	if
	:: WRONG(W_REFILL_UNHIDDEN) || WRONG(W_REFILL_UNFLUSHED)
	:: else -> atomic { enter_pool(b, 0) }
	fi;
	if
	:: !ok -> give_block(b)
	:: else
	fi;
refilled:
	refilling = 0;
	goto out;

	/* A hole, or a change of level: one at a time. */
exclusive:
	atomic {
		if
		:: !open[FILE(i)] -> goto out
		:: open[FILE(i)] && !chg[FILE(i)]
		fi;
		users[FILE(i)]++;
		chg[FILE(i)] = 1
	}
begin:
	atomic {
		!inv[FILE(lo)] && inv_shared[FILE(lo)] == 0;
		inv[FILE(lo)] = 1;
		i = lo;
		if
		:: op == LEVEL ->
			moving[i] = 1;
			goto change
		:: op == HOLE && !WRONG(W_CLEAR_MAPPED) -> map[lo] = NOTHING; map[hi] = NOTHING
		:: op == HOLE && WRONG(W_CLEAR_MAPPED)
		fi
	}
hole:
	do
	:: i <= hi && at[i] == NOTHING -> i++
	:: i <= hi && at[i] != NOTHING ->
		fo = at[i];
		if
		/* Part of a folio: the rest of it is not in a hole yet. */
		:: large[B(fo)] && lo == hi && !punched[i + 1 - 2 * (i % 2)] ->
			split_folio(fo);
			if
			:: ok -> goto hole
			:: !ok && WRONG(W_TRUNCATE_PART) -> goto remove
			:: else
			fi;
			if
			/* Waits for short references, without the lock. */
			:: !again ->
				again = 1;
				inv[FILE(lo)] = 0;
				goto begin
			:: again ->
				if
				:: WRONG(W_CLEAR_MAPPED)
				:: else -> map[i] = NOTHING
				fi;
				atomic {
					if
					:: !poison[PAGE(fo, i)] -> data[PAGE(fo, i)] = ZERO
					:: else
					fi;
					punched[i] = 1;
					lost[i] = 0;
					i++
				}
				goto hole
			fi
		:: else
		fi;
remove:
		atomic { !locked[fo]; locked[fo] = 1 }
		atomic {
			assert(at[i] == fo);
			assert(!large[B(fo)] || (lo <= idx[fo] && hi > idx[fo]) ||
			       punched[idx[fo]] || punched[idx[fo] + 1]);
			map[i] = NOTHING;
			if
			:: large[B(fo)] -> map[idx[fo]] = NOTHING; map[idx[fo] + 1] = NOTHING
			:: else
			fi;
			remove_folio(fo);
			locked[fo] = 0;
			i++
		}
	:: else -> break
	od;
	atomic {
		/* What was there is gone, or a foreign reference keeps it. */
		assert((at[lo] == NOTHING || punched[lo]) && (at[hi] == NOTHING || punched[hi]));
		inv[FILE(lo)] = 0;
		chg[FILE(lo)] = 0;
		users[FILE(lo)]--;
		goto out
	}

	/* A change of level may fail until it is committed. */
change:
	ok = 1;
	if
	:: at[i] != NOTHING && large[B(at[i])] -> fo = at[i]; split_folio(fo)
	:: else
	fi;
	atomic {
		inv[FILE(lo)] = 0;
		if
		:: !ok -> moving[i] = 0; goto changed
		:: else
		fi
	}
	atomic {
		!inv[FILE(lo)] && inv_shared[FILE(lo)] == 0;
		level[i] = !level[i];
		moving[i] = 0
	}
changed:
	atomic {
		chg[FILE(lo)] = 0;
		users[FILE(lo)]--;
		goto out
	}

	/* Splits that failed: those of holes, and of poison. */
retry:
	atomic {
		if
		:: !open[FILE(i)] -> goto out
		:: open[FILE(i)] && !chg[FILE(i)]
		fi;
		users[FILE(i)]++;
		chg[FILE(i)] = 1
	}
	if
	:: !WRONG(W_RETRY_OPEN) ->
		atomic {
			!inv[FILE(lo)] && inv_shared[FILE(lo)] == 0;
			inv[FILE(lo)] = 1
		}
	:: else
	fi;
	fo = at[lo];
	if
	:: fo == NOTHING -> goto retried
	:: else
	fi;
	if
	:: large[B(fo)] && (punched[lo] || punched[lo + 1] || POISONED(B(fo))) -> split_folio(fo)
	:: else
	fi;
	i = lo;
	do
	:: i <= lo + 1 && (!punched[i] || at[i] == NOTHING) -> i++
	:: i <= lo + 1 && punched[i] && at[i] != NOTHING ->
		fo = at[i];
		if
		:: large[B(fo)] -> break
		:: else
		fi;
		atomic { !locked[fo]; locked[fo] = 1 }
		atomic {
			/* Nothing of a guest is here that it did not write before the hole. */
			assert(punched[i] && map[i] == NOTHING && !lost[i]);
			punched[i] = 0;
			remove_folio(fo);
			locked[fo] = 0;
			i++
		}
	:: i > lo + 1 -> break
	od;
retried:
	atomic {
		if
		:: !WRONG(W_RETRY_OPEN) -> inv[FILE(lo)] = 0
		:: else
		fi;
		chg[FILE(lo)] = 0;
		users[FILE(lo)]--;
		goto out
	}

close:
	open[FILE(lo)] = 0;
	atomic { map[lo] = NOTHING; map[lo + 1] = NOTHING }
	atomic { users[FILE(lo)] == 0; map[lo] = NOTHING; map[lo + 1] = NOTHING }
	i = lo;
	do
	:: i <= lo + 1 && at[i] == NOTHING -> i++
	:: i <= lo + 1 && at[i] != NOTHING ->
		fo = at[i];
		atomic { !locked[fo]; locked[fo] = 1 }
		/* Poison may have split it until now. */
		atomic {
			assert(at[i] == fo);
			punched[i] = 0;
			remove_folio(fo);
			locked[fo] = 0
		}
	:: else -> break
	od;
	goto out;

	/* Scrub, uncharge, free. */
scrub:
	f = 0;
scrub_next:
	do
	:: f < FRAMES && f % 2 == 0 && block[B(f)] == LEFT ->
		/* Freezing it makes it this worker's. */
		atomic {
			if
			:: block[B(f)] == LEFT && (ref[f] == 1 || WRONG(W_SCRUB_HELD)) ->
				ref[f] = 0;
				block[B(f)] = TRANSIT;
				b = B(f)
			:: else -> f++; goto scrub_next
			fi
		}
		if
		:: WRONG(W_UNCHARGE_FIRST) ->
			atomic { used = used - 2; charged[f] = 0; charged[f + 1] = 0 }
		:: else
		fi;
		if
		:: WRONG(W_RESTORE_FIRST) -> atomic { restore_block(b) }
		:: WRONG(W_POOL_FIRST) -> atomic { large[b] = 0; block[b] = POOL }
		:: else
		fi;
		if
		:: !poison[f] -> data[f] = ZERO
		:: else
		fi;
		if
		:: !poison[f + 1] -> data[f + 1] = ZERO
		:: else
		fi;
		atomic {
			if
			:: charged[f] -> used = used - 2; charged[f] = 0; charged[f + 1] = 0
			:: else
			fi;
			idx[f] = NOTHING;
			idx[f + 1] = NOTHING;
			large[b] = 0;
			priv[f] = 0;
			if
			:: WRONG(W_POOL_FIRST) -> ok = 1
			:: else -> enter_pool(b, 1)
			fi
		}
		if
		:: !ok -> give_block(b)
		:: else
		fi;
		atomic { b = 0; ok = 0; f++ }
	:: f < FRAMES && f % 2 == 0 && block[B(f)] == BROKEN ->
		/* The page table and the descriptor: a later run tries again. */
		if
		:: may_fail || WRONG(W_BROKEN_LOST) -> f++; goto scrub_next
		:: true
		fi;
		/* Its other page is FREE at no time: a drain may have passed here. */
		atomic {
			if
			:: block[B(f)] == BROKEN ->
				b = B(f);
				cut_block(b);
				if
				:: page[f] == BAD -> b = f + 1
				:: else -> b = f
				fi;
				ok = page[b] == FREE;
				if
				:: ok && !WRONG(W_BROKEN_FREES) -> page[b] = TRANSIT
				:: else -> ok = 0
				fi
			:: else -> ok = 0
			fi
		}
		if
		:: ok -> give_page(b)
		:: else
		fi;
		atomic { b = 0; ok = 0 }
	:: f < FRAMES && page[f] == LEFT && owner[f] == LIB ->
		atomic {
			if
			:: page[f] == LEFT && (ref[f] == 1 || WRONG(W_SCRUB_HELD)) ->
				ref[f] = 0;
				page[f] = TRANSIT
			:: else -> f++; goto scrub_next
			fi
		}
		if
		:: WRONG(W_UNCHARGE_FIRST) -> atomic { used--; charged[f] = 0 }
		:: else
		fi;
		if
		:: WRONG(W_RESTORE_FIRST) -> restore_page(f)
		:: else
		fi;
		if
		:: !poison[f] -> data[f] = ZERO
		:: else
		fi;
		atomic {
			if
			:: charged[f] -> used--; charged[f] = 0
			:: else
			fi;
			idx[f] = NOTHING;
			priv[f] = 0;
			ok = 1;
			if
			:: poison[f] -> page[f] = BAD
			:: !poison[f] && !lone[f] && (!draining || WRONG(W_SCRUB_FREES)) &&
			   !HAS_BAD(B(f)) -> page[f] = FREE
			:: else -> ok = 0
			fi
		}
		if
		:: !ok -> give_page(f)
		:: else
		fi;
		ok = 0
	:: f < FRAMES && block[B(f)] == CUT && page[f] == FREE && owner[f] == LIB &&
	   page[f + 1 - 2 * (f % 2)] == FREE && owner[f + 1 - 2 * (f % 2)] == LIB ->
		/* All pages of a block: restore it, and merge it. */
		atomic {
			b = B(f);
			f = 2 * b;
			if
			:: block[b] == CUT && page[f] == FREE && page[f + 1] == FREE &&
			   owner[f] == LIB && owner[f + 1] == LIB ->
				if
				:: POISONED(b) ->
					block[b] = BROKEN;
					page[f] = 0;
					page[f + 1] = 0;
					b = 0;
					goto scrub_next
				:: !POISONED(b) && WRONG(W_FINISH_LISTED)
				:: else -> block[b] = TRANSIT; page[f] = 0; page[f + 1] = 0
				fi
			:: else -> b = 0; goto scrub_next
			fi
		}
		if
		:: WRONG(W_SHRINK_UNSPLIT) -> split[b] = 1
		:: else
		fi;
		restore_block(b);
		split[b] = 0;
		if
		:: WRONG(W_FINISH_LISTED) -> atomic { block[b] = TRANSIT; page[f] = 0; page[f + 1] = 0 }
		:: else
		fi;
		/* Merged: the pool can have it. */
		if
		:: POOLED < high && !draining ->
			hide_block(b);
			flush_block(b);
			atomic { enter_pool(b, 0) }
			if
			:: !ok -> give_block(b)
			:: else
			fi
		:: true -> give_block(b)
		fi;
		atomic { b = 0; ok = 0; f++ }
	:: f < FRAMES && block[B(f)] == CUT && page[f] == FREE && owner[f] == LIB &&
	   HAS_BAD(B(f)) ->
		/* A block with a poisoned page is freed page by page. */
		atomic {
			if
			:: block[B(f)] == CUT && page[f] == FREE && owner[f] == LIB -> page[f] = TRANSIT
			:: else -> goto scrub_next
			fi
		}
		if
		:: WRONG(W_SHRINK_UNSPLIT) -> split[B(f)] = 1
		:: else
		fi;
		give_page(f);
		f++
	:: f < FRAMES && f % 2 == 0 && split[B(f)] && present[f] && present[f + 1] &&
	   ((owner[f] != LIB && owner[f + 1] != LIB) || WRONG(W_MERGE_USED)) ->
		/* Merging looks again under the lock that hiding takes. */
		atomic {
			if
			:: present[f] && present[f + 1] &&
			   ((owner[f] != LIB && owner[f + 1] != LIB) || WRONG(W_MERGE_USED)) ->
				split[B(f)] = 0
			:: else
			fi;
			f++
		}
	:: f == FRAMES -> break
	:: else -> f++
	od;
	f = 0;
	if
	:: op == WHOLE || op == SINGLE -> goto look_up
	:: else -> goto out
	fi;

	/* Reclaim.  Nothing is allocated, nothing is flushed. */
drain:
	draining = 1;
	if
	:: WRONG(W_DRAIN_NO_WAIT)
	:: else -> !refilling
	fi;
shrink:
	f = 0;
shrink_next:
	do
	:: f < FRAMES && f % 2 == 0 && block[B(f)] == POOL ->
		b = B(f);
		atomic {
			if
			:: block[b] == POOL && !WRONG(W_SHRINK_LISTED) -> block[b] = TRANSIT
			:: block[b] == POOL && WRONG(W_SHRINK_LISTED)
			:: else -> b = 0; goto shrink_next
			fi
		}
		give_block(b);
		atomic { b = 0; f++ }
	:: f < FRAMES && block[B(f)] == CUT && page[f] == FREE && owner[f] == LIB ->
		atomic {
			if
			:: block[B(f)] == CUT && page[f] == FREE && owner[f] == LIB -> page[f] = TRANSIT
			:: else -> goto shrink_next
			fi
		}
		give_page(f);
		f++
	:: f == FRAMES -> break
	:: else -> f++
	od;
	f = 0;
	if
	:: op == SHRINK -> goto out
	:: else
	fi;
	atomic { quiet = 1 }
	atomic {
		quiet = 0;
		draining = 0;
		goto out
	}

poisoned:
	f = lo;
	atomic {
		poison[f] = 1;
		if
		/* Off the allocator's lists, as memory_failure() does. */
		:: owner[f] == BUDDY && ref[f] == 0 -> owner[f] = AWAY; handled[f] = 1; goto out
		:: owner[f] == LIB
		:: else -> goto out
		fi
	}
poisoned_look:
	/* By the page frame number, under the pool lock. */
	atomic {
		if
		:: owner[f] != LIB -> goto poison_done
		:: owner[f] == LIB && !lone[f] && block[B(f)] == POOL ->
			block[B(f)] = BROKEN;
			goto poison_done
		:: owner[f] == LIB && !lone[f] && block[B(f)] == CUT && page[f] == FREE ->
			page[f] = BAD;
			goto poison_done
		/* On its way: the actor that has it looks, at the end of its way. */
		:: owner[f] == LIB && idx[f] == NOTHING && !(!lone[f] && block[B(f)] == POOL) &&
		   !(!lone[f] && block[B(f)] == CUT && page[f] == FREE) -> goto poison_done
		:: owner[f] == LIB && idx[f] != NOTHING -> i = idx[f]
		fi;
		/* A file that is being closed removes its mappings itself, and its pages. */
		if
		:: !open[FILE(i)] -> goto out
		:: else -> users[FILE(i)]++
		fi
	}
	atomic {
		!inv[FILE(i)] && inv_shared[FILE(i)] == 0;
		inv[FILE(i)] = 1
	}
	fo = at[i];
	if
	:: fo == NOTHING -> goto poison_unlock
	:: else
	fi;
	if
	:: PAGE(fo, i) != f -> goto poison_unlock
	:: else
	fi;
	/* As one piece it stays mapped nowhere, whether it can be split or not. */
	if
	:: large[B(fo)] ->
		atomic { map[i - i % 2] = NOTHING; map[i - i % 2 + 1] = NOTHING }
		split_folio(fo)
	:: else -> map[i] = NOTHING
	fi;
poison_unlock:
	atomic {
		inv[FILE(i)] = 0;
		users[FILE(i)]--
	}
poison_done:
	atomic {
		handled[f] = owner[f] == LIB;
		goto out
	}

out:
	atomic {
		f = 0;
		fo = 0;
		i = 0;
		b = 0;
		ok = 0;
		k = 0;
		again = 0;
		single = 0;
		finished++
	}
}

/*
 * Invariants.  Each is looked at in every state, and these steps can be taken
 * only where one is broken.
 */
#define ALL(what)	(what(0) && what(1) && what(2) && what(3))
#define BLOCKS(what)	(what(0) && what(1))
/* How the state is kept.  Where a step is wrong it is the harm that is looked for. */
#define KEPT(what)	(wrong || (what))

/* The direct map and contents: only a direct-map reference makes them visible. */
#define READABLE(f)	(present[f] || stale[f])
#define INVISIBLE(f)	(data[f] != GUEST || !READABLE(f) || dm[f] > 0 || locked[HEAD(f)])
#define USE_PRESENT(f)	(dm[f] == 0 || present[f] || locked[HEAD(f)])
/* What holds contents is charged, and what is idle is not. */
#define CHARGED(f)	(charged[f] || owner[f] != LIB || data[f] != GUEST || poison[f])
#define IDLE_PAGE(f)	(owner[f] == LIB && !lone[f] && \
			 (block[B(f)] == POOL || (block[B(f)] == CUT && page[f] == FREE)))
#define IDLE_RIGHT(f)	(!IDLE_PAGE(f) || (!READABLE(f) && data[f] == ZERO && !charged[f] && \
			 ref[f] == 0 && dm[f] == 0 && pins[f] == 0 && !locked[f]))
#define UNCHARGED(f)	(!charged[f] || (owner[f] == LIB && page[f] != FREE && page[f] != BAD && page[f] != OUT))
/* A FREE page can be restored alone, without allocating. */
#define CUT_RIGHT(f)	(!(IDLE_PAGE(f) && block[B(f)] == CUT) || split[B(f)])
#define BUDDY_RIGHT(f)	(owner[f] != BUDDY || (present[f] && !charged[f] && !locked[f] && !lone[f] && \
			 page[f] == 0))
/* In a file: hidden but for direct-map references, charged, of its index. */
#define FILED(i)	(at[i] == NOTHING || ref[at[i]] == 0 || (owner[at[i]] == LIB && priv[at[i]] && \
			 (locked[at[i]] || (idx[PAGE(at[i], i)] == i && \
			  READABLE(PAGE(at[i], i)) == (dm[PAGE(at[i], i)] > 0)))))
#define CHARGED_IN_FILE(i) (at[i] == NOTHING || locked[at[i]] || charged[PAGE(at[i], i)])
/* One level to a folio. */
#define ONE_LEVEL(b)	(at[2 * (b)] == NOTHING || !large[B(at[2 * (b)])] || level[2 * (b)] == level[2 * (b) + 1])
/* Only what is in the file is mapped, and nothing that a hole marked. */
#define MAP_IN_FILE(i)	(map[i] == NOTHING || (at[i] != NOTHING && (locked[at[i]] || PAGE(at[i], i) == map[i])))
#define MARK_RIGHT(i)	(!punched[i] || (map[i] == NOTHING && at[i] != NOTHING))
/* Poison that memory_failure() is done with. */
#define POISON_RIGHT(f)	(!handled[f] || (!IS_IN(map, f) && owner[f] != BUDDY))
#define USED_RIGHT	(used == charged[0] + charged[1] + charged[2] + charged[3])
#define DRAINED		(!quiet || (POOLED == 0 && !refilling && !IDLE_PAGE(0) && !IDLE_PAGE(1) && \
			 !IDLE_PAGE(2) && !IDLE_PAGE(3)))

active proctype invariants()
{
	/* What the verifier calls the invariant that is broken. */
	bit INVISIBLE, USE_PRESENT, CHARGED, UNCHARGED, IDLE_RIGHT, CUT_RIGHT, BUDDY_RIGHT, FILED;
	bit CHARGED_IN_FILE, ONE_LEVEL, MAP_IN_FILE, MARK_RIGHT, POISON_RIGHT;

end:
	do
	:: atomic { !ALL(INVISIBLE) -> assert(INVISIBLE) }
	:: atomic { !ALL(USE_PRESENT) -> assert(USE_PRESENT) }
	:: atomic { !ALL(CHARGED) -> assert(CHARGED) }
	:: atomic { !ALL(UNCHARGED) -> assert(UNCHARGED) }
	:: atomic { !ALL(IDLE_RIGHT) -> assert(IDLE_RIGHT) }
	:: atomic { !KEPT(ALL(CUT_RIGHT)) -> assert(CUT_RIGHT) }
	:: atomic { !ALL(BUDDY_RIGHT) -> assert(BUDDY_RIGHT) }
	:: atomic { !KEPT(ALL(FILED)) -> assert(FILED) }
	:: atomic { !ALL(CHARGED_IN_FILE) -> assert(CHARGED_IN_FILE) }
	:: atomic { !BLOCKS(ONE_LEVEL) -> assert(ONE_LEVEL) }
	:: atomic { !ALL(MAP_IN_FILE) -> assert(MAP_IN_FILE) }
	:: atomic { !ALL(MARK_RIGHT) -> assert(MARK_RIGHT) }
	:: atomic { !ALL(POISON_RIGHT) -> assert(POISON_RIGHT) }
	:: atomic { !USED_RIGHT -> assert(USED_RIGHT) }
	:: atomic { !DRAINED -> assert(DRAINED) }
	od
}

c_decl {
	\#include <stdlib.h>
	\#include <string.h>
};

/* The states that a block may have at the start; the file has its number. */
#define S_BUDDY		0
#define S_POOL		1
#define S_WHOLE		2
#define S_WHOLE_SPLIT	3	/* a direct-map reference was there */
#define S_MARKED	4	/* its second page was punched, but the split failed */
#define S_LEFT		5
#define S_CUT		6	/* the first page IN FILE, the other FREE */
#define S_CUT_FULL	7	/* both IN FILE */
#define S_CUT_LEFT	8	/* the first LEFT, the other FREE */
#define S_CUT_GONE	9	/* the first IN FILE, the other in the allocator */
#define S_BUDDY_SPLIT	10	/* the direct-map entry is a page table */
#define STARTS(what)	(conf_block[b] == what)

init {
	byte b, f;

	atomic {
		/* WRONG, each block, LIMIT HIGH, OP LO HI of each actor. */
		c_code {
			const char *conf = getenv("BLOCKS_MODEL");
			int v[14], n, k;

			memset(v, 0, sizeof(v));
			for (n = 0; conf && *conf && n < 14; n++) {
				char *end;

				v[n] = strtol(conf, &end, 10);
				if (end == conf)
					break;
				conf = end;
			}
			if (n != 14) {
				printf("BLOCKS_MODEL: 14 numbers\n");
				exit(2);
			}
			now.wrong = v[0];
			now.conf_block[0] = v[1];
			now.conf_block[1] = v[2];
			now.limit = v[3];
			now.high = v[4];
			for (k = 0; k < 3; k++) {
				now.conf_op[k] = v[5 + 3 * k];
				now.conf_lo[k] = v[6 + 3 * k];
				now.conf_hi[k] = v[7 + 3 * k];
			}
		};
		do
		:: b < 2 ->
			f = 2 * b;
			data[f] = HOST;
			data[f + 1] = HOST;
			if
			:: !STARTS(S_BUDDY) && !STARTS(S_BUDDY_SPLIT) ->
				owner[f] = LIB;
				owner[f + 1] = LIB;
				present[f] = 0;
				present[f + 1] = 0;
				data[f] = ZERO;
				data[f + 1] = ZERO
			:: else
			fi;
			if
			:: STARTS(S_POOL) -> block[b] = POOL
			:: STARTS(S_BUDDY_SPLIT) -> split[b] = 1
			:: STARTS(S_WHOLE) || STARTS(S_WHOLE_SPLIT) || STARTS(S_MARKED) || STARTS(S_LEFT) ->
				large[b] = 1;
				priv[f] = 1;
				idx[f] = f;
				idx[f + 1] = f + 1;
				charged[f] = 1;
				charged[f + 1] = 1;
				data[f] = GUEST;
				data[f + 1] = GUEST;
				used = used + 2;
				split[b] = STARTS(S_WHOLE_SPLIT);
				if
				:: STARTS(S_LEFT) -> ref[f] = 1; block[b] = LEFT
				:: else ->
					ref[f] = 3;
					block[b] = IN_FILE;
					at[f] = f;
					at[f + 1] = f;
					map[f] = f;
					map[f + 1] = f + 1
				fi;
				if
				:: STARTS(S_MARKED) ->
					punched[f + 1] = 1;
					data[f + 1] = ZERO;
					map[f + 1] = NOTHING
				:: else
				fi
			:: STARTS(S_CUT) || STARTS(S_CUT_FULL) || STARTS(S_CUT_LEFT) || STARTS(S_CUT_GONE) ->
				block[b] = CUT;
				split[b] = 1;
				page[f] = IN_FILE;
				page[f + 1] = FREE;
				priv[f] = 1;
				idx[f] = f;
				charged[f] = 1;
				data[f] = GUEST;
				used++;
				if
				:: STARTS(S_CUT_LEFT) -> page[f] = LEFT; ref[f] = 1
				:: else -> ref[f] = 2; at[f] = f; map[f] = f
				fi;
				if
				:: STARTS(S_CUT_FULL) ->
					page[f + 1] = IN_FILE;
					priv[f + 1] = 1;
					idx[f + 1] = f + 1;
					charged[f + 1] = 1;
					data[f + 1] = GUEST;
					used++;
					ref[f + 1] = 2;
					at[f + 1] = f + 1;
					map[f + 1] = f + 1
				:: STARTS(S_CUT_GONE) ->
					page[f + 1] = 0;
					owner[f + 1] = BUDDY;
					present[f + 1] = 1;
					data[f + 1] = HOST
				:: else
				fi
			:: else
			fi;
			b++
		:: else -> break
		od;
		f = 0;
		b = 0;
		run actor(conf_op[0], conf_lo[0], conf_hi[0]);
		run actor(conf_op[1], conf_lo[1], conf_hi[1]);
		run actor(conf_op[2], conf_lo[2], conf_hi[2]);
		do
		:: b < 3 -> conf_op[b] = 0; conf_lo[b] = 0; conf_hi[b] = 0; b++
		:: else -> break
		od;
		conf_block[0] = 0;
		conf_block[1] = 0;
		b = 0
	}
	/* At the end of all everything is freed. */
	atomic {
		finished == 3;
		assert(!draining && !refilling && !inv[0] && !inv[1] && !chg[0] && !chg[1]);
		assert(users[0] == 0 && users[1] == 0 && inv_shared[0] == 0 && inv_shared[1] == 0);
		assert(!moving[0] && !moving[1] && !moving[2] && !moving[3]);
		may_fail = 0;
		run actor(CLOSE, 0, 0)
	}
	atomic { finished == 4; run actor(CLOSE, 2, 0) }
	atomic { finished == 5; run actor(SCRUB, 0, 0) }
	atomic { finished == 6; run actor(DRAIN, 0, 0) }
	atomic { finished == 7; run actor(SCRUB, 0, 0) }
	atomic {
		finished == 8;
		assert(used == 0);
		do
		:: f < FRAMES ->
			/* Free and clean; or poisoned, and out of use. */
			assert(owner[f] == BUDDY ||
			       (poison[f] && (owner[f] == AWAY || (owner[f] == LIB && page[f] == BAD))));
			assert(ref[f] == 0 && !locked[f] && dm[f] == 0 && at[f] == NOTHING && map[f] == NOTHING);
			assert(owner[f] != BUDDY || (present[f] && data[f] != GUEST));
			assert(!split[B(f)] || HAS_BAD(B(f)));
			assert(block[B(f)] == NONE || (block[B(f)] == CUT && HAS_BAD(B(f))));
			f++
		:: else -> break
		od
	}
}
