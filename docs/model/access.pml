/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Access levels of a guest_memfd: who may take, hide and free a page, and when.
 * README.md beside this file says what is modelled and how it is run.
 *
 * Up to three actors do one operation each on a file of two pages, and then the
 * file is closed.  Which operations, on which pages, from which levels, and which
 * step is done wrongly on purpose, is in the environment of the verifier: it is
 * built once for all configurations.
 *
 * An atomic step is one access to what others can see, or several of which at
 * most one is: the rest takes a lock (nothing that others do then matters before
 * the next step), releases one (others could have done all that they do next
 * later as well), or is under a lock that all who look take.
 */

#define PAGES	2	/* of the file */
#define FRAMES	3	/* of the machine */
#define NOTHING	3	/* in the place of a frame */

/* Operations. */
#define IDLE	0
#define UFAULT	1	/* a process touches its mapping */
#define UNMAP	2	/* a process unmaps it */
#define FAST	3	/* GUP-fast, I/O by the kernel, unpin */
#define SLOW	4	/* the same by GUP-slow */
#define GFAULT	5	/* the guest touches its memory */
#define ACCESS	6	/* KVM reads or writes at level NONE */
#define DMREF	7	/* get, use through the direct map, put */
#define SET	8	/* SET_ACCESS */
#define PUNCH	9	/* punch hole */
#define REAP	10	/* the worker that frees pages */
#define OTHER	11	/* another user of the allocator allocates and frees a page */
#define CLOSE	12	/* the mappings go, then the file */

/* Levels. */
#define NONE	0
#define USER	1
#define KERNEL	2

/* Owners of a frame: for assertions only. */
#define FREE	0
#define GUEST	1
#define ELSE	2

/* What to do wrongly; 0 is the protocol. */
#define W_PINNABLE_FIRST	1
#define W_CLEAR_HELD		2
#define W_CLEAR_UNFROZEN	3
#define W_FREEZE_MAPPED		4
#define W_HIDE_PINNABLE		5
#define W_NO_SECOND_UNMAP	6
#define W_LOOK_BEFORE_REF	7
#define W_NO_PTE_AGAIN		8
#define W_RESTORE_FIRST		9
#define W_FREE_HELD		10
#define W_FREE_UNFROZEN		11
#define W_FAULT_UNLOCKED	12
#define W_FAULT_LEVEL		13
#define W_POPULATE_LATE		14
#define W_PUT_HIDES		15
#define W_PUNCH_HELD		16
#define W_GUEST_LATE		17
#define W_RAISE_HALF		18
#define W_LOWER_HALF		19
#define W_TRUNCATE_MAPPED	20
#define W_ORPHAN_LOST		21
#define W_SLOW_UNLOCKED		22
#define W_LOOK_BEFORE_PTE	23
#define W_NO_LOOK		24
#define W_STORE_FIRST		25
#define W_UNFROZEN_AND_LOOK	26	/* W_CLEAR_UNFROZEN and W_LOOK_BEFORE_PTE */
#define W_POPULATE_PINNABLE	27
#define W_KEEP_POPULATED	28
#define W_COMMIT_UNLOCKED	29
#define WRONG(what)		(wrong == what)
#define UNFROZEN		(WRONG(W_CLEAR_UNFROZEN) || WRONG(W_UNFROZEN_AND_LOOK))
#define LOOK_BEFORE_PTE		(WRONG(W_LOOK_BEFORE_PTE) || WRONG(W_UNFROZEN_AND_LOOK))

byte wrong;
byte conf_op[3], conf_lo[3], conf_hi[3], conf_to[3];
/* 0: no page, 1: a page, 2: and mapped by a process. */
byte conf_state[PAGES];
/* What takes memory may fail, until the file is closed at the end. */
bit may_fail = 1;

/* The file. */
byte level[PAGES];
byte at[PAGES] = NOTHING;		/* the page cache */
byte pte[PAGES] = NOTHING;	/* the process' page table */
byte gpte[PAGES] = NOTHING;	/* the guest's */
bit open = 1;
byte users;		/* of the open file: operations under way */
bit ptl;		/* the page table lock */
bit inv;		/* the invalidate_lock is held exclusive */
byte inv_shared;
bit chg;		/* the change_lock: a change of level or a hole is under way */
bit moving[PAGES];	/* in transition to or from KERNEL */
bit raises;		/* to KERNEL */
byte invalidating;	/* guest mappings, and how often that was done */
byte invalidated;

