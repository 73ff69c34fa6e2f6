/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The states of a page of a protected VM (pKVM) on hidden memory.
 *
 * The code is in mm/guest_memfd/donate.c and access.c, and in KVM.  README.md beside this
 * file says what is modelled, and which order of steps holds.
 *
 * A file has two pages, each with a frame of its own; both can be one folio.  Two
 * vCPUs run up to three operations each, and up to three actors of the host one
 * operation each.  Then the VM is torn down and the file closed.  With hostile=1 no KVM
 * exists: an attacker in the host calls EL2 in any order, and only what EL2
 * promises to the guest is checked.
 *
 * The environment of the verifier holds the configuration and the step that is done
 * wrongly on purpose.  EL2 makes each hypercall under its own locks, so a hypercall
 * is one atomic step.  Clearing an entry and flushing it is one step too.
 */

#define PAGES	2
#define FRAMES	3	/* the third is not of the file; only an attacker uses it */
#define NOTHING	3	/* no frame */
#define POISON	4	/* EL2 took the page away by force */

/* Levels, in the order of what the host may do. */
#define NONE	0
#define USER	1
#define KERNEL	2

/* What the library's state of a page says. */
#define HOST	0
#define DONATED	1
#define SHARED	2

/* What EL2 knows of a frame. */
#define E_HOST		0
#define E_GUEST		1	/* the host's stage 2 has no entry */
#define E_SHARED	2

/* Operations of a vCPU. */
#define IDLE	0
#define TOUCH	1
#define SHARE	2
#define UNSHARE	3

/* Operations of the host. */
#define SET	1	/* SET_ACCESS */
#define HOLE	2
#define PROC	3	/* a process maps, touches, pins, unpins, unmaps */
#define ACCESS	4	/* KVM's own access by a temporary mapping */
#define DMREF	5	/* a direct-map reference: get, use, put */
#define REF	6	/* a lookup takes a reference and drops it, without the lock */
#define CLOSE	7
#define TEAR	8	/* kill the VM, tear it down */
#define POISONED 9	/* memory_failure() */
#define ATTACK	10

/* What to do wrongly; 0 is the protocol. */
#define W_DONATE_RAISED		1
#define W_DONATE_MOVING		2
#define W_DONATE_BLIND		3
#define W_DONATE_DMREF		4
#define W_DONATE_NO_INV		5
#define W_DONATE_REF_LATE	6
#define W_DONATE_NO_UNDO	7
#define W_DONATE_LEVEL_EARLY	8
#define W_DONATE_HOLE		9
#define W_DONATE_NO_FREEZE	10
#define W_DONATE_SET_LATE	11
#define W_DONATE_NO_UNMAP	12
#define W_DONATE_UNDO_LATE	13
#define W_ACCESS_BLIND		14
#define W_ACCESS_EARLY		15
#define W_DMREF_BLIND		16
#define W_SHARE_EARLY		17
#define W_SHARE_ANYWAY		18
#define W_SHARE_LEFT		19
#define W_SHARE_WHOLE		20
#define W_SHARE_NO_INV		21
#define W_SHARE_DROP_INV	22
#define W_SHARE_NO_MOVING	23
#define W_NO_CHANGE_LOCK	24
#define W_UNSHARE_NO_INV	25
#define W_UNSHARE_ZAP_ONCE	26
#define W_UNSHARE_HELD		27
#define W_UNSHARE_DMREFS	28
#define W_UNSHARE_FIRST		29
#define W_UNSHARE_NO_UNDO	30
#define W_UNSHARE_NOT_RAISED	31
#define W_UNSHARE_LEFT		32
#define W_UNSHARE_SET_LATE	33
#define W_UNSHARE_LEVEL_LATE	34
#define W_UNSHARE_DROP_INV	35
#define W_UNSHARE_NO_MOVING	36
#define W_SPLIT_REF		37
#define W_SPLIT_STATE		38
#define W_SPLIT_BLIND		39
#define W_SPLIT_UNLOCKED	40
#define W_SPLIT_WORD_LATE	41
#define W_RAISE_BLIND		42
#define W_RAISE_EARLY		43
#define W_LOWER_BLIND		44
#define W_HOLE_BLIND		45
#define W_HOLE_COUNT_LATE	46
#define W_CLOSE_DROPS		47
#define W_CLOSE_BLIND		48
#define W_TEAR_STATE_FIRST	49
#define W_TEAR_REF_FIRST	50
#define W_TEAR_FREES_FAILED	51
#define W_TEAR_POISONED		52
#define W_TEAR_UNLOCKED		53
#define W_TEAR_RUNNING		54
#define W_EL2_NO_REQUEST	55
#define W_EL2_OTHER_PAGE	56
#define W_EL2_OTHER_VCPU	57
#define W_EL2_TWICE		58
#define W_EL2_KEEP		59
#define W_EL2_EARLY		60
#define W_EL2_RUN_DYING		61
#define W_EL2_COMMIT_DYING	62
#define W_EL2_RECLAIM_LIVE	63
#define W_EL2_FORGET_POISON	64
#define W_EL2_REPLACE		65
#define W_EL2_UNCLEARED		66
#define WRONG(what)		(wrong == what)
#define LEFT	(op == SHARE -> WRONG(W_SHARE_LEFT) : WRONG(W_UNSHARE_LEFT))

/* What a fault found, or what it has to do. */
#define RETRY	1
#define FRESH	2
#define EXISTS	3
#define UNDO	4

byte wrong;
bit hostile;
byte conf_op[6], conf_page[6], host_op[3], host_lo[3], host_hi[3], host_to[3];
byte conf_state[PAGES];
bit may_fail = 1;	/* EL2 can lack memory, and reclaim can fail */

/* The file. */
byte level[PAGES];
#define TO_KERNEL	2
byte moving[PAGES];	/* a change of level is under way, and published */
bit in_file[PAGES];
bit upte[PAGES];	/* a process has it mapped */
bit open = 1;
byte users;		/* of the open file */
bit inv;		/* the invalidate_lock is held exclusive */
byte inv_shared;
bit chg;		/* the change_lock */
byte holes;		/* that are being punched */

/* The frames. */
byte folio[PAGES];	/* the folio of a page: 0 for both when it is whole */
byte ref[PAGES];	/* of a folio; 0: frozen, or free */
bit locked[PAGES];	/* the folio lock */
byte state[PAGES];	/* HOST, DONATED, SHARED */
bit blank;		/* the second page of a split folio has no state yet */
bit pinnable[PAGES];
byte count[PAGES];	/* direct-map references, level KERNEL's included */
bit present[PAGES] = 1;	/* in the direct map */
bit charged[PAGES];
bit dirty[PAGES];	/* not scrubbed */
bit poisoned[PAGES];
/* For assertions only: */
byte pins[PAGES];
byte dmrefs[PAGES];
byte others[PAGES];	/* of a folio: references that a change waits for */
bit returned[PAGES];	/* EL2 has returned it, and its state is not HOST yet */
bit gone[PAGES];	/* EL2 never will */

