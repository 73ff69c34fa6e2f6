# SPDX-License-Identifier: GPL-2.0-only
"""The configurations of docs/model/pkvm.pml.

docs/model/README.md says how a configuration is written: "w/dd S0U0 T1 set:0=U hole:01".
"""

import re
from itertools import combinations_with_replacement

# A line for each result: the world and the vCPUs, and with what of the host. PAIRS is all pairs of
# what the host does, ONES is each alone.
GROUPS = """
s/dN S0U0 - PAIRS
s/kN U0S0 - PAIRS
s/-N T0S0 - PAIRS
w/dN T1S0 - PAIRS
s/dd S0U0 T0U0 ONES
s/sN U0S0 T1T0 ONES
s/kd U0S0 S0S1 ONES
w/NN T0S0 T0T1 ONES
w/dN S0U0 T1S1 ONES
s/dN S0U0 - set:0=K proc:0 close
s/kN U0T1 - set:01=N proc:0 dmref:0
w/dN T1S0 - hole:1 ref:0 tear
w/dd S0U0 S1U1 access:1
w/dN T1S0 - hole:1 access:1
s/dd T0S0U0 S0T1U1 attack
s/sd U0T0S0 U0T0S1 attack
s/-s T0S0T0 U1T1S1 attack
s/-- T0S0U0 T0T1T0 attack
""".strip().splitlines()

# Each wrong step, and a small configuration that notices it.
NOTICES = """
donate-raised s/U- T0 - proc:0
donate-moving s/NN T0 - set:0=K
donate-blind s/N- T0 T0
donate-dmref s/N- T0 - dmref:0
donate-no-inv s/N- T0 - set:0=U proc:0
donate-ref-late w/NN T1 - hole:0
donate-no-undo s/N- T0 -
donate-level-early s/N- T0 - set:0=U proc:0
donate-hole w/NN T0 - hole:0 ref:1
donate-no-freeze s/N- T0 - access:0
donate-set-late s/N- T0 - access:0
donate-no-unmap s/U- T0 - proc:0 set:0=N
donate-undo-late s/N- T0 T0
access-blind s/d- - - access:0
access-early s/N- T0 - access:0
dmref-blind s/d- - - dmref:0
share-early s/d- S0 - proc:0
share-anyway s/d- S0 -
share-left s/d- S0 - close
share-whole w/dd S0 -
no-change-lock s/k- U0 - set:0=U
unshare-no-inv s/s- U0 - proc:0
unshare-zap-once s/s- U0 - proc:0
unshare-held s/k- U0 - proc:0
unshare-dmrefs s/s- U0 - dmref:0
unshare-first s/k- U0 -
unshare-no-undo s/s- U0 -
unshare-not-raised s/k- U0 -
unshare-left s/k- U0 - proc:0 close
unshare-set-late s/s- U0 - access:0
unshare-level-late s/s- U0 - proc:0
split-ref w/dd S1 -
split-state w/dd S0 -
split-blind w/dd S0 -
split-unlocked w/dN - - set:1=U tear
split-word-late w/dd S0 - access:1
raise-blind s/d- - - set:0=U
raise-early s/N- T0 - set:0=U
lower-blind s/k- - - set:0=N
hole-blind s/d- - - hole:0
hole-count-late s/N- T0 - hole:0
close-drops s/d- - - close
close-blind s/k- - - proc:0 close
tear-state-first s/d- - - tear hole:0
tear-ref-first s/d- - - close tear
tear-frees-failed s/d- - -
tear-poisoned s/d- - - poison:0
tear-unlocked w/dN - - set:1=U tear
tear-running s/s- U0 - tear
el2-no-request s/dd T0S1 - attack
el2-other-page s/dd S0T0 - attack
el2-other-vcpu s/dd S0T0 T0 attack
el2-twice s/d- S0T0 U0 attack
el2-keep s/d- S0T0 - attack
el2-early s/d- S0T0 - attack
el2-run-dying s/d- T0T0 - attack
el2-reclaim-live s/d- T0T0 - attack
el2-forget-poison s/d- T0T0 - attack
el2-replace s/d- T0T0 - attack
el2-uncleared s/d- T0 - attack
"""

HOST = "set:0=N set:0=U set:0=K set:01=U hole:0 hole:01 proc:0 access:0 dmref:0 ref:0 poison:0 close tear".split()
OPERATIONS = "idle set hole proc access dmref ref close tear poison attack".split()
STATES = "-NUKdsk"

# A whole folio has one level.
WORLD = re.compile(r"s/[-NUKdsk][-NUKdsk]|w/([Nd][Nd]|UU|KK)")
VCPU = re.compile(r"-|([TSU][01]){1,3}")
OPERATION = re.compile(r"(set):(0|1|01)=([NUK])|(hole):(0|1|01)|(proc|access|dmref|ref|poison):([01])|"
                       r"close|tear|attack")


def configurations(group):
    *base, host = group.split(" ", 3)
    if host in ("ONES", "PAIRS"):
        chosen = [(operation,) for operation in HOST]
        if host == "PAIRS":
            chosen = combinations_with_replacement(HOST, 2)
        return [" ".join((*base, *operations)) for operations in chosen]
    return [group]


def encode_vcpu(word):
    if not VCPU.fullmatch(word):
        raise ValueError
    word = word.replace("-", "").ljust(6)
    return [number for i in (0, 2, 4)
            for number in ("-TSU".index(word[i].replace(" ", "-")), word[i + 1].replace(" ", "0"))]


def encode_operation(word):
    if not OPERATION.fullmatch(word):
        raise ValueError
    name, pages, level = (re.split("[:=]", word) + ["", ""])[:3]
    pages = pages or "0"
    return [OPERATIONS.index(name), pages[0], pages[-1], "NUK".index(level or "N")]


def encode(configuration):
    """The numbers that the model wants. Raises ValueError."""
    words = configuration.split()
    if not 3 <= len(words) <= 6 or not WORLD.fullmatch(words[0]):
        raise ValueError
    numbers = [int("attack" in words[3:]), int(words[0][0] == "w"), STATES.index(words[0][2]),
               STATES.index(words[0][3]), *encode_vcpu(words[1]), *encode_vcpu(words[2])]
    for word in words[3:]:
        numbers += encode_operation(word)
    return " ".join(map(str, numbers + [0] * 4 * (6 - len(words))))