/* The frames.  The word: */
bit ours[FRAMES];	/* it is of guest memory */
bit hid[FRAMES];		/* HIDDEN */
bit pinnable[FRAMES];
bit orphan[FRAMES];
byte count[FRAMES];
/* And the rest: */
byte ref[FRAMES];	/* 0: free, or frozen */
bit locked[FRAMES];	/* the folio lock */
bit listed[FRAMES];	/* waits to be freed */
bit present[FRAMES] = 1;	/* in the direct map */
/* For assertions only: */
byte owner[FRAMES];
bit dirty[FRAMES];	/* not zero */
bit at_level[FRAMES];	/* the count has level KERNEL's reference */
byte dmrefs[FRAMES];	/* uses through the direct map */
byte pins[FRAMES];
bit busy[PAGES];	/* in the range of a change or hole that has not returned */

byte finished;

#define IS_IN(map, f)	(map[0] == (f) || map[1] == (f))

/* All steps that end with one of these are atomic. */
inline put(f)
{
	assert(ref[f] > 0);
	ref[f]--;
	if
	:: ref[f] == 0 ->
		/* The page goes to the allocator. */
		assert(!ours[f] && present[f] && !dirty[f]);
		assert(pins[f] == 0 && dmrefs[f] == 0 && !locked[f] && !listed[f]);
		assert(!IS_IN(pte, f) && !IS_IN(gpte, f) && !IS_IN(at, f));
		owner[f] = FREE
	:: else
	fi
}

/* Zap one entry and flush it: the reference goes after the flush. */
inline zap(n)
{
	if
	:: pte[n] != NOTHING ->
		last = pte[n];
		pte[n] = NOTHING;
		put(last);
		last = 0
	:: else
	fi
}

inline set_word_fresh(f)
{
	ours[f] = 1;
	hid[f] = 1;
	pinnable[f] = 0;
	orphan[f] = 0;
	count[f] = 0
}

inline clear_word(f)
{
	ours[f] = 0;
	hid[f] = 0;
	pinnable[f] = 0;
	orphan[f] = 0;
	count[f] = 0;
	at_level[f] = 0
}

/* The second half of a get, after the entry is there. */
inline count_dmref(f)
{
	assert(wrong || (ours[f] && present[f] && !orphan[f]));
	hid[f] = 0;
	count[f]++;
	ref[f]++
}

/* The second half of a put, after the entry has gone if it has to. */
inline uncount_dmref(f)
{
	assert(ours[f] && count[f] > 0);
	count[f]--;
	hid[f] = count[f] == 0
}

/* References of a page in its file that has no holder. */
#define IN_FILE_REFS(f)	(2 + count[f])
/* And of one that has left it: the library's and the direct-map references'. */
#define ORPHAN_REFS(f)	(1 + count[f])

#define GUP_ALLOWED(f)	(!ours[f] || pinnable[f])

/* To lower a page at i, or to take it back before it leaves the file. */
#define TO_LOWER(i)	(op == SET -> level[i] > to : level[i] == KERNEL)

/* A page populated at i takes KERNEL's reference. */
#define CARRIES(i)	(level[i] == KERNEL || (moving[i] && raises))