/* EL2. */
byte el2[FRAMES];
byte s2[PAGES] = NOTHING;	/* the guest's stage 2 */
byte req[2], req_page[2];	/* what each vCPU asked for */
bit done[2];		/* and whether it was committed */
bit running[2];		/* the vCPU is in the guest */
bit dying;

/* The guest. */
bit believes[PAGES];	/* that the page is shared */
byte guest_lock[PAGES];	/* 1: a call is under way; 2: it never returned */
bit wrote[PAGES];	/* it has written what only it may read and write */
byte holds[FRAMES];	/* 1 + the page whose contents the frame has; 0: other contents */
bit secret[FRAMES];

bit kill;
byte vcpus = 2;
bit torn, closing;
byte finished;

#define IS_FRAME(f)	((f) < FRAMES)
#define HELD(p)		(state[p] != HOST)	/* it has the donation's reference */
#define CARRIES(p)	(count[p] > dmrefs[p])	/* level KERNEL's reference */
#define RAISES_DONATED	(to != NONE && !WRONG(W_RAISE_BLIND) && \
	((in_file[lo] && state[lo] == DONATED) || (in_file[hi] && state[hi] == DONATED)))
#define WHOLE		(folio[1] == 0)
#define LAST(f)		((f) == 0 && WHOLE -> 1 : (f))
/* The file's own references to a folio. */
#define PLAIN_REFS(f)	((f) == 0 && WHOLE -> 2 : 1)
#define DONATIONS(f)	((f) == 0 && WHOLE -> HELD(0) + HELD(1) : HELD(f))
#define DMREFS(f)	((f) == 0 && WHOLE -> dmrefs[0] + dmrefs[1] : dmrefs[f])
#define EXPECTED(f)	(PLAIN_REFS(f) + DONATIONS(f) + DMREFS(f))

/* EL2's hypercalls: the caller is in an atomic step, and finds the answer in ok. */

inline take_from_guest(fr)
{
	/* EL2 zeroes it. */
	if
	:: WRONG(W_EL2_UNCLEARED)
	:: else -> secret[fr] = 0; holds[fr] = 0
	fi;
	el2[fr] = E_HOST
}

inline el2_donate(fr, pg)
{
	ok = 0;
	if
	:: dying && !WRONG(W_EL2_RUN_DYING)
	:: el2[fr] != E_HOST
	:: s2[pg] != NOTHING && !WRONG(W_EL2_REPLACE)
	:: el2[fr] == E_HOST && (s2[pg] == NOTHING || WRONG(W_EL2_REPLACE)) &&
	   (!dying || WRONG(W_EL2_RUN_DYING)) ->
		ok = 1;
		el2[fr] = E_GUEST;
		s2[pg] = fr;
		holds[fr] = 0
	:: may_fail
	fi
}

#define ASKED(v, what, g) \
	(WRONG(W_EL2_NO_REQUEST) || \
	 ((req[v] == what || (WRONG(W_EL2_OTHER_VCPU) && req[1 - v] == what)) && \
	  (req_page[v] == (g) || WRONG(W_EL2_OTHER_PAGE) || \
	   (WRONG(W_EL2_OTHER_VCPU) && req_page[1 - v] == (g)))))

/* MEM_SHARE or MEM_UNSHARE of page g, which vCPU v asked for. */
inline el2_commit(cpu, what, pg)
{
	ok = 0;
	if
	:: (dying && !WRONG(W_EL2_COMMIT_DYING)) || running[cpu] || !ASKED(cpu, what, pg) || !IS_FRAME(s2[pg]) ||
	   el2[s2[pg]] != (what == SHARE -> E_GUEST : E_SHARED)
	:: (!dying || WRONG(W_EL2_COMMIT_DYING)) && !running[cpu] && ASKED(cpu, what, pg) && IS_FRAME(s2[pg]) &&
	   el2[s2[pg]] == (what == SHARE -> E_GUEST : E_SHARED) ->
		ok = 1;
		el2[s2[pg]] = (what == SHARE -> E_SHARED : E_GUEST);
		done[cpu] = 1;
		if
		:: WRONG(W_EL2_TWICE)
		:: else -> req[cpu] = 0; req_page[cpu] = 0
		fi
	:: may_fail
	fi
}

inline el2_reclaim(pg)
{
	ok = 0;
	if
	:: !dying && !WRONG(W_EL2_RECLAIM_LIVE)
	:: !IS_FRAME(s2[pg])
	:: (dying || WRONG(W_EL2_RECLAIM_LIVE)) && IS_FRAME(s2[pg]) ->
		ok = 1;
		if
		:: el2[s2[pg]] == E_GUEST -> take_from_guest(s2[pg])
		:: else -> el2[s2[pg]] = E_HOST
		fi;
		s2[pg] = NOTHING
	:: may_fail
	fi
}

/* The host reads or writes a frame. EL2 answers a stage-2 abort by force. */
inline host_touches(fr)
{
	assert(hostile || el2[fr] != E_GUEST);
	if
	:: el2[fr] == E_GUEST ->
		take_from_guest(fr);
		if
		:: WRONG(W_EL2_FORGET_POISON) && s2[0] == fr -> s2[0] = NOTHING
		:: WRONG(W_EL2_FORGET_POISON) && s2[1] == fr -> s2[1] = NOTHING
		:: !WRONG(W_EL2_FORGET_POISON) && s2[0] == fr -> s2[0] = POISON
		:: !WRONG(W_EL2_FORGET_POISON) && s2[1] == fr -> s2[1] = POISON
		:: else
		fi
	:: else -> holds[fr] = 0
	fi
}

/* Steps of the library. */

inline lock(l)		{ atomic { !l -> l = 1 } }
inline unlock(l)	{ atomic { assert(l); l = 0 } }
inline lock_inv()	{ atomic { !inv && inv_shared == 0 -> inv = 1 } }
inline lock_inv_shared() { atomic { !inv -> inv_shared++ } }

/* Scrub, restore, free: in a step that ends so. */
inline free_page(pg)
{
	assert(el2[pg] == E_HOST && state[pg] == HOST);
	assert(!in_file[pg] && !upte[pg] && pins[pg] == 0 && dmrefs[pg] == 0);
	assert(charged[pg]);
	if
	:: poisoned[pg]
	:: else -> dirty[pg] = 0; present[pg] = 1; charged[pg] = 0
	fi;
	count[pg] = 0;
	pinnable[pg] = 0;
	folio[pg] = pg
}

inline put(fo)
{
	assert(ref[fo] > 0);
	ref[fo]--;
	if
	:: ref[fo] == 0 ->
		assert(!locked[fo]);
		if
		:: fo == 0 && WHOLE -> free_page(1)
		:: else
		fi;
		free_page(fo)
	:: else
	fi
}

