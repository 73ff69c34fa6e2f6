/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Splits and merges of one block of the arm64 linear map (kernel/arch/arm64/mm/direct_map.c).
 *
 * The block has two pages. One entry maps it, or a table of two entries, which form a
 * group while both have the contiguous bit. For each page one process hides and restores
 * it, and changes no other entry. A third process merges the block, a fourth reads
 * entries without a lock, and a fifth caches the table as the table walker of a CPU
 * does. Each memory access that the kernel makes as one is one step of the model.
 *
 * WRONG=n removes one of the steps that the locking needs; an assertion must then fail.
 */

#ifndef WRONG
#define WRONG 0
#endif
#define W_CHANGE_UNLOCKED	1	/* a change of entries does not take the spinlock */
#define W_LOOK_ONCE		2	/* a change does not check the size again with the spinlock held */
#define W_MERGE_UNMUTEXED	3	/* a merge does not take the mutex */
#define W_FREE_AT_ONCE		4	/* a merge frees the table without a grace period */
#define W_NO_FLUSH		5	/* a merge frees the table without a TLB flush */
#define W_MERGE_UNLIKE		6	/* a merge checks only one of the entries */
#define W_SPLIT_UNLOCKED	7	/* a split clears contiguous bits without the spinlock */

#define is(w)	(WRONG == w)

#define ROUNDS	2
#define TABLES	3
#define NONE	255

/* The entry of the block: a leaf, or the number of its table. */
bool leaf = true;
byte table;

/* A table: its entries' valid and contiguous bits, and whether its page is free. */
typedef entries { bit valid[2]; bit cont[2]; bit freed; bit used; };
entries t[TABLES];

/* What the process of each page has done last: is the page present? */
bit present[2] = 1;

bit mutex, spin;
byte readers;		/* processes in an RCU read-side critical section */
byte walker = NONE;	/* the table in the walk cache of a CPU */

inline lock(l)		{ atomic { !l; l = 1 } }
inline unlock(l)	{ l = 0 }

/* No entry may be written while the other one still has the contiguous bit. */
inline write_entry(n, p, v)
{
	d_step {
		assert(!t[n].freed);
		assert(!leaf && table == n);
		assert(!t[n].cont[p] && !t[n].cont[1 - p]);
		t[n].valid[p] = v;
	}
}

/* split_kernel_leaf_mapping(): under the mutex, block to group, group to pages. */
inline split(p)
{
	lock(mutex);
	if
	:: leaf ->
		/* The table is made, then the entry points to it. */
		d_step {
			n = 0;
			do
			:: n < TABLES && t[n].used && !t[n].freed -> n++
			:: else -> break
			od;
			assert(n < TABLES);
			t[n].used = 1; t[n].freed = 0;
			t[n].valid[0] = 1; t[n].valid[1] = 1;
			t[n].cont[0] = 1; t[n].cont[1] = 1;
		}
		d_step { leaf = false; table = n }
	:: else
	fi;
	n = table;
	if
	:: t[n].cont[p] ->
		assert(!t[n].freed);
		if
		:: !is(W_SPLIT_UNLOCKED) -> lock(spin)
		:: else
		fi;
		t[n].cont[0] = 0;
		t[n].cont[1] = 0;
		if
		:: !is(W_SPLIT_UNLOCKED) -> unlock(spin)
		:: else
		fi
	:: else
	fi;
	unlock(mutex)
}

inline spans(p)	{ wide = (leaf || t[table].cont[p]) }

/* direct_map_begin_change(), the write, direct_map_end_change(). */
inline change(p, v)
{
	if
	:: !is(W_CHANGE_UNLOCKED) -> lock(spin)
	:: else
	fi;
	do
	:: true ->
		d_step { spans(p) }
		if
		:: !wide || (is(W_LOOK_ONCE) && looked) -> break
		:: else
		fi;
		if
		:: !is(W_CHANGE_UNLOCKED) -> unlock(spin)
		:: else
		fi;
		split(p);
		looked = true;
		if
		:: !is(W_CHANGE_UNLOCKED) -> lock(spin)
		:: else
		fi
	od;
	looked = false;
	n = table;
	write_entry(n, p, v);
	present[p] = v;
	if
	:: !is(W_CHANGE_UNLOCKED) -> unlock(spin)
	:: else
	fi
}

/* The page table agrees with the last change of the page. */
inline check(p)
{
	d_step {
		assert(leaf || !t[table].freed);
		assert(present[p] == (leaf || t[table].valid[p]));
	}
}

proctype owner(byte p)
{
	byte i, n;
	bool wide, looked;

	for (i : 1 .. ROUNDS) {
		change(p, 0);
		check(p);
		change(p, 1);
		check(p)
	}
}

/* set_direct_map_merge() */
proctype merger()
{
	byte i, n, old;
	bool alike;

	for (i : 1 .. ROUNDS) {
		old = NONE;
		if
		:: !is(W_MERGE_UNMUTEXED) -> lock(mutex)
		:: else
		fi;
		lock(spin);
		if
		:: !leaf ->
			n = table;
			alike = t[n].valid[0];
			alike = alike && (t[n].valid[1] || is(W_MERGE_UNLIKE));
			if
			/* Replace the table, or only set the contiguous bits while a file is in use. */
			:: alike -> leaf = true; old = n
			:: alike && !t[n].cont[0] ->
				t[n].cont[0] = 1;
				t[n].cont[1] = 1
			:: else
			fi
		:: else
		fi;
		unlock(spin);
		if
		:: old != NONE && !is(W_NO_FLUSH) -> walker = NONE
		:: else
		fi;
		if
		:: !is(W_MERGE_UNMUTEXED) -> unlock(mutex)
		:: else
		fi;
		if
		:: old != NONE ->
			/* The grace period: new readers cannot find the table. */
			if
			:: !is(W_FREE_AT_ONCE) -> readers == 0
			:: else
			fi;
			d_step { t[old].freed = 1; assert(walker != old) }
		:: else
		fi
	}
}

/* kernel_page_present() */
proctype reader()
{
	byte i, n;

	for (i : 1 .. ROUNDS) {
		readers++;
		if
		:: !leaf ->
			n = table;
			assert(!t[n].freed);
			n = t[n].valid[0]
		:: else
		fi;
		readers--
	}
}

/* The table walker of a CPU, which can cache the table at any time. */
proctype cpu()
{
	byte i;

	for (i : 1 .. ROUNDS) {
		d_step {
			if
			:: !leaf -> walker = table
			:: else
			fi
		}
	}
}

init {
	atomic {
		run owner(0);
		run owner(1);
		run merger();
		run reader();
		run cpu()
	}
	_nr_pr == 1;
	assert(leaf || !t[table].freed);
	assert(present[0] && present[1])
}