proctype actor(byte op, lo, hi, to)
{
	byte f;		/* the frame in hand */
	byte i;		/* the index */
	byte last;	/* only within a step; or how far something came */
	byte seen;	/* an answer that may be old by now */

	i = lo;
	if
	:: op == UFAULT || op == GFAULT || op == ACCESS || op == DMREF -> goto find
	:: op == UNMAP -> goto unmap
	:: op == FAST -> goto fast
	:: op == SLOW -> goto slow
	:: op == SET || op == PUNCH -> goto exclusive
	:: op == REAP -> goto reap
	:: op == OTHER -> goto other
	:: op == CLOSE -> goto close
	:: op == IDLE -> goto out
	fi;

	/* A page to map or use: user fault, guest fault, KVM's access, get. */
find:
	if
	:: WRONG(W_FAULT_LEVEL) && op == UFAULT -> seen = level[i]
	:: else
	fi;
	atomic {
		if
		:: !open -> goto out
		:: open && !inv
		fi;
		users++;
		inv_shared++;
		if
		:: op == GFAULT -> seen = invalidated
		:: op == UFAULT && !WRONG(W_FAULT_LEVEL) -> seen = level[i]
		:: op == ACCESS -> seen = level[i]
		:: else
		fi;
		if
		:: op == UFAULT && seen == NONE -> goto no_page
		/* At the other levels it goes through the user mapping. */
		:: op == ACCESS && seen != NONE -> goto no_page
		:: else
		fi
	}
look_up:
	atomic {
		/* A page that is frozen is looked up again. */
		if
		:: at[i] == NOTHING
		:: at[i] != NOTHING && ref[at[i]] > 0 ->
			f = at[i];
			ref[f]++;
			goto lock_found
		fi
	}
	/*
	 * A new page: allocated, cleared, hidden.  Who still has its number from
	 * an earlier life sees that there is a reference, not more.
	 */
	atomic {
		if
		:: owner[0] == FREE && ref[0] == 0 -> f = 0
		:: owner[1] == FREE && ref[1] == 0 -> f = 1
		:: owner[2] == FREE && ref[2] == 0 -> f = 2
		:: else -> goto no_page
		fi;
		assert(present[f] && !dirty[f] && !ours[f]);
		owner[f] = GUEST;
		ref[f] = 1;
		present[f] = 0;
		set_word_fresh(f)
	}
	if
	:: CARRIES(i) && !WRONG(W_POPULATE_LATE) ->
		atomic {
			present[f] = 1;
			count_dmref(f);
			at_level[f] = 1
		}
		if
		:: !moving[i] || WRONG(W_POPULATE_PINNABLE) -> pinnable[f] = 1
		:: else
		fi
	:: else
	fi;
	atomic {
		if
		:: at[i] == NOTHING ->
			at[i] = f;
			ref[f]++;
			if
			:: level[i] == KERNEL && WRONG(W_POPULATE_LATE) -> goto late
			:: else -> goto look_up
			fi
		:: else
		fi
	}
	/* Another population was faster.  The page is as clean as it came. */
	atomic {
		last = ORPHAN_REFS(f);
		clear_word(f)
	}
	present[f] = 1;
	atomic {
		do
		:: last > 0 -> put(f); last--
		:: else -> break
		od;
		goto look_up
	}
late:
	atomic {
		!locked[f];
		present[f] = 1;
		count_dmref(f);
		at_level[f] = 1;
		pinnable[f] = 1;
		goto look_up
	}
no_page:
	atomic {
		inv_shared--;
		users--;
		goto out
	}

lock_found:
	atomic {
		!locked[f];
		locked[f] = 1;
		assert(at[i] == f);
		if
		:: op == UFAULT -> goto map
		:: op == GFAULT -> goto guest_map
		:: op == ACCESS -> goto kvm_access
		:: op == DMREF -> goto dmref
		fi
	}

map:
	inv_shared--;
	if
	:: WRONG(W_FAULT_UNLOCKED) -> locked[f] = 0
	:: else
	fi;
	atomic {
		!ptl;
		if
		:: pte[i] == NOTHING ->
			/* The entry takes the reference over; processes write. */
			pte[i] = f;
			dirty[f] = 1
		:: else -> put(f)
		fi;
		if
		:: !WRONG(W_FAULT_UNLOCKED) -> locked[f] = 0
		:: else
		fi;
		users--;
		goto out
	}

guest_map:
	atomic {
		locked[f] = 0;
		inv_shared--
	}
	atomic {
		/* Under KVM's MMU lock; if not now, the guest tries again. */
		if
		:: !invalidating && invalidated == seen && gpte[i] == NOTHING ->
			gpte[i] = f;
			dirty[f] = 1
		:: else
		fi;
		put(f);
		users--;
		goto out
	}

kvm_access:
	/* A reference is all that it holds while it uses its own mapping. */
	atomic {
		locked[f] = 0;
		inv_shared--;
		dirty[f] = 1
	}
	atomic {
		assert(owner[f] == GUEST && ours[f]);
		dirty[f] = 1;
		put(f);
		users--;
		goto out
	}

dmref:
	if
	:: hid[f] -> present[f] = 1
	:: else
	fi;
	atomic {
		count_dmref(f);
		dmrefs[f]++;
		dirty[f] = 1;
		put(f);	/* the one of the look-up */
		locked[f] = 0;
		inv_shared--;
		users--
	}
	/* Used here; then the put. */
	atomic {
		!locked[f];
		locked[f] = 1;
		dmrefs[f]--
	}
	if
	:: count[f] == 1 || WRONG(W_PUT_HIDES) -> present[f] = 0
	:: else
	fi;
	atomic {
		uncount_dmref(f);
		seen = hid[f] && orphan[f];
		locked[f] = 0
	}
	atomic {
		put(f);
		if
		:: seen && !WRONG(W_ORPHAN_LOST) -> listed[f] = 1; goto reap
		:: else -> goto out
		fi
	}

unmap:
	atomic {
		if
		:: pte[i] == NOTHING -> goto out
		:: pte[i] != NOTHING && !ptl -> f = pte[i]; pte[i] = NOTHING
		fi
	}
	/* After the flush. */
	atomic {
		put(f);
		goto out
	}

fast:
	f = pte[i];
	if
	:: f == NOTHING -> goto out
	:: else
	fi;
	if
	:: WRONG(W_LOOK_BEFORE_REF) ->
		if
		:: !GUP_ALLOWED(f) -> goto out
		:: else
		fi
	:: else
	fi;
	atomic {
		if
		:: ref[f] == 0 -> goto out
		:: else -> ref[f]++
		fi
	}
	/* The kernel's order is: the entry, then the word. */
	if
	:: LOOK_BEFORE_PTE ->
		if
		:: !GUP_ALLOWED(f) -> goto fast_failed
		:: else
		fi
	:: else
	fi;
	if
	:: pte[i] != f && !WRONG(W_NO_PTE_AGAIN) -> goto fast_failed
	:: else
	fi;
	atomic {
		if
		:: GUP_ALLOWED(f) || WRONG(W_LOOK_BEFORE_REF) || LOOK_BEFORE_PTE ||
		   WRONG(W_NO_LOOK) ->
			pins[f]++;
			dirty[f] = 1;
			goto pinned
		:: else
		fi
	}
fast_failed:
	atomic {
		put(f);
		goto out
	}

slow:
	atomic {
		!ptl;
		f = pte[i];
		if
		:: f == NOTHING -> goto out
		:: else
		fi;
		if
		:: !GUP_ALLOWED(f) -> goto out
		:: else
		fi;
		ptl = !WRONG(W_SLOW_UNLOCKED)
	}
	atomic {
		assert(ref[f] > 0);
		ref[f]++;
		pins[f]++;
		dirty[f] = 1;
		ptl = 0
	}
pinned:
	atomic {
		dirty[f] = 1;
		pins[f]--;
		put(f);
		goto out
	}

other:
	atomic {
		if
		:: owner[0] == FREE && ref[0] == 0 -> f = 0
		:: owner[1] == FREE && ref[1] == 0 -> f = 1
		:: owner[2] == FREE && ref[2] == 0 -> f = 2
		:: else -> goto out
		fi;
		assert(present[f] && !dirty[f] && !ours[f]);
		owner[f] = ELSE;
		dirty[f] = 1;
		ref[f] = 1
	}
	atomic {
		/* No actor has hidden or cleared it.  The allocator clears it for us. */
		assert(owner[f] == ELSE && present[f] && dirty[f] && !ours[f]);
		dirty[f] = 0;
		put(f);
		goto out
	}

	/* A change of level, or a hole: one at a time. */
exclusive:
	atomic {
		if
		:: !open -> goto out
		:: open && !chg
		fi;
		users++;
		chg = 1
	}
	atomic {
		!inv && inv_shared == 0;
		do
		:: i <= hi ->
			busy[i] = 1;
			if
			:: op == SET -> moving[i] = to == KERNEL || level[i] == KERNEL
			:: op == PUNCH && !WRONG(W_GUEST_LATE) -> gpte[i] = NOTHING
			:: else
			fi;
			i++
		:: else -> break
		od;
		i = lo;
		if
		/* A hole keeps the invalidate_lock. */
		:: op == PUNCH -> inv = 1; invalidating = !WRONG(W_GUEST_LATE)
		/* A change has begun: it needs it again to commit. */
		:: op == SET ->
			raises = to == KERNEL;
			if
			:: WRONG(W_STORE_FIRST) && to == KERNEL -> level[lo] = to; level[hi] = to
			:: else
			fi
		fi
	}
	if
	:: op == SET && to == KERNEL -> goto raise
	:: else -> goto lower
	fi;

raise:
	do
	:: i <= hi ->
		f = at[i];
		if
		:: f == NOTHING -> i++
		:: f != NOTHING && at_level[f] -> i++
		:: f != NOTHING && !at_level[f] ->
			atomic {
				!locked[f];
				locked[f] = 1
			}
			if
			:: WRONG(W_PINNABLE_FIRST) -> pinnable[f] = 1
			:: else
			fi;
			if
			:: hid[f] -> present[f] = 1
			/* The first of its block. */
			:: hid[f] && may_fail ->
				locked[f] = 0;
				goto raise_failed
			:: !hid[f]
			fi;
			atomic {
				count_dmref(f);
				at_level[f] = 1;
				locked[f] = 0;
				i++
			}
		fi
	:: else -> i = lo; goto commit
	od;
raise_failed:
	atomic {
		!inv && inv_shared == 0;
		moving[0] = 0;
		moving[1] = 0;
		i = lo;
		if
		:: WRONG(W_RAISE_HALF) -> goto done
		:: else -> goto drop
		fi
	}

lower:
	/* All user mappings first. */
	do
	:: i <= hi ->
		atomic {
			if
			:: TO_LOWER(i) && !WRONG(W_FREEZE_MAPPED) ->
				!ptl;
				zap(i)
			:: else
			fi;
			i++
		}
	:: else -> break
	od;
	i = lo;
lower_next:
	do
	:: i <= hi ->
		f = at[i];
		if
		/* At USER nothing else is to be done before the commit. */
		:: f == NOTHING || level[i] != KERNEL -> i++
		:: f != NOTHING && level[i] == KERNEL ->
			atomic {
				!locked[f];
				locked[f] = 1
			}
			/* Populated since the change began. */
			if
			:: !pinnable[f] ->
				locked[f] = 0;
				i++;
				goto lower_next
			:: else
			fi;
			/* A fault was under way: it had the folio lock until now. */
			atomic {
				if
				:: pte[i] != NOTHING && !WRONG(W_NO_SECOND_UNMAP) &&
				   !WRONG(W_FREEZE_MAPPED) ->
					!ptl;
					zap(i)
				:: else
				fi
			}
			if
			:: WRONG(W_HIDE_PINNABLE) ->
				if
				:: count[f] == 1 -> present[f] = 0
				:: else
				fi
			:: else
			fi;
			last = 0;
			atomic {
				if
				:: WRONG(W_CLEAR_HELD) || (op == PUNCH && WRONG(W_PUNCH_HELD))
				:: ref[f] == IN_FILE_REFS(f) && UNFROZEN
				:: WRONG(W_FREEZE_MAPPED) &&
				   ref[f] == IN_FILE_REFS(f) + (pte[i] == f) ->
					last = ref[f];
					ref[f] = 0
				:: ref[f] == IN_FILE_REFS(f) && !WRONG(W_CLEAR_HELD) &&
				   !UNFROZEN && !WRONG(W_FREEZE_MAPPED) ->
					assert(pins[f] == 0 && pte[i] == NOTHING);
					last = ref[f];
					ref[f] = 0
				:: else ->
					if
					:: WRONG(W_HIDE_PINNABLE) -> present[f] = 1
					:: else
					fi;
					locked[f] = 0;
					last = 0;
					if
					:: op == SET -> goto lower_failed
					:: op == PUNCH -> i++; goto lower_next
					fi
				fi
			}
			pinnable[f] = 0;
			atomic {
				if
				:: last > 0 ->
					assert(ref[f] == 0);
					ref[f] = last;
					last = 0
				:: else
				fi
			}
			if
			:: WRONG(W_FREEZE_MAPPED) -> atomic { !ptl; zap(i) }
			:: else
			fi;
			atomic { locked[f] = 0; i++ }
		fi
	:: else -> i = lo; break
	od;

	/* The level's reference of what is not PINNABLE any more, or not yet. */
drop:
	do
	:: i <= hi ->
		f = at[i];
		if
		:: f == NOTHING -> i++; goto drop
		:: f != NOTHING && (pinnable[f] || !at_level[f]) -> i++; goto drop
		/* Undoing a raise: what was at KERNEL before stays. */
		:: f != NOTHING && op == SET && to == KERNEL && level[i] == KERNEL -> i++; goto drop
		:: else
		fi;
		atomic {
			!locked[f];
			locked[f] = 1
		}
		if
		:: count[f] == 1 -> present[f] = 0
		/* Only of a block that came to KERNEL as a whole. */
		:: count[f] == 1 && may_fail && !(op == SET && to == KERNEL) ->
			locked[f] = 0;
			i = lo;
			if
			:: op == SET -> goto lower_failed
			:: op == PUNCH -> goto pin_again
			fi
		:: count[f] != 1
		fi;
		atomic {
			uncount_dmref(f);
			at_level[f] = 0;
			locked[f] = 0
		}
		atomic {
			put(f);
			i++
		}
	:: else -> i = lo; break
	od;
	if
	:: op == PUNCH -> goto truncate
	:: op == SET && to == KERNEL -> goto pin_again
	:: else -> goto commit
	fi;

	/* Take the references that were dropped, which cannot fail. */
lower_failed:
	atomic {
		!inv && inv_shared == 0;
		moving[0] = 0;
		moving[1] = 0;
		i = lo;
		if
		:: WRONG(W_LOWER_HALF) -> goto done
		:: else
		fi
	}
lower_undo:
	do
	:: i <= hi ->
		f = at[i];
		if
		:: f == NOTHING -> i++; goto lower_undo
		:: f != NOTHING && (level[i] != KERNEL || at_level[f]) -> i++; goto lower_undo
		:: else
		fi;
		atomic {
			!locked[f];
			locked[f] = 1
		}
		if
		:: hid[f] -> present[f] = 1
		:: else
		fi;
		atomic {
			count_dmref(f);
			at_level[f] = 1;
			locked[f] = 0;
			i++
		}
	:: else -> i = lo; break
	od;
	/* All that carry KERNEL's reference are PINNABLE, or are again. */
pin_again:
	do
	:: i <= hi ->
		f = at[i];
		if
		:: f != NOTHING && level[i] == KERNEL && at_level[f] && !pinnable[f] ->
			atomic {
				!locked[f];
				pinnable[f] = 1;
				i++
			}
		:: else -> i++
		fi
	:: else -> i = lo; break
	od;
	if
	:: op == PUNCH -> goto truncate
	:: else -> goto done
	fi;

commit:
	atomic {
		WRONG(W_COMMIT_UNLOCKED) || (!inv && inv_shared == 0);
		level[lo] = to;
		level[hi] = to;
		moving[0] = 0;
		moving[1] = 0;
		if
		:: to == KERNEL -> goto pin_again
		:: else
		fi
	}
	/* What faults and population did while the range had its old level. */
finish:
	do
	:: i <= hi ->
		f = at[i];
		if
		:: f == NOTHING -> i++; goto finish
		:: else
		fi;
		/* The lock first: a fault sets its entry before it unlocks. */
		seen = locked[f];
		if
		:: !seen -> seen = pte[i] != NOTHING
		:: else
		fi;
		if
		:: seen && to == NONE && !WRONG(W_NO_SECOND_UNMAP) ->
			atomic {
				!locked[f];
				locked[f] = 1
			}
			atomic {
				!ptl;
				zap(i);
				locked[f] = 0
			}
		:: else
		fi;
		if
		:: at_level[f] && !pinnable[f] && !WRONG(W_KEEP_POPULATED) ->
			atomic {
				!locked[f];
				locked[f] = 1
			}
			if
			:: count[f] == 1 -> present[f] = 0
			:: else
			fi;
			atomic {
				uncount_dmref(f);
				at_level[f] = 0;
				locked[f] = 0
			}
			atomic {
				put(f)
			}
		:: else
		fi;
		i++
	:: else -> break
	od;
done:
	atomic {
		chg = 0;
		busy[lo] = 0;
		busy[hi] = 0;
		users--;
		goto out
	}

close:
	open = 0;
	atomic { !ptl; zap(0) }
	atomic { !ptl; zap(1) }
	atomic {
		users == 0;
		gpte[0] = NOTHING;
		gpte[1] = NOTHING
	}

truncate:
	i = lo;
	do
	:: i <= hi ->
		f = at[i];
		if
		:: f == NOTHING -> i++
		:: f != NOTHING ->
			atomic {
				!locked[f];
				locked[f] = 1;
				ref[f]++
			}
			atomic {
				if
				:: !WRONG(W_TRUNCATE_MAPPED) ->
					!ptl;
					zap(i)
				:: else
				fi
			}
			atomic {
				at[i] = NOTHING;
				orphan[f] = 1;
				listed[f] = hid[f] || pinnable[f];
				put(f)	/* the page cache's */
			}
			atomic {
				locked[f] = 0;
				put(f);
				i++
			}
		fi
	:: else -> break
	od;
	if
	:: op == CLOSE -> goto reap
	:: else
	fi;
	atomic {
		if
		:: WRONG(W_GUEST_LATE) ->
			i = lo;
			do
			:: i <= hi -> gpte[i] = NOTHING; i++
			:: else -> break
			od
		:: else -> invalidating--
		fi;
		invalidated++;
		inv = 0;
		chg = 0;
		busy[lo] = 0;
		busy[hi] = 0;
		users--
	}

	/* Free what has left the file and has no holder. */
reap:
	f = 0;
reap_next:
	do
	:: f < FRAMES ->
		atomic {
			if
			:: !listed[f] -> f++; goto reap_next
			/* Off the list: no other actor tries at the same time. */
			:: else -> listed[f] = 0
			fi
		}
		if
		:: !pinnable[f] -> goto free_page
		:: else
		fi;
		atomic {
			!locked[f];
			locked[f] = 1
		}
		last = 0;
		atomic {
			if
			:: WRONG(W_FREE_HELD)
			:: ref[f] == ORPHAN_REFS(f) && WRONG(W_FREE_UNFROZEN)
			:: ref[f] == ORPHAN_REFS(f) && !WRONG(W_FREE_HELD) &&
			   !WRONG(W_FREE_UNFROZEN) ->
				assert(pins[f] == 0);
				last = ref[f];
				ref[f] = 0
			:: else ->
				locked[f] = 0;
				listed[f] = 1;
				f++;
				goto reap_next
			fi
		}
		pinnable[f] = 0;
		atomic {
			if
			:: last > 0 ->
				assert(ref[f] == 0);
				ref[f] = last;
				last = 0
			:: else
			fi
		}
		if
		:: count[f] == 1 -> present[f] = 0
		:: count[f] == 1 && may_fail ->
			pinnable[f] = 1;
			atomic {
				locked[f] = 0;
				listed[f] = 1;
				f++;
				goto reap_next
			}
		:: count[f] != 1
		fi;
		atomic {
			uncount_dmref(f);
			at_level[f] = 0;
			seen = hid[f];
			locked[f] = 0
		}
		atomic {
			put(f);
			if
			/* The last put frees it. */
			:: !seen -> f++; goto reap_next
			:: else
			fi
		}
free_page:
		atomic {
			if
			:: WRONG(W_FREE_HELD)
			:: ref[f] == 1 && WRONG(W_FREE_UNFROZEN)
			:: ref[f] == 1 && !WRONG(W_FREE_HELD) && !WRONG(W_FREE_UNFROZEN) ->
				ref[f] = 0
			:: else ->
				listed[f] = 1;
				f++;
				goto reap_next
			fi
		}
		assert(orphan[f] && hid[f] && !present[f] && !IS_IN(at, f));
		if
		:: WRONG(W_RESTORE_FIRST) -> present[f] = 1
		:: else
		fi;
		atomic {
			assert(owner[f] == GUEST && pins[f] == 0 && dmrefs[f] == 0);
			dirty[f] = 0;
			if
			:: ref[f] == 0 -> ref[f] = 1
			:: else
			fi
		}
		clear_word(f);
		present[f] = 1;
		atomic {
			put(f);
			f++
		}
	:: else -> break
	od;

out:
	atomic {
		f = 0;
		i = 0;
		last = 0;
		seen = 0;
		finished++
	}
}

