/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The states of a page of a protected VM (pKVM) on hidden memory.
 *
 * This is a plan: KVM does not give a hidden file to a protected VM yet.  README.md
 * beside this file says what is modelled and which order of steps holds.
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
#define LEAKED	3	/* EL2 did not give it back: never touch it again */

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
#define W_ACCESS_BLIND		9
#define W_ACCESS_UNLOCKED	10
#define W_DMREF_BLIND		11
#define W_SHARE_EARLY		12
#define W_SHARE_ANYWAY		13
#define W_SHARE_LEFT		14
#define W_SHARE_WHOLE		15
#define W_NO_CHANGE_LOCK	16
#define W_UNSHARE_NO_INV	17
#define W_UNSHARE_ZAP_ONCE	18
#define W_UNSHARE_HELD		19
#define W_UNSHARE_DMREFS	20
#define W_UNSHARE_FIRST		21
#define W_UNSHARE_NO_UNDO	22
#define W_UNSHARE_LEFT		23
#define W_SPLIT_REF		24
#define W_SPLIT_STATE		25
#define W_SPLIT_BLIND		26
#define W_SPLIT_UNLOCKED	27
#define W_RAISE_BLIND		28
#define W_RAISE_EARLY		29
#define W_LOWER_BLIND		30
#define W_HOLE_BLIND		31
#define W_HOLE_ONCE		32
#define W_CLOSE_DROPS		33
#define W_TEAR_STATE_FIRST	34
#define W_TEAR_REF_FIRST	35
#define W_TEAR_FREES_FAILED	36
#define W_TEAR_POISONED		37
#define W_TEAR_UNLOCKED		38
#define W_SHARE_NO_INV		39
#define W_EL2_NO_REQUEST	40
#define W_EL2_OTHER_PAGE	41
#define W_EL2_OTHER_VCPU	42
#define W_EL2_TWICE		43
#define W_EL2_KEEP		44
#define W_EL2_EARLY		45
#define W_EL2_RUN_DYING		46
#define W_EL2_RECLAIM_LIVE	47
#define W_EL2_FORGET_POISON	48
#define W_EL2_REPLACE		49
#define W_EL2_UNCLEARED		50
#define W_CLOSE_BLIND		51
#define W_UNSHARE_DROP_INV	52
#define W_SHARE_DROP_INV	53
#define W_TEAR_RUNNING		54
#define W_EL2_COMMIT_DYING	55
#define WRONG(what)		(wrong == what)

byte wrong;
bit hostile;
byte conf_op[6], conf_page[6], host_op[3], host_lo[3], host_hi[3], host_to[3];
byte conf_state[PAGES];
bit may_fail = 1;	/* EL2 can lack memory, and reclaim can fail */

/* The file. */
byte level[PAGES];
bit moving[PAGES];	/* a change of level is under way */
bit in_file[PAGES];
bit upte[PAGES];	/* a process has it mapped */
bit open = 1;
byte users;		/* of the open file */
bit inv;		/* the invalidate_lock is held exclusive */
byte inv_shared;
bit chg;		/* the change_lock */

/* The frames. */
byte folio[PAGES];	/* the folio of a page: 0 for both when it is whole */
byte ref[PAGES];	/* of a folio; 0: frozen, or free */
bit locked[PAGES];	/* the folio lock */
byte state[PAGES];	/* HOST, DONATED, SHARED, LEAKED */
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

/* A reference to the folio of page p, which can be split meanwhile. */
inline get_page(pg)
{
	do
	:: f = folio[pg];
	   atomic {
		if
		:: !in_file[pg] && !HELD(pg) -> f = NOTHING; break
		:: else
		fi;
		if
		:: ref[f] > 0 && folio[pg] == f -> ref[f]++; others[f]++; break
		:: else
		fi
	   }
	od
}

inline put_page(fo)	{ atomic { others[fo]--; put(fo) } }

inline uncount(pg)
{
	assert(count[pg] > 0);
	count[pg]--;
	present[pg] = count[pg] > 0
}