/* A reference to the folio of a page; a lookup retries while the folio is frozen. */
inline get_page(pg)
{
	atomic {
		(!in_file[pg] && !HELD(pg)) || ref[folio[pg]] > 0 ->
		if
		:: !in_file[pg] && !HELD(pg) -> f = NOTHING
		:: else -> f = folio[pg]; ref[f]++; others[f]++
		fi
	}
}

inline put_page(fo)	{ atomic { others[fo]--; put(fo) } }

/* The same with the folio's lock. Who waits for the lock has no reference meanwhile. */
inline grab(pg)
{
	atomic {
		!in_file[pg] || (ref[folio[pg]] > 0 && !locked[folio[pg]]) ->
		if
		:: !in_file[pg] -> f = NOTHING
		:: else -> f = folio[pg]; ref[f]++; others[f]++; locked[f] = 1
		fi
	}
}

/* The lock of a page's folio, for an actor that knows that the page cannot be freed. */
inline lock_page(pg)
{
	atomic { !locked[folio[pg]] -> f = folio[pg]; locked[f] = 1 }
}

/* With the invalidate_lock shared, in a step of the caller. */
inline populate(pg)
{
	if
	:: !in_file[pg] && ref[pg] == 0 && folio[pg] == pg && !charged[pg] ->
		in_file[pg] = 1; ref[pg] = 1; charged[pg] = 1;
		/* KERNEL's reference, in a range on its way to or from there, too. */
		count[pg] = level[pg] == KERNEL || moving[pg] == TO_KERNEL;
		present[pg] = count[pg];
		pinnable[pg] = level[pg] == KERNEL && !moving[pg]
	:: else
	fi
}

inline uncount(pg)
{
	assert(count[pg] > 0);
	count[pg]--;
	present[pg] = count[pg] > 0
}

inline raise(pg)	{ count[pg]++; present[pg] = 1 }

/* A mapping of a process has a reference. */
inline map(pg)
{
	if
	:: !upte[pg] -> upte[pg] = 1; ref[folio[pg]]++
	:: else
	fi
}

inline unmap(pg)
{
	if
	:: upte[pg] -> upte[pg] = 0; assert(ref[folio[pg]] > 1); ref[folio[pg]]--
	:: else
	fi
}

inline unmap_folio(fo)
{
	atomic {
		unmap(fo);
		if
		:: LAST(fo) != fo -> unmap(1)
		:: else
		fi
	}
}

/* With the change_lock, and without the invalidate_lock. Finds ok: it is split. */
inline split()
{
	if
	:: WRONG(W_SPLIT_UNLOCKED)
	:: else -> lock(locked[0])
	fi;
	unmap_folio(0);
	atomic {
		ok = 0;
		if
		:: ref[0] == EXPECTED(0) - (WRONG(W_SPLIT_BLIND) -> DONATIONS(0) : 0) ->
			ref[0] = ref[0] - HELD(0) - HELD(1) - dmrefs[0] - dmrefs[1]; ok = 1
		:: else -> assert(others[0] > 0)
		fi
	}
	if
	:: ok ->
		atomic {
			if
			:: ref[0] == PLAIN_REFS(0) -> ref[0] = 0
			:: else -> assert(others[0] > 0); ref[0] = ref[0] + HELD(0) + HELD(1) + dmrefs[0] + dmrefs[1]; ok = 0
			fi
		}
	:: else
	fi;
	if
	:: ok ->
		/* Lookups find the pages before their states are there. */
		atomic {
			folio[1] = 1;
			locked[1] = 1;
			others[1] = 0;
			ref[1] = 1;
			blank = WRONG(W_SPLIT_WORD_LATE)
		}
		ref[0] = 1;
		atomic {
			if
			:: WRONG(W_SPLIT_STATE) -> state[1] = HOST
			:: else
			fi;
			ref[1] = ref[1] + dmrefs[1] + (WRONG(W_SPLIT_REF) -> 0 : HELD(1));
			ref[0] = ref[0] + dmrefs[0] + HELD(0) + (WRONG(W_SPLIT_REF) -> HELD(1) : 0);
			blank = 0
		}
		unlock(locked[1])
	:: else
	fi;
	if
	:: WRONG(W_SPLIT_UNLOCKED)
	:: else -> unlock(locked[0])
	fi
}

/* The pages of a folio leave the file, with the change_lock and the invalidate_lock. */
inline leave(pg)
{
	f = folio[pg];
	unmap_folio(f);
	lock(locked[f]);
	unmap_folio(f);
	atomic {
		ok = ref[f] == EXPECTED(f);
		done_to = LAST(f);
		i = f;
		do
		:: i <= done_to ->
			if
			/* A pin keeps the page as it is; put() does the rest. */
			:: CARRIES(i) && (ok || WRONG(W_CLOSE_BLIND)) -> uncount(i)
			:: else
			fi;
			pinnable[i] = 0;
			in_file[i] = 0;
			if
			:: op == CLOSE -> level[i] = NONE
			:: else
			fi;
			if
			:: op == CLOSE && WRONG(W_CLOSE_DROPS) && HELD(i) -> state[i] = HOST; ref[f]--
			:: else
			fi;
			i++
		:: else -> break
		od;
		locked[f] = 0;
		if
		:: done_to != f -> assert(ref[f] > 1); ref[f]--
		:: else
		fi;
		done_to = 0;
		put(f)
	}
}

/* EL2 has given the page back, or has never had it. */
inline end_donation(pg)
{
	if
	:: WRONG(W_TEAR_UNLOCKED) && dying -> f = folio[pg]
	:: else -> lock_page(pg)
	fi;
	atomic {
		ok = HELD(pg);
		if
		:: ok -> state[pg] = HOST; others[f]++
		:: else
		fi;
		returned[pg] = 0;
		if
		:: WRONG(W_TEAR_UNLOCKED) && dying
		:: else -> locked[f] = 0
		fi
	}
	if
	:: ok -> put_page(f)
	:: else
	fi
}

inline guest_uses(pg)
{
	assert(believes[pg] == (el2[s2[pg]] == E_SHARED));
	if
	:: !believes[pg] ->
		assert(!wrote[pg] || holds[s2[pg]] == 1 + pg);
		wrote[pg] = 1;
		holds[s2[pg]] = 1 + pg;
		secret[s2[pg]] = 1
	:: else
	fi;
	if
	:: s2[pg] < PAGES -> dirty[s2[pg]] = 1
	:: else
	fi
}

inline take_inv()	{ atomic { !inv && inv_shared == 0 -> inv = 1; has_inv = 1 } }

inline drop_inv()
{
	atomic {
		if
		:: has_inv -> inv = 0; has_inv = 0
		:: else
		fi
	}
}