/*
 * Invariants.  Each is looked at in every state, and these steps can be taken
 * only where one is broken.
 */
#define ALL(what)	(what(0) && what(1) && what(2))
#define BOTH(what)	(what(0) && what(1))
/* How the state is kept.  Where a step is wrong it is the harm that is looked for. */
#define KEPT(what)	(wrong || (what))

/* HIDDEN if and only if the count is 0; no entry then, and else there is one. */
#define HIDDEN_RIGHT(f)	(!ours[f] || (hid[f] == (count[f] == 0) && \
			 (locked[f] || hid[f] == !present[f])))
/* PINNABLE only with the level's reference. */
#define PIN_SHARED(f)	(!pinnable[f] || (ours[f] && !hid[f] && count[f] > 0 && at_level[f] && present[f]))
/* The count is the direct-map references, and the level. */
#define COUNT_RIGHT(f)	(!ours[f] || locked[f] || count[f] == dmrefs[f] + at_level[f])
/* PINNABLE if and only if the level is KERNEL, unless it is just being changed. */
#define LEVEL_RIGHT(i)	(inv || busy[i] || at[i] == NOTHING || \
			 ((level[i] == KERNEL) == pinnable[at[i]] && \
			  (level[i] == KERNEL) == at_level[at[i]]))

/* Who uses a page through the direct map finds it there. */
#define USE_PRESENT(f)	((pins[f] == 0 && dmrefs[f] == 0) || (owner[f] == GUEST && ours[f] && present[f]))
/* Contents can be read through the direct map only by right. */
#define ONLY_BY_RIGHT(f) (owner[f] != GUEST || !dirty[f] || !present[f] || locked[f] || \
			 dmrefs[f] > 0 || (at_level[f] && AT_RIGHT(f, 0) && AT_RIGHT(f, 1)))