/* With the change_lock and the invalidate_lock. Finds ok: it is split. */
inline split()
{
	if
	:: WRONG(W_SPLIT_UNLOCKED)
	:: else -> lock(locked[0])
	fi;
	atomic {
		ok = 0;
		if
		:: ref[0] == PLAIN_REFS(0) + (WRONG(W_SPLIT_BLIND) -> 0 : DONATIONS(0)) -> ref[0] = 0; ok = 1
		:: else -> assert(others[0] > 0)
		fi
	}
	if
	:: ok ->
		atomic {
			folio[1] = 1;
			locked[1] = 1;
			others[1] = 0;
			ref[1] = 1 + (WRONG(W_SPLIT_REF) -> 0 : HELD(1))
		}
		atomic { ref[0] = 1 + HELD(0) + (WRONG(W_SPLIT_REF) -> HELD(1) : 0) }
		atomic {
			if
			:: WRONG(W_SPLIT_STATE) -> state[1] = HOST
			:: else
			fi;
			locked[1] = 0
		}
	:: else
	fi;
	if
	:: WRONG(W_SPLIT_UNLOCKED)
	:: else -> unlock(locked[0])
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

proctype vcpu(byte v, op1, g1, op2, g2, op3, g3)
{
	byte op, g;	/* the operation under way */
	byte f, old;
	bit ok, has_file;
	bit dropped;	/* the invalidate_lock, on purpose too early */

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
		:: !hostile && op == SHARE -> goto share
		:: !hostile && op == UNSHARE -> goto unshare
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
		:: moving[g] && !WRONG(W_DONATE_MOVING) -> ok = 0
		:: else -> ok = 1
		fi;
		if
		/* KVM_EXIT_MEMORY_FAULT: the VMM gives up, or runs it again. */
		:: !ok ->
			inv_shared--; users--;
			if
			:: goto again
			:: goto lost
			fi
		:: else
		fi
	}
	atomic {
		if
		:: !in_file[g] && ref[g] == 0 && folio[g] == g && !charged[g] ->
			/* Populate it, hidden. */
			in_file[g] = 1; ref[g] = 1; present[g] = 0; charged[g] = 1
		:: else
		fi;
		if
		:: !in_file[g] -> inv_shared--; users--; goto lost
		:: else -> f = folio[g]; assert(ref[f] > 0); ref[f]++; others[f]++
		fi;
		if
		:: WRONG(W_DONATE_NO_INV) -> inv_shared--
		:: else
		fi
	}
	lock(locked[f]);
	atomic {
		ok = 1;
		old = 0;
		if
		:: HELD(g) && !WRONG(W_DONATE_BLIND) -> ok = 0	/* the other vCPU did it */
		:: !HELD(g) && count[g] > 0 && !WRONG(W_DONATE_DMREF) -> ok = 0; old = 1
		:: poisoned[g] -> ok = 0; old = 1
		:: else ->
			state[g] = DONATED;
			if
			:: WRONG(W_DONATE_REF_LATE)
			:: else -> ref[f]++
			fi
		fi
	}
	if
	:: ok ->
		atomic {
			el2_donate(g, g);
			if
			:: !ok && !WRONG(W_DONATE_NO_UNDO) ->
				state[g] = HOST;
				if
				:: WRONG(W_DONATE_REF_LATE)
				:: else -> ref[f]--
				fi
			:: else
			fi;
			old = !ok
		}
	:: else
	fi;
	unlock(locked[f]);
	if
	:: WRONG(W_DONATE_REF_LATE) && ok ->
		atomic { inv_shared-- }
		atomic { ref[folio[g]]++ }
	:: else
	fi;
	put_page(f);
	atomic {
		if
		:: WRONG(W_DONATE_NO_INV)
		:: WRONG(W_DONATE_REF_LATE) && ok
		:: else -> inv_shared--
		fi;
		users--;
		f = 0;
		ok = 0;
		if
		/* No memory in EL2, or a direct-map reference: try again, or fail. */
		:: old -> old = 0; goto again
		:: old -> goto lost
		:: !old
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

	/* KVM: MEM_SHARE. */
share:
	atomic {
		if
		:: open -> users++; has_file = 1
		:: !open && WRONG(W_SHARE_LEFT)
		:: !open && !WRONG(W_SHARE_LEFT) -> goto enter
		fi
	}
	if
	:: WRONG(W_NO_CHANGE_LOCK)
	:: else -> lock(chg)
	fi;
share_again:
	if
	:: WRONG(W_SHARE_NO_INV)
	:: else -> lock_inv()
	fi;
	atomic {
		ok = (in_file[g] || WRONG(W_SHARE_LEFT)) && state[g] == DONATED;
		if
		:: !ok -> goto end_request
		:: else -> skip
		fi
	}
	if
	:: WHOLE && !WRONG(W_SHARE_WHOLE) && in_file[g] ->
		split();
		if
		/* Another actor holds a reference. */
		:: !ok -> goto wait
		:: else
		fi
	:: else
	fi;
	f = folio[g];
	lock(locked[f]);
	if
	:: WRONG(W_SHARE_EARLY) ->
		level[g] = USER;
		atomic { inv = 0; dropped = 1 }
	:: WRONG(W_SHARE_DROP_INV) -> atomic { inv = 0; dropped = 1 }
	:: else
	fi;
	atomic {
		el2_commit(v, SHARE, g);
		if
		:: WRONG(W_SHARE_ANYWAY) -> ok = 1
		:: else
		fi
	}
	atomic {
		if
		:: ok && in_file[g] -> state[g] = SHARED; level[g] = USER
		:: !ok && WRONG(W_SHARE_EARLY) -> level[g] = NONE
		:: else
		fi
	}
	unlock(locked[f]);
	goto end_request;

	/* KVM: MEM_UNSHARE. */
unshare:
	atomic {
		if
		:: open -> users++; has_file = 1
		:: !open && WRONG(W_UNSHARE_LEFT)
		:: !open && !WRONG(W_UNSHARE_LEFT) -> goto enter
		fi
	}
	if
	:: WRONG(W_NO_CHANGE_LOCK)
	:: else -> lock(chg)
	fi;
unshare_again:
	if
	:: WRONG(W_UNSHARE_NO_INV)
	:: else -> lock_inv()
	fi;
	atomic {
		ok = in_file[g] && state[g] == SHARED;
		if
		:: !ok && !in_file[g] && WRONG(W_UNSHARE_LEFT) -> el2_commit(v, UNSHARE, g); goto end_request
		:: !ok && (in_file[g] || !WRONG(W_UNSHARE_LEFT)) -> goto end_request
		:: else -> skip
		fi
	}
	f = folio[g];
	upte[g] = 0;
	lock(locked[f]);
	/* A fault that looked before has mapped it since. */
	if
	:: WRONG(W_UNSHARE_ZAP_ONCE)
	:: else -> upte[g] = 0
	fi;
	atomic {
		if
		:: ref[f] == 2 || WRONG(W_UNSHARE_HELD) || (WRONG(W_UNSHARE_DMREFS) && ref[f] == 2 + dmrefs[g])
		:: else -> assert(others[f] > 0); locked[f] = 0; goto wait
		fi;
		old = level[g];
		pinnable[g] = 0
	}
	if
	:: WRONG(W_UNSHARE_FIRST) -> atomic { el2_commit(v, UNSHARE, g) }
	:: else
	fi;
	atomic {
		if
		:: WRONG(W_UNSHARE_FIRST) && !ok -> pinnable[g] = old == KERNEL
		:: else ->
			state[g] = DONATED;
			level[g] = NONE;
			if
			:: old == KERNEL -> uncount(g)
			:: else
			fi;
			if
			:: WRONG(W_UNSHARE_DROP_INV) -> inv = 0; dropped = 1
			:: else
			fi
		fi
	}
	if
	:: WRONG(W_UNSHARE_FIRST)
	:: else ->
		atomic {
			el2_commit(v, UNSHARE, g);
			if
			:: !ok && !WRONG(W_UNSHARE_NO_UNDO) ->
				state[g] = SHARED;
				level[g] = old;
				if
				:: old == KERNEL -> count[g]++; present[g] = 1; pinnable[g] = 1
				:: else
				fi
			:: else
			fi
		}
	fi;
	unlock(locked[f]);
	goto end_request;

wait:
	/* Short references are waited for without the invalidate_lock, pins are not. */
	atomic {
		if
		:: (op == SHARE && WRONG(W_SHARE_NO_INV)) || (op == UNSHARE && WRONG(W_UNSHARE_NO_INV))
		:: else -> inv = 0
		fi;
		f = 0;
		if
		:: !kill && op == SHARE -> goto share_again
		:: !kill && op == UNSHARE -> goto unshare_again
		:: skip
		fi
	}
	goto end_request_unlocked;
end_request:
	atomic {
		if
		:: op == SHARE && WRONG(W_SHARE_NO_INV)
		:: op == SHARE && !WRONG(W_SHARE_NO_INV) && dropped
		:: op == UNSHARE && WRONG(W_UNSHARE_NO_INV)
		:: op == UNSHARE && !WRONG(W_UNSHARE_NO_INV) && dropped
		:: else -> inv = 0
		fi
	}
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
		dropped = 0
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

inline zap(fo)
{
	upte[fo] = 0;
	upte[LAST(fo)] = 0
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
		:: level[lo] == NONE || !in_file[lo] || poisoned[lo] -> inv_shared--; users--; goto out
		:: else -> f = folio[lo]
		fi
	}
	/* The file's reference serves, as the folio lock is taken under the invalidate_lock. */
	atomic { !locked[f] -> locked[f] = 1; inv_shared-- }
	upte[lo] = 1;
	unlock(locked[f]);
	atomic {
		if
		:: upte[lo] -> host_touches(lo)
		:: else
		fi
	}
	atomic {
		if
		:: upte[lo] && pinnable[lo] && ref[folio[lo]] > 0 ->
			f = folio[lo]; ref[f]++; others[f]++; pins[lo]++; ok = 1
		:: else
		fi
	}
	/* The pin outlives the mapping, and the file. */
	atomic { upte[lo] = 0; users-- }
	if
	:: ok ->
		atomic { assert(present[lo]); host_touches(lo) }
		atomic { pins[lo]--; others[f]--; put(f) }
	:: else
	fi;
	goto out;

	/* Lookups of a page by its index in the file. */
look:
	get_page(lo);
	if
	:: f == NOTHING -> goto out
	:: f != NOTHING && op == REF -> goto look_end
	:: else
	fi;
	if
	:: WRONG(W_ACCESS_UNLOCKED) && op == ACCESS
	:: else -> lock(locked[f])
	fi;
	if
	:: op == POISONED -> poisoned[lo] = 1
	:: op == ACCESS ->
		ok = state[lo] == HOST || state[lo] == SHARED || WRONG(W_ACCESS_BLIND);
		if
		/* EFAULT, or: map it for this CPU, copy, unmap. */
		:: ok -> atomic { host_touches(lo) }
		:: else
		fi
	:: op == DMREF ->
		atomic {
			ok = state[lo] == HOST || state[lo] == SHARED || WRONG(W_DMREF_BLIND);
			if
			:: ok -> count[lo]++; dmrefs[lo]++; present[lo] = 1
			:: else
			fi
		}
		if
		:: ok ->
			unlock(locked[f]);
			atomic { assert(present[lo]); host_touches(lo) }
			lock(locked[f]);
			atomic { dmrefs[lo]--; uncount(lo) }
		:: else
		fi
	fi;
	if
	:: WRONG(W_ACCESS_UNLOCKED) && op == ACCESS
	:: else -> unlock(locked[f])
	fi;
look_end:
	put_page(f);
	goto out;

	/* SET_ACCESS and a hole. */
change:
	atomic {
		if
		:: open -> users++
		:: else -> goto out
		fi
	}
	lock(chg);
	if
	:: WRONG(W_RAISE_EARLY) && op == SET && to != NONE -> goto veto
	:: else
	fi;
change_again:
	lock_inv();
	if
	:: WRONG(W_RAISE_EARLY) && op == SET && to != NONE -> goto vetoed
	:: WRONG(W_HOLE_ONCE) && op == HOLE && seen -> goto vetoed
	:: else
	fi;
veto:
	atomic {
		ok = 1;
		i = lo;
		do
		:: i <= hi ->
			if
			:: op == SET && to != NONE && !WRONG(W_RAISE_BLIND) && in_file[i] &&
			   (state[i] == DONATED || state[i] == LEAKED) -> ok = 0	/* EPERM */
			:: op == HOLE && !WRONG(W_HOLE_BLIND) && in_file[i] && HELD(i) -> ok = 0	/* EBUSY */
			:: else
			fi;
			i++
		:: else -> break
		od;
		i = 0;
		seen = 1;
		if
		:: !ok && WRONG(W_RAISE_EARLY) && op == SET -> goto change_unlocked
		:: !ok && !(WRONG(W_RAISE_EARLY) && op == SET) -> goto change_end
		:: ok && WRONG(W_RAISE_EARLY) && op == SET && to != NONE -> goto change_again
		:: else
		fi
	}
vetoed:
	/* No boundary of a level or hole lies inside a folio. */
	if
	:: WHOLE && lo != hi -> skip
	:: WHOLE && lo == hi && !(op == SET && level[lo] == to) ->
		split();
		if
		:: !ok -> goto change_wait
		:: else
		fi
	:: else
	fi;
	if
	:: op == HOLE -> i = lo; goto hole
	:: else
	fi;
	/* Lower: unmap, and look for references that are not expected. */
	i = lo;
	do
	:: i <= hi && folio[i] == i && in_file[i] && level[i] > to ->
		f = i;
		zap(f);
		lock(locked[f]);
		zap(f);
		atomic {
			if
			:: ref[f] == EXPECTED(f) - (WRONG(W_LOWER_BLIND) -> DONATIONS(f) : 0) ->
				pinnable[f] = 0; pinnable[LAST(f)] = 0; ok = 1
			/* EAGAIN */
			:: else -> assert(others[f] > 0); ok = 0
			fi
		}
		unlock(locked[f]);
		if
		:: !ok -> break
		:: else -> i++
		fi
	:: i <= hi && !(folio[i] == i && in_file[i] && level[i] > to) -> i++
	:: i > hi -> ok = 1; break
	od;
	atomic {
		if
		:: !ok ->
			/* Undo. */
			do
			:: i > lo ->
				i--;
				if
				:: in_file[i] && level[i] == KERNEL -> pinnable[i] = 1
				:: else
				fi
			:: else -> break
			od;
			i = 0;
			goto change_end
		:: else ->
			i = lo;
			do
			:: i <= hi -> moving[i] = 1; i++
			:: else -> break
			od;
			i = lo;
			inv = 0
		fi
	}
	/* Without the invalidate_lock: entries of the direct map. */
	do
	:: i <= hi ->
		if
		:: in_file[i] && (level[i] == KERNEL) != (to == KERNEL) ->
			f = folio[i];
			lock(locked[f]);
			atomic {
				if
				:: to == KERNEL -> count[i]++; present[i] = 1
				:: else -> uncount(i)
				fi
			}
			unlock(locked[f])
		:: else
		fi;
		i++
	:: else -> break
	od;
	lock_inv();
	i = lo;
	do
	:: i <= hi ->
		/* A fault that looked before has mapped it. */
		if
		:: in_file[i] && level[i] > to ->
			f = folio[i];
			lock(locked[f]);
			upte[i] = 0;
			unlock(locked[f])
		:: else
		fi;
		atomic {
			level[i] = to;
			moving[i] = 0;
			pinnable[i] = to == KERNEL && in_file[i]
		}
		i++
	:: else -> break
	od;
	goto change_end;

hole:
	do
	:: i <= hi && in_file[i] ->
		f = folio[i];
		zap(f);
		lock(locked[f]);
		zap(f);
		atomic {
			/* Who pinned it is waited for. */
			if
			:: level[i] == KERNEL && ref[f] != EXPECTED(f) -> locked[f] = 0; goto change_wait
			:: else
			fi;
			pinnable[f] = 0; pinnable[LAST(f)] = 0;
			if
			:: level[i] == KERNEL && LAST(f) != f -> uncount(0); uncount(1)
			:: level[i] == KERNEL && LAST(f) == f -> uncount(i)
			:: else
			fi;
			ok = LAST(f) != f;
			in_file[f] = 0; in_file[LAST(f)] = 0;
			locked[f] = 0;
			if
			:: ok -> assert(ref[f] > 1); ref[f]--
			:: else
			fi;
			put(f)
		}
		i++
	:: i <= hi && !in_file[i] -> i++
	:: i > hi -> break
	od;
	goto change_end;
change_wait:
	/* EAGAIN, or wait without the invalidate_lock. */
	atomic {
		if
		:: op == HOLE -> inv = 0; i = 0; f = 0; goto change_again
		:: skip
		fi
	}
change_end:
	atomic { inv = 0 }
change_unlocked:
	atomic { chg = 0; users--; goto out }

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
	:: i < PAGES && in_file[i] ->
		f = folio[i];
		lock(locked[f]);
		atomic {
			assert(!upte[i]);
			ok = ref[f] == EXPECTED(f);
			done_to = LAST(f);
			i = f;
			do
			:: i <= done_to ->
				if
				/* A pin keeps the page as it is; put() does the rest. */
				:: level[i] == KERNEL && (ok || WRONG(W_CLOSE_BLIND)) -> uncount(i)
				:: else
				fi;
				pinnable[i] = 0;
				in_file[i] = 0;
				level[i] = NONE;
				if
				:: WRONG(W_CLOSE_DROPS) && HELD(i) -> state[i] = HOST; ref[f]--
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
			put(f)
		}
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
		get_page(i);
		if
		:: WRONG(W_TEAR_UNLOCKED)
		:: else -> lock(locked[f])
		fi;
		if
		:: WRONG(W_TEAR_STATE_FIRST) -> atomic { state[i] = HOST; locked[f] = 0 }; lock(locked[f])
		:: WRONG(W_TEAR_REF_FIRST) -> atomic { state[i] = HOST; locked[f] = 0; ref[f]--; put(f); others[f]-- }
		:: else
		fi;
		atomic {
			assert(!poisoned[i] || WRONG(W_TEAR_POISONED) || el2[i] != E_HOST);
			if
			:: poisoned[i] && !WRONG(W_TEAR_POISONED) -> ok = 0
			:: else ->
				assert(!poisoned[i]);
				el2_reclaim(i)
			fi
		}
		if
		:: WRONG(W_TEAR_REF_FIRST) -> goto tear_next
		:: else
		fi;
		atomic {
			if
			:: ok || WRONG(W_TEAR_FREES_FAILED) ->
				state[i] = HOST; ref[f]--; assert(ref[f] > 0)
			:: else -> state[i] = LEAKED
			fi
		}
		if
		:: WRONG(W_TEAR_UNLOCKED)
		:: else -> unlock(locked[f])
		fi;
		put_page(f);
tear_next:
		i++
	:: i < PAGES && !HELD(i) -> i++
	:: i >= PAGES -> break
	od;
	atomic { torn = 1; goto out };

	/* An attacker in the host, who calls EL2 as he likes. */
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
/* And it is at NONE. */
#define AT_NONE(p)	(el2[p] != E_GUEST || !in_file[p] || level[p] == NONE)
/* It is charged, and not free. */
#define KEPT(p)		(el2[p] == E_HOST || charged[p])
/* Its file has it at its index: KVM finds the page of a request by that. */
#define IN_PLACE(p)	(el2[p] == E_HOST || in_file[p] || !open)
/* The library's state equals EL2's while no actor holds the page's lock. */
#define AGREED(p)	(locked[folio[p]] || inv || state[p] == LEAKED || state[p] == el2[p])
/* All pages of a folio have one level. */
#define ONE_LEVEL(p)	(!WHOLE || inv || moving[0] || moving[1] || closing || level[0] == level[1])
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
		assert(torn && !inv && !chg && inv_shared == 0 && users == 0);
		do
		:: i < PAGES ->
			assert(!locked[i] && others[i] == 0 && pins[i] == 0 && dmrefs[i] == 0 && !in_file[i]);
			if
			:: state[i] == LEAKED -> assert(ref[folio[i]] > 0 && charged[i])
			/* A folio is leaked as it is. */
			:: WHOLE && state[i] == HOST && state[1 - i] == LEAKED -> assert(ref[0] == 1 && !present[i])
			:: poisoned[i] && state[i] == HOST && !(WHOLE && state[1 - i] == LEAKED) -> assert(ref[folio[i]] == 0)
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