proctype vcpu(byte v, op1, g1, op2, g2, op3, g3)
{
	byte op, g;	/* the operation under way */
	byte f, old;
	bit ok, has_file;
	bit has_inv;	/* it has the invalidate_lock exclusively */

next:
	/* The guest. */
	atomic {
		op = op1; g = g1;
		op1 = op2; g1 = g2;
		op2 = op3; g2 = g3;
		op3 = 0; g3 = 0;
		f = 0; old = 0; ok = 0; has_file = 0;
		if
		:: op == IDLE || kill -> goto out
		:: else -> running[v] = 0
		fi
	}
	/* The host can interrupt the vCPU; EL2 does not let one of a dying VM run. */
	atomic {
		if
		:: dying && !WRONG(W_EL2_RUN_DYING) -> goto out
		:: else -> running[v] = 1
		fi
	}
	if
	:: op == TOUCH -> goto touch
	:: else
	fi;
	atomic {
		kill || guest_lock[g] != 1 ->
		if
		:: kill -> goto out
		:: !kill && (guest_lock[g] == 2 || believes[g] == (op == SHARE)) -> goto next
		:: else ->
			guest_lock[g] = 1;
			wrote[g] = 0;
			if
			/* It clears what it is about to share. */
			:: op == SHARE && IS_FRAME(s2[g]) -> secret[s2[g]] = 0
			:: else
			fi
		fi
	}
call:
	/* The HVC, in EL2. */
	atomic {
		running[v] = 0;
		if
		:: kill -> goto lost
		:: !kill && op == SHARE && s2[g] == NOTHING -> goto fault
		:: !kill && IS_FRAME(s2[g]) && el2[s2[g]] == (op == SHARE -> E_GUEST : E_SHARED) ->
			req[v] = op; req_page[v] = g; done[v] = WRONG(W_EL2_EARLY)
		:: else -> goto enter
		fi;
		if
		:: hostile -> goto enter
		:: else -> goto share
		fi
	}
touch:
	atomic {
		kill || guest_lock[g] != 1 ->
		running[v] = 0;
		if
		:: kill || s2[g] == POISON -> goto out
		:: !kill && s2[g] == NOTHING -> goto fault
		:: !kill && guest_lock[g] == 2 && IS_FRAME(s2[g]) -> goto next
		:: else -> running[v] = 1; guest_uses(g); goto next
		fi
	}

	/* KVM: a stage-2 fault. */
fault:
	if
	:: hostile ->
		if
		:: goto again
		:: goto lost
		fi
	:: else
	fi;
	if
	:: WRONG(W_DONATE_LEVEL_EARLY) && level[g] != NONE -> goto lost
	:: else
	fi;
	atomic {
		if
		:: open -> users++
		:: else -> goto lost
		fi
	}
	lock_inv_shared();
	atomic {
		if
		:: level[g] != NONE && !WRONG(W_DONATE_RAISED) && !WRONG(W_DONATE_LEVEL_EARLY) -> ok = 0
		:: else -> ok = 1; populate(g)
		fi;
		if
		/* KVM_EXIT_MEMORY_FAULT: the VMM gives up, or runs it again. */
		:: !ok || !in_file[g] ->
			inv_shared--; users--;
			if
			:: goto again
			:: goto lost
			fi
		:: WRONG(W_DONATE_NO_INV) && ok && in_file[g] -> inv_shared--
		:: else
		fi
	}
	grab(g);
	atomic {
		old = RETRY;
		if
		:: f == NOTHING || poisoned[g]
		:: f != NOTHING && !poisoned[g] && holes > 0 && !WRONG(W_DONATE_HOLE)
		:: f != NOTHING && !poisoned[g] && moving[g] && !WRONG(W_DONATE_MOVING)
		:: f != NOTHING && !poisoned[g] && (holes == 0 || WRONG(W_DONATE_HOLE)) &&
		   (!moving[g] || WRONG(W_DONATE_MOVING)) ->
			if
			:: HELD(g) && !WRONG(W_DONATE_BLIND) -> old = EXISTS
			:: !HELD(g) && count[g] > 0 && !WRONG(W_DONATE_DMREF)
			:: else -> old = FRESH
			fi
		fi
	}
	if
	:: old == FRESH && !WRONG(W_DONATE_NO_UNMAP) -> unmap_folio(f)
	:: else
	fi;
	if
	:: old == FRESH ->
		atomic {
			if
			:: WRONG(W_DONATE_NO_FREEZE)
			:: ref[f] == EXPECTED(f) + 1 && !WRONG(W_DONATE_NO_FREEZE) ->
				if
				:: WRONG(W_DONATE_SET_LATE)
				:: else -> ref[f] = 0
				fi
			:: else -> assert(others[f] > 1); old = RETRY
			fi
		}
	:: else
	fi;
	if
	:: old == FRESH ->
		state[g] = DONATED;
		atomic {
			if
			:: WRONG(W_DONATE_NO_FREEZE) || WRONG(W_DONATE_SET_LATE) -> ref[f]++
			:: WRONG(W_DONATE_REF_LATE) -> ref[f] = EXPECTED(f)
			:: else -> ref[f] = EXPECTED(f) + 1
			fi
		}
	:: else
	fi;
	if
	:: old != RETRY ->
		/* KVM knows what it mapped; EL2 decides about the rest. */
		atomic {
			if
			:: old == EXISTS && s2[g] != NOTHING -> ok = 1
			:: else -> el2_donate(g, g)
			fi;
			if
			:: !ok && old == FRESH && !WRONG(W_DONATE_NO_UNDO) && !WRONG(W_DONATE_UNDO_LATE) ->
				state[g] = HOST; ref[f]--
			:: else
			fi;
			if
			:: !ok && old == FRESH && WRONG(W_DONATE_UNDO_LATE) -> old = UNDO
			:: !ok && !(old == FRESH && WRONG(W_DONATE_UNDO_LATE)) -> old = RETRY
			:: else
			fi
		}
	:: else
	fi;
	if
	:: f != NOTHING ->
		unlock(locked[f]);
		if
		:: WRONG(W_DONATE_REF_LATE) && old == FRESH ->
			atomic { inv_shared-- }
			atomic { ref[folio[g]]++ }
		:: else
		fi;
		put_page(f)
	:: else
	fi;
	if
	:: old == UNDO -> end_donation(g); old = RETRY
	:: else
	fi;
	atomic {
		if
		:: WRONG(W_DONATE_NO_INV)
		:: WRONG(W_DONATE_REF_LATE) && old == FRESH
		:: else -> inv_shared--
		fi;
		users--;
		f = 0;
		ok = 0;
		if
		/* No memory in EL2, poison, or a fault that is to be repeated; or a signal. */
		:: old == RETRY -> old = 0; goto again
		:: old == RETRY -> goto lost
		:: old != RETRY -> old = 0
		fi
	}
again:
	atomic {
		if
		:: dying && !WRONG(W_EL2_RUN_DYING) -> goto lost
		:: else -> running[v] = 1
		fi;
		if
		:: op == TOUCH -> goto touch
		:: else -> goto call
		fi
	}

	/* KVM: MEM_SHARE and MEM_UNSHARE. Both publish the page as one that changes. */
share:
	atomic {
		if
		:: open -> users++; has_file = 1
		:: !open && LEFT
		:: !open && !LEFT -> goto enter
		fi
	}
	if
	:: WRONG(W_NO_CHANGE_LOCK)
	:: else -> lock(chg)
	fi;
	take_inv();
	atomic {
		if
		:: in_file[g] && state[g] == (op == SHARE -> DONATED : SHARED) ->
			moving[g] = !(op == SHARE -> WRONG(W_SHARE_NO_MOVING) : WRONG(W_UNSHARE_NO_MOVING))
		:: !in_file[g] && LEFT -> el2_commit(v, op, g); goto end_request
		:: else -> goto end_request
		fi;
		inv = 0; has_inv = 0;
		if
		:: op == SHARE -> goto share_split
		:: op == UNSHARE && WRONG(W_UNSHARE_FIRST) -> el2_commit(v, UNSHARE, g)
		:: else
		fi
	}
unshare_lower:
	/* As SET_ACCESS lowers it. */
	f = folio[g];
	unmap_folio(f);
	if
	:: level[g] == KERNEL && CARRIES(g) ->
		lock(locked[f]);
		unmap_folio(f);
		atomic {
			if
			:: ref[f] == EXPECTED(f) || WRONG(W_UNSHARE_HELD) -> pinnable[g] = 0; ok = 1
			:: else -> assert(others[f] > 0); ok = 0
			fi
		}
		unlock(locked[f]);
		if
		:: !ok -> goto wait
		:: else
		fi;
		/* It is hidden, but for direct-map references. */
		lock(locked[f]);
		atomic { uncount(g) }
		unlock(locked[f])
	:: else
	fi;
	if
	:: WRONG(W_UNSHARE_NO_INV)
	:: else -> take_inv()
	fi;
	lock_page(g);
	/* A fault that looked before has mapped it since. */
	if
	:: WRONG(W_UNSHARE_ZAP_ONCE)
	:: else -> unmap_folio(f)
	fi;
	atomic {
		if
		:: WRONG(W_UNSHARE_HELD) -> ok = 1
		/* EHWPOISON; or it has a direct-map reference. */
		:: !WRONG(W_UNSHARE_HELD) && (poisoned[g] || (count[g] > 0 && !WRONG(W_UNSHARE_DMREFS))) -> ok = 0
		:: !WRONG(W_UNSHARE_HELD) && !poisoned[g] && (count[g] == 0 || WRONG(W_UNSHARE_DMREFS)) &&
		   ref[f] == 2 + (WRONG(W_UNSHARE_DMREFS) -> dmrefs[g] : 0) ->
			ok = 1;
			if
			:: WRONG(W_UNSHARE_SET_LATE)
			:: else -> ref[f] = 0
			fi
		:: else -> assert(others[f] > 0); ok = 0
		fi
	}
	if
	:: !ok -> unlock(locked[f]); goto wait
	:: else
	fi;
	state[g] = DONATED;
	atomic {
		if
		:: WRONG(W_UNSHARE_HELD) || WRONG(W_UNSHARE_SET_LATE)
		:: else -> ref[f] = 2 + (WRONG(W_UNSHARE_DMREFS) -> dmrefs[g] : 0)
		fi;
		if
		:: WRONG(W_UNSHARE_LEVEL_LATE) -> inv = 0; has_inv = 0
		:: WRONG(W_UNSHARE_DROP_INV) -> old = level[g]; level[g] = NONE; inv = 0; has_inv = 0
		:: else
		fi
	}
	atomic {
		if
		:: WRONG(W_UNSHARE_FIRST) -> ok = el2[g] == E_GUEST
		:: else -> el2_commit(v, UNSHARE, g)
		fi
	}
	if
	:: WRONG(W_UNSHARE_LEVEL_LATE) -> take_inv()
	:: else
	fi;
	atomic {
		if
		:: !ok && !WRONG(W_UNSHARE_NO_UNDO) -> state[g] = SHARED
		:: else
		fi;
		locked[f] = 0
	}
	atomic {
		if
		:: ok -> level[g] = NONE
		:: !ok && WRONG(W_UNSHARE_DROP_INV) -> level[g] = old
		:: else
		fi;
		moving[g] = 0
	}
	if
	:: ok || WRONG(W_UNSHARE_NO_UNDO) -> goto end_request
	:: else
	fi;
	drop_inv();
	goto unshare_undo;

share_split:
	if
	:: WHOLE && !WRONG(W_SHARE_WHOLE) ->
		split();
		if
		/* Another actor holds a reference. */
		:: !ok -> goto wait
		:: else
		fi
	:: else
	fi;
	if
	:: WRONG(W_SHARE_NO_INV)
	:: else -> take_inv()
	fi;
	lock_page(g);
	unmap_folio(f);
	if
	:: WRONG(W_SHARE_EARLY) ->
		level[g] = USER;
		atomic { inv = 0; has_inv = 0 }
	:: WRONG(W_SHARE_DROP_INV) -> atomic { inv = 0; has_inv = 0 }
	:: else
	fi;
	atomic {
		if
		/* EHWPOISON */
		:: poisoned[g] -> ok = 0
		:: else -> el2_commit(v, SHARE, g)
		fi;
		if
		:: WRONG(W_SHARE_ANYWAY) -> ok = 1
		:: else
		fi
	}
	atomic {
		if
		:: ok -> state[g] = SHARED
		:: else
		fi;
		locked[f] = 0
	}
	atomic {
		if
		:: ok -> level[g] = USER
		:: !ok && WRONG(W_SHARE_EARLY) -> level[g] = NONE
		:: else
		fi;
		moving[g] = 0
	}
	goto end_request;

wait:
	/* Short references are waited for without the invalidate_lock, pins are not. */
	atomic {
		if
		:: has_inv -> inv = 0; has_inv = 0
		:: else
		fi;
		f = 0;
		if
		:: !kill && op == SHARE -> goto share_split
		:: !kill && op == UNSHARE -> goto unshare_lower
		:: skip
		fi
	}
	/* Refused. */
	take_inv();
	atomic {
		moving[g] = 0;
		if
		:: op == SHARE -> goto end_request
		:: else -> inv = 0; has_inv = 0
		fi
	}
unshare_undo:
	if
	:: level[g] == KERNEL && !WRONG(W_UNSHARE_NOT_RAISED) ->
		lock_page(g);
		atomic {
			if
			:: !CARRIES(g) -> raise(g)
			:: else
			fi;
			locked[f] = 0
		}
		lock_page(g);
		atomic { pinnable[g] = 1; locked[f] = 0 }
	:: else
	fi;
	goto end_request_unlocked;
end_request:
	drop_inv();
end_request_unlocked:
	atomic {
		if
		:: WRONG(W_NO_CHANGE_LOCK)
		:: else -> chg = 0
		fi;
		if
		:: has_file -> users--
		:: else
		fi;
		has_file = 0;
		f = 0;
		old = 0;
		ok = 0
	}

	/* KVM enters the vCPU; EL2 answers the guest. */
enter:
	atomic {
		if
		:: kill || (dying && !WRONG(W_EL2_RUN_DYING)) -> goto lost
		:: else
		fi;
		if
		:: done[v] -> believes[g] = op == SHARE
		:: else
		fi;
		done[v] = 0;
		if
		:: WRONG(W_EL2_TWICE) || WRONG(W_EL2_KEEP)
		:: else -> req[v] = 0; req_page[v] = 0
		fi;
		guest_lock[g] = 0;
		goto next
	}
lost:
	/* This vCPU never runs again. */
	atomic {
		if
		:: op != TOUCH -> guest_lock[g] = 2
		:: else
		fi
	}
out:
	atomic { running[v] = 0; vcpus--; finished++ }
}

