# SPDX-License-Identifier: GPL-2.0-only
"""The configurations of docs/model/access.pml.

A configuration is the two pages and what up to three actors do: "Km U- fast:0 set:01=U".
Page: its level N, U or K; - not there, + there, m there and mapped by a process.
"""

import re
from itertools import combinations_with_replacement, product

# Each wrong order, and a small configuration that notices it.
NOTICES = """
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
"""

OPERATIONS = "idle fault unmap fast slow guest access dmref set punch reap other close".split()
ONE_PAGE = ("fault:0 unmap:0 fast:0 slow:0 guest:0 access:0 dmref:0 set:0=N set:0=U set:0=K punch:0 "
            "reap other close").split()
WIDE = "set:01=N set:01=U set:01=K punch:01".split()
NARROW = "fault:0 fault:1 fast:0 slow:1 dmref:0 set:01=K set:1=N punch:1 close".split()
NARROW_ALL = ("fast:1 slow:0 guest:0 access:0 dmref:1 set:0=N set:0=K set:01=N set:01=U punch:0 "
              "punch:01").split()
TWO_PAGES = ("Um Km", "Km Um", "N+ N+")
TWO_PAGES_ALL = ("N+ N-", "U- U-", "Um Um", "K- K-", "K+ Km", "Km Km", "N+ Km", "Km N+")
# These make sense once.
ONCE = re.compile("other|reap|close")

PAGE = re.compile("([NUK])([-+m])")
OPERATION = re.compile("([a-z]+)(?::([01]*)(?:=([NUK]))?)?")


def is_of(configuration):
    return re.match("[NUK][-+m] ", configuration)


def describe(world):
    return f"pages at {world.replace(' ', ', ')}"


def sensible(page, operations):
    """Does every operation have something to do, when the first page is PAGE?"""
    level, state = page

    def has(*names):
        return any(operation.startswith(name) for operation in operations for name in names)

    changes = sum(operation.startswith("set") for operation in operations)
    if (has("fault", "fast", "slow", "unmap") and level == "N" and
            not has("set:0=U", "set:0=K", "set:01=U", "set:01=K")):
        return False
    if has("fast", "slow", "unmap") and state != "m" and not has("fault"):
        return False
    if has("access") and level != "N" and not has("set:0=N", "set:01=N"):
        return False
    if has("other", "reap") and not has("punch", "close"):
        return False
    if state == "-" and not has("fault", "guest", "access", "dmref"):
        return False
    return not has(f"set:0={level}", f"set:01={level}") or changes >= 2


def sets(operations, count):
    """All choices of COUNT operations, without those that are there twice and make sense once."""
    for chosen in combinations_with_replacement(operations, count):
        if not any(a == b and ONCE.match(a) for a, b in zip(chosen, chosen[1:])):
            yield chosen


def candidates(every):
    for page in "N- N+ U- U+ Um K- K+ Km".split():
        for operations in sets(ONE_PAGE, 3):
            yield f"{page} {page[0]}-", operations
    # Two pages: something with both at once, and others.
    worlds = TWO_PAGES + (TWO_PAGES_ALL if every else ())
    narrow = NARROW + (NARROW_ALL if every else [])
    for world, wide in product(worlds, WIDE):
        for others in sets(narrow, 2):
            yield world, (wide, *others)


def configurations(every):
    """The configurations that are checked; with EVERY, all that make sense."""
    for world, operations in candidates(every):
        if sensible(world[:2], operations):
            yield " ".join((world, *operations))


def encode(configuration):
    """The numbers that the model wants. Raises ValueError."""
    words = configuration.split()
    if not 2 <= len(words) <= 5:
        raise ValueError
    numbers = []
    for word in words[:2]:
        match = PAGE.fullmatch(word)
        if not match:
            raise ValueError
        numbers += ["NUK".index(match[1]), "-+m".index(match[2])]
    for word in words[2:] + ["idle"] * (5 - len(words)):
        match = OPERATION.fullmatch("close:01" if word == "close" else word)
        if not match or match[1] not in OPERATIONS:
            raise ValueError
        pages = match[2] or "0"
        numbers += [OPERATIONS.index(match[1]), pages[0], pages[-1], "NUK".index(match[3] or "N")]
    return " ".join(map(str, numbers))