/* One that level KERNEL has, or had when the page left the file. */
#define AT_RIGHT(f, i)	(at[i] != f || level[i] == KERNEL || busy[i])
/* A process has what its level promises: no mapping, or one that can be pinned. */
#define PTE_RIGHT(i)	(inv || busy[i] || pte[i] == NOTHING || \
			 (level[i] != NONE && (level[i] == KERNEL) == pinnable[pte[i]]))
/* Only what is in the file is mapped, by processes and guests. */
#define MAP_IN_FILE(i)	((pte[i] == NOTHING || pte[i] == at[i]) && (gpte[i] == NOTHING || gpte[i] == at[i]))

active proctype invariants()
{
end:
	do
	:: atomic { !KEPT(ALL(HIDDEN_RIGHT)) -> assert(KEPT(ALL(HIDDEN_RIGHT))) }
	:: atomic { !KEPT(ALL(PIN_SHARED)) -> assert(KEPT(ALL(PIN_SHARED))) }
	:: atomic { !KEPT(ALL(COUNT_RIGHT)) -> assert(KEPT(ALL(COUNT_RIGHT))) }
	:: atomic { !KEPT(BOTH(LEVEL_RIGHT)) -> assert(KEPT(BOTH(LEVEL_RIGHT))) }
	:: atomic { !ALL(USE_PRESENT) -> assert(ALL(USE_PRESENT)) }
	:: atomic { !ALL(ONLY_BY_RIGHT) -> assert(ALL(ONLY_BY_RIGHT)) }
	:: atomic { !BOTH(PTE_RIGHT) -> assert(BOTH(PTE_RIGHT)) }
	:: atomic { !BOTH(MAP_IN_FILE) -> assert(BOTH(MAP_IN_FILE)) }
	od
}