proctype host(byte op, lo, hi, to)
{
	byte f, i, done_to;
	bit ok, seen;

	if
	:: op == SET || op == HOLE -> goto change
	:: op == PROC -> goto process
	:: op == ACCESS || op == DMREF || op == REF || op == POISONED -> goto look
	:: op == CLOSE -> goto close
	:: op == TEAR -> goto tear
	:: op == ATTACK -> goto attack
	:: else -> goto out
	fi;

	/* A process that has the file mapped. */
process:
	atomic {
		if
		:: open -> users++
		:: else -> goto out
		fi
	}
	lock_inv_shared();
	atomic {
		if
		:: level[lo] != NONE -> populate(lo)
		:: else
		fi;
		if
		:: level[lo] == NONE || !in_file[lo] || poisoned[lo] -> inv_shared--; users--; goto out
		:: else
		fi
	}
	grab(lo);
	atomic { inv_shared-- }
	atomic { map(lo) }
	unlock(locked[f]);
	put_page(f);
	atomic {
		if
		:: upte[lo] -> host_touches(lo)
		:: else
		fi
	}
	atomic {
		ok = 0;
		if
		:: upte[lo] && pinnable[lo] && ref[folio[lo]] > 0 ->
			f = folio[lo]; ref[f]++; others[f]++; pins[lo]++; ok = 1
		:: else
		fi
	}
	/* The pin outlives the mapping, and the file. */
	atomic { unmap(lo); users-- }
	if
	:: ok ->
		atomic { assert(present[lo]); host_touches(lo) }
		atomic { pins[lo]--; others[f]--; put(f) }
	:: else
	fi;
	goto out;

	/* Lookups of a page by its index in the file. */
look:
	if
	:: WRONG(W_ACCESS_EARLY) && op == ACCESS -> ok = state[lo] != DONATED
	:: else
	fi;
	get_page(lo);
	if
	:: f == NOTHING -> goto out
	:: f != NOTHING && op == REF -> goto look_end
	/* It marks the page, then looks whose it is. */
	:: f != NOTHING && op == POISONED -> poisoned[lo] = 1; lock(locked[f]); unmap_folio(f)
	:: f != NOTHING && op == ACCESS ->
		/* The reference alone keeps the page from being donated. */
		if
		:: WRONG(W_ACCESS_EARLY)
		:: else -> ok = state[lo] != DONATED || (blank && lo == 1) || WRONG(W_ACCESS_BLIND)
		fi;
		if
		/* EFAULT, or: map it for this CPU, copy, unmap. */
		:: ok -> atomic { host_touches(lo) }
		:: else
		fi;
		goto look_end
	:: f != NOTHING && op == DMREF ->
		lock(locked[f]);
		atomic {
			ok = in_file[lo] && (state[lo] != DONATED || WRONG(W_DMREF_BLIND));
			if
			:: ok -> count[lo]++; dmrefs[lo]++; present[lo] = 1; ref[f]++
			:: else
			fi
		}
	fi;
	unlock(locked[f]);
look_end:
	put_page(f);
	if
	:: op == DMREF && ok ->
		atomic { assert(present[lo]); host_touches(lo) }
		lock_page(lo);
		atomic { dmrefs[lo]--; uncount(lo); others[f]++; locked[f] = 0 }
		put_page(f)
	:: else
	fi;
	goto out;

	/* SET_ACCESS and a hole. */
change:
	atomic {
		if
		:: open -> users++
		:: else -> goto out
		fi
	}
	if
	:: op == HOLE -> goto hole
	:: else
	fi;
	lock(chg);
	if
	:: WRONG(W_RAISE_EARLY) -> ok = !RAISES_DONATED
	:: else
	fi;
	lock_inv();
	atomic {
		if
		:: WRONG(W_RAISE_EARLY)
		:: else -> ok = !RAISES_DONATED
		fi;
		/* EPERM, or nothing to do. */
		if
		:: !ok || (level[lo] == to && level[hi] == to) -> inv = 0; chg = 0; users--; goto out
		:: else
		fi;
		moving[lo] = (to == KERNEL -> TO_KERNEL : 1);
		moving[hi] = moving[lo];
		inv = 0
	}
set_again:
	/* No boundary of a level lies inside a folio. */
	if
	:: WHOLE && in_file[lo] && lo == hi && level[lo] != to ->
		split();
		if
		:: !ok -> goto set_wait
		:: else
		fi
	:: else
	fi;
	if
	:: to == KERNEL -> goto set_raise
	:: else -> i = lo
	fi;
	/* Lower: unmap, and look for references that are not expected. */
	do
	:: i <= hi && folio[i] == i && in_file[i] && level[i] > to ->
		f = i;
		unmap_folio(f);
		if
		:: pinnable[i] ->
			lock(locked[f]);
			unmap_folio(f);
			atomic {
				if
				/* EHWPOISON */
				:: poisoned[i] || poisoned[LAST(f)] -> ok = 0; seen = 1
				:: !poisoned[i] && !poisoned[LAST(f)] &&
				   ref[f] == EXPECTED(f) - (WRONG(W_LOWER_BLIND) -> DONATIONS(f) : 0) ->
					pinnable[f] = 0; pinnable[LAST(f)] = 0; ok = 1
				/* EAGAIN */
				:: else -> assert(others[f] > 0); ok = 0
				fi
			}
			unlock(locked[f]);
			if
			:: !ok -> goto set_wait
			:: else
			fi
		:: else
		fi;
		i++
	:: i <= hi && !(folio[i] == i && in_file[i] && level[i] > to) -> i++
	:: i > hi -> break
	od;
	i = lo;
	do
	:: i <= hi && in_file[i] && CARRIES(i) && !pinnable[i] ->
		lock_page(i);
		atomic { uncount(i); locked[f] = 0; i++ }
	:: i <= hi && !(in_file[i] && CARRIES(i) && !pinnable[i]) -> i++
	:: i > hi -> ok = 1; break
	od;
	goto set_commit;
set_raise:
	i = lo;
	ok = 1;
	do
	:: i <= hi && in_file[i] && !CARRIES(i) ->
		lock_page(i);
		atomic {
			if
			:: poisoned[i] -> ok = 0
			:: else -> raise(i)
			fi;
			locked[f] = 0;
			if
			:: !ok -> break
			:: else -> i++
			fi
		}
	:: i <= hi && !(in_file[i] && !CARRIES(i)) -> i++
	:: i > hi -> break
	od;
	goto set_commit;
set_wait:
	/* EAGAIN, or wait. */
	atomic {
		f = 0; i = 0;
		if
		:: !seen -> goto set_again
		:: skip
		fi
	}
set_commit:
	lock_inv();
	atomic {
		if
		:: ok -> level[lo] = to; level[hi] = to
		:: else
		fi;
		moving[lo] = 0; moving[hi] = 0;
		inv = 0
	}
	/* Without the invalidate_lock again: undo, or finish. */
	i = lo;
	do
	/* What was not lowered has its reference yet, and what was populated has one. */
	:: i <= hi && in_file[i] && level[i] == KERNEL && CARRIES(i) ->
		if
		:: !pinnable[i] ->
			lock_page(i);
			atomic { pinnable[i] = 1; pinnable[LAST(f)] = CARRIES(LAST(f)); locked[f] = 0 }
		:: else
		fi;
		i++
	:: i <= hi && in_file[i] && level[i] != KERNEL ->
		/* A fault that looked before has mapped it. */
		if
		:: level[i] == NONE && (upte[i] || locked[folio[i]]) ->
			lock_page(i);
			unmap_folio(f);
			unlock(locked[f])
		:: else
		fi;
		if
		:: CARRIES(i) -> lock_page(i); atomic { uncount(i); locked[f] = 0 }
		:: else
		fi;
		i++
	:: i <= hi && !in_file[i] -> i++
	:: i > hi -> break
	od;
	atomic { chg = 0; users--; goto out }

hole:
	/* No page is donated while there is a hole. */
	lock(chg);
	lock_inv();
	atomic {
		ok = WRONG(W_HOLE_BLIND) || !((in_file[lo] && HELD(lo)) || (in_file[hi] && HELD(hi)));
		if
		/* EBUSY */
		:: !ok -> inv = 0; chg = 0; users--; goto out
		:: else
		fi;
		if
		:: WRONG(W_HOLE_COUNT_LATE)
		:: else -> holes++
		fi;
		inv = 0;
		chg = 0
	}
	if
	:: WRONG(W_HOLE_COUNT_LATE) -> holes++
	:: else
	fi;
	i = lo;
	do
	:: i <= hi ->
		lock(chg);
		if
		:: WHOLE && in_file[lo] && lo == hi ->
			split();
			if
			/* Wait; or the page is cleared, and stays. */
			:: !ok -> chg = 0
			:: !ok ->
				lock_inv();
				unmap_folio(0);
				atomic { host_touches(i); inv = 0; chg = 0; break }
			:: else
			fi
		:: else -> ok = 1
		fi;
		if
		:: ok ->
			lock_inv();
			if
			:: in_file[i] -> leave(i)
			:: else -> i++
			fi;
			atomic { inv = 0; chg = 0 }
		:: else
		fi
	:: i > hi -> break
	od;
	atomic { holes--; users--; goto out }

	/* The last reference to the file. */
close:
	atomic {
		if
		:: open -> open = 0; closing = 1
		:: else -> goto out
		fi
	}
	atomic { users == 0 -> i = 0 }
	lock(chg);
	lock_inv();
	do
	:: i < PAGES && in_file[i] -> leave(i)
	:: i < PAGES && !in_file[i] -> level[i] = NONE; i++
	:: i >= PAGES -> break
	od;
	atomic { inv = 0; chg = 0; closing = 0; goto out }

	/* Kill and teardown. */
tear:
	atomic {
		if
		:: !kill -> kill = 1
		:: else -> goto out
		fi
	}
	atomic { vcpus == 0 || (WRONG(W_TEAR_RUNNING) && !running[0] && !running[1]) -> dying = 1; i = 0 }
	do
	:: i < PAGES && HELD(i) ->
		/* No lock, nor a reference but the donation's. */
		atomic {
			ok = !poisoned[i] || WRONG(W_TEAR_POISONED);
			assert(!ok || !poisoned[i])
		}
		if
		:: ok && WRONG(W_TEAR_STATE_FIRST) -> state[i] = HOST
		:: ok && WRONG(W_TEAR_REF_FIRST) -> atomic { state[i] = HOST; f = folio[i]; put(f) }
		:: else
		fi;
		if
		:: ok -> atomic { el2_reclaim(i); returned[i] = ok }
		:: else
		fi;
		if
		:: WRONG(W_TEAR_REF_FIRST)
		:: WRONG(W_TEAR_STATE_FIRST) -> atomic { state[i] = (ok -> DONATED : state[i]) }
		:: else
		fi;
		if
		:: WRONG(W_TEAR_REF_FIRST)
		:: !WRONG(W_TEAR_REF_FIRST) && (ok || WRONG(W_TEAR_FREES_FAILED)) -> end_donation(i)
		/* The donation's reference stays for ever. */
		:: else -> gone[i] = 1
		fi;
		i++
	:: i < PAGES && !HELD(i) -> i++
	:: i >= PAGES -> break
	od;
	atomic { torn = 1; goto out };

	/* An attacker in the host, which calls EL2 as it likes. */
attack:
	atomic { finished++ }
end:
	do
	:: atomic { el2_donate(0, 0) }
	:: atomic { el2_donate(1, 1) }
	:: atomic { el2_donate(2, 0) }
	:: atomic { el2_donate(2, 1) }
	:: atomic { el2_donate(0, 1) }
	:: atomic { el2_commit(0, SHARE, 0) }
	:: atomic { el2_commit(0, SHARE, 1) }
	:: atomic { el2_commit(1, SHARE, 0) }
	:: atomic { el2_commit(1, SHARE, 1) }
	:: atomic { el2_commit(0, UNSHARE, 0) }
	:: atomic { el2_commit(0, UNSHARE, 1) }
	:: atomic { el2_commit(1, UNSHARE, 0) }
	:: atomic { el2_commit(1, UNSHARE, 1) }
	:: atomic { el2_reclaim(0) }
	:: atomic { el2_reclaim(1) }
	:: atomic { host_touches(0) }
	:: atomic { host_touches(1) }
	:: atomic { host_touches(2) }
	/* Teardown begins while no vCPU is loaded. */
	:: atomic { !running[0] && !running[1] && !dying -> dying = 1 }
	od;
out:
	atomic { finished++ }
}

#define BOTH(what)	(what(0) && what(1))
#define ALL(what)	(what(0) && what(1) && what(2))
#define HONEST(what)	(hostile || BOTH(what))

/* A page that is the guest's alone is in no mapping of the host. */
#define UNMAPPED(p)	(el2[p] != E_GUEST || (!upte[p] && !present[p] && !pins[p]))
/* And it is at NONE, for an actor with the invalidate_lock: the level is stored after EL2's commit. */
#define AT_NONE(p)	(el2[p] != E_GUEST || !in_file[p] || level[p] == NONE || inv)
/* It is charged, and not free. */
#define KEPT(p)		(el2[p] == E_HOST || charged[p])
/* Its file has it at its index: KVM finds the page of a request by that. */
#define IN_PLACE(p)	(el2[p] == E_HOST || in_file[p] || !open)
/*
 * The library's state equals EL2's while no actor holds the page's lock. Teardown sets HOST
 * some time after EL2 has given the page back.
 */
#define AGREED(p)	(locked[folio[p]] || state[p] == el2[p] || (returned[p] && HELD(p) && el2[p] == E_HOST))
/* A page has level KERNEL's reference, and can be pinned, if and only if it is at KERNEL. */
#define IS_KERNEL(p)	(level[p] == KERNEL)
#define AT_KERNEL(p)	(chg || !in_file[p] || (CARRIES(p) == IS_KERNEL(p) && pinnable[p] == IS_KERNEL(p)))
/* All pages of a folio have one level. */
#define ONE_LEVEL(p)	(!WHOLE || inv || closing || level[0] == level[1])
/* EL2 protects what the guest wrote to a page of its own. */
#define IS_SECRET(f)	(!secret[f] || el2[f] == E_GUEST)
/* The guest knows who can see a page. */
#define BELIEVED(g)	(guest_lock[g] != 0 || !IS_FRAME(s2[g]) || believes[g] == (el2[s2[g]] == E_SHARED))