c_decl {
	\#include <stdlib.h>
	\#include <string.h>
};

init {
	byte i;

	atomic {
		/* WRONG, LEVEL STATE of each page, OP LO HI TO of each actor. */
		c_code {
			const char *conf = getenv("ACCESS_MODEL");
			int v[17], n, k;

			memset(v, 0, sizeof(v));
			for (n = 0; conf && *conf && n < 17; n++) {
				char *end;

				v[n] = strtol(conf, &end, 10);
				if (end == conf)
					break;
				conf = end;
			}
			if (n != 17) {
				printf("ACCESS_MODEL: 17 numbers\n");
				exit(2);
			}
			now.wrong = v[0];
			for (k = 0; k < 2; k++) {
				now.level[k] = v[1 + 2 * k];
				now.conf_state[k] = v[2 + 2 * k];
			}
			for (k = 0; k < 3; k++) {
				now.conf_op[k] = v[5 + 4 * k];
				now.conf_lo[k] = v[6 + 4 * k];
				now.conf_hi[k] = v[7 + 4 * k];
				now.conf_to[k] = v[8 + 4 * k];
			}
		};
		do
		:: i < PAGES ->
			if
			:: conf_state[i] > 0 ->
				owner[i] = GUEST;
				set_word_fresh(i);
				at[i] = i;
				gpte[i] = i;
				dirty[i] = 1;
				present[i] = 0;
				ref[i] = 2;
				if
				:: level[i] == KERNEL ->
					present[i] = 1;
					count_dmref(i);
					at_level[i] = 1;
					pinnable[i] = 1
				:: else
				fi;
				if
				:: conf_state[i] == 2 -> pte[i] = i; ref[i]++
				:: else
				fi
			:: else
			fi;
			conf_state[i] = 0;
			i++
		:: else -> break
		od;
		run actor(conf_op[0], conf_lo[0], conf_hi[0], conf_to[0]);
		run actor(conf_op[1], conf_lo[1], conf_hi[1], conf_to[1]);
		run actor(conf_op[2], conf_lo[2], conf_hi[2], conf_to[2]);
		i = 0;
		do
		:: i < 3 -> conf_op[i] = 0; conf_lo[i] = 0; conf_hi[i] = 0; conf_to[i] = 0; i++
		:: else -> break
		od;
		i = 0
	}
	/* At the end of all everything is freed. */
	atomic {
		finished == 3;
		may_fail = 0;
		if
		:: open -> run actor(CLOSE, 0, PAGES - 1, 0)
		:: else -> run actor(REAP, 0, 0, 0)
		fi
	}
	atomic {
		finished == 4;
		assert(!inv && !chg && inv_shared == 0 && users == 0 && !ptl && !invalidating);
		do
		:: i < FRAMES ->
			assert(owner[i] == FREE && ref[i] == 0 && present[i] && !dirty[i]);
			assert(!ours[i] && !listed[i] && !locked[i]);
			i++
		:: else -> break
		od
	}
}