active proctype invariants()
{
end:
	do
	:: atomic { !HONEST(UNMAPPED) -> assert(HONEST(UNMAPPED)) }
	:: atomic { !HONEST(AT_NONE) -> assert(HONEST(AT_NONE)) }
	:: atomic { !HONEST(KEPT) -> assert(HONEST(KEPT)) }
	:: atomic { !HONEST(IN_PLACE) -> assert(HONEST(IN_PLACE)) }
	:: atomic { !HONEST(AGREED) -> assert(HONEST(AGREED)) }
	:: atomic { !HONEST(AT_KERNEL) -> assert(HONEST(AT_KERNEL)) }
	:: atomic { !HONEST(ONE_LEVEL) -> assert(HONEST(ONE_LEVEL)) }
	:: atomic { !ALL(IS_SECRET) -> assert(ALL(IS_SECRET)) }
	:: atomic { !BOTH(BELIEVED) -> assert(BOTH(BELIEVED)) }
	od
}

c_decl {
	\#include <stdlib.h>
	\#include <string.h>
};

init {
	byte i;

	atomic {
		/* WRONG HOSTILE WHOLE STATE STATE, OP PAGE 6 times, OP LO HI TO 3 times. */
		c_code {
			const char *conf = getenv("PKVM_MODEL");
			int v[29], n, k;

			memset(v, 0, sizeof(v));
			for (n = 0; conf && *conf && n < 29; n++) {
				char *end;

				v[n] = strtol(conf, &end, 10);
				if (end == conf)
					break;
				conf = end;
			}
			if (n != 29) {
				printf("PKVM_MODEL: 29 numbers\n");
				exit(2);
			}
			now.wrong = v[0];
			now.hostile = v[1];
			now.folio[1] = !v[2];
			for (k = 0; k < 2; k++)
				now.conf_state[k] = v[3 + k];
			for (k = 0; k < 6; k++) {
				now.conf_op[k] = v[5 + 2 * k];
				now.conf_page[k] = v[6 + 2 * k];
			}
			for (k = 0; k < 3; k++) {
				now.host_op[k] = v[17 + 4 * k];
				now.host_lo[k] = v[18 + 4 * k];
				now.host_hi[k] = v[19 + 4 * k];
				now.host_to[k] = v[20 + 4 * k];
			}
		};
		do
		:: i < PAGES && conf_state[i] > 0 ->
			/* 1 to 3: the host's, at a level; 4: donated; 5 and 6: shared. */
			in_file[i] = 1;
			charged[i] = 1;
			dirty[i] = 1;
			present[i] = 0;
			if
			:: conf_state[i] < 4 -> level[i] = conf_state[i] - 1
			:: conf_state[i] == 4 ->
				state[i] = DONATED; el2[i] = E_GUEST;
				wrote[i] = 1; holds[i] = 1 + i; secret[i] = 1
			:: conf_state[i] > 4 ->
				state[i] = SHARED; el2[i] = E_SHARED; believes[i] = 1;
				level[i] = conf_state[i] - 4
			fi;
			if
			:: HELD(i) -> s2[i] = i; ref[folio[i]]++
			:: else
			fi;
			if
			:: level[i] == KERNEL -> count[i] = 1; present[i] = 1; pinnable[i] = 1
			:: else
			fi;
			ref[folio[i]]++;
			conf_state[i] = 0;
			i++
		:: i < PAGES && conf_state[i] == 0 -> i++
		:: i >= PAGES -> break
		od;
		run vcpu(0, conf_op[0], conf_page[0], conf_op[1], conf_page[1], conf_op[2], conf_page[2]);
		run vcpu(1, conf_op[3], conf_page[3], conf_op[4], conf_page[4], conf_op[5], conf_page[5]);
		run host(host_op[0], host_lo[0], host_hi[0], host_to[0]);
		run host(host_op[1], host_lo[1], host_hi[1], host_to[1]);
		run host(host_op[2], host_lo[2], host_hi[2], host_to[2]);
		i = 0;
		do
		:: i < 6 -> conf_op[i] = 0; conf_page[i] = 0; i++
		:: else -> break
		od;
		i = 0;
		do
		:: i < 3 -> host_op[i] = 0; host_lo[i] = 0; host_hi[i] = 0; host_to[i] = 0; i++
		:: else -> break
		od;
		i = 0
	}
	finished == 5;
	if
	:: hostile -> goto over
	:: else
	fi;
	/* The VMM exits: the VM is torn down, then the file is closed. */
	atomic { run host(TEAR, 0, 0, 0) }
	finished == 6;
	atomic { run host(CLOSE, 0, 0, 0) }
	finished == 7;
	atomic {
		assert(torn && !inv && !chg && inv_shared == 0 && users == 0 && holes == 0 && !blank);
		do
		:: i < PAGES ->
			assert(!locked[i] && others[i] == 0 && pins[i] == 0 && dmrefs[i] == 0 && !in_file[i]);
			assert(!moving[i] && !returned[i]);
			if
			:: HELD(i) -> assert(gone[i] && ref[folio[i]] > 0 && charged[i])
			/* A folio is lost as it is. */
			:: WHOLE && !HELD(i) && HELD(1 - i) -> assert(ref[0] == 1 && !present[i])
			:: poisoned[i] && !HELD(i) && !(WHOLE && HELD(1 - i)) -> assert(ref[folio[i]] == 0)
			:: else ->
				assert(state[i] == HOST && el2[i] == E_HOST && ref[i] == 0 && count[i] == 0);
				assert(present[i] && !dirty[i] && !charged[i])
			fi;
			i++
		:: else -> break
		od
	}
over:
	skip
}
