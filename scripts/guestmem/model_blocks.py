# SPDX-License-Identifier: GPL-2.0-only
"""The configurations of docs/model/blocks.pml.

A configuration is the two blocks, the cgroup's limit in pages and the pool's high watermark in
blocks, and what up to three actors do: "wb 4/1 hole:0 look:1". docs/model/README.md has the letters.
"""

import re
from itertools import combinations_with_replacement

# Each wrong order, and a small configuration that notices it.
NOTICES = """
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
"""

OPERATIONS = ("idle whole single refill hole level pin look dmref scrub retry shrink drain poison close "
              "other stale").split()
WORLDS = ("wb 4/1", "mb 4/1", "qb 4/1", "pb 4/1", "sb 4/1", "cb 4/1", "Cb 3/1", "gb 4/1", "lb 3/1",
          "tb 3/1", "pp 1/2", "wl 2/1", "lw 3/2", "cp 1/1")
ACTIONS = ("whole:0 single:1 single:2 refill hole:0 hole:01 level:1 pin:0 look:1 dmref:0 dmref:1 scrub "
           "retry:0 shrink drain poison:0 poison:1 close:0 other stale:20").split()
# In the first four worlds these by threes.
SOME = "whole:0 refill hole:0 look:1 dmref:1 scrub drain poison:0".split()
# These make sense once.
ONCE = re.compile("refill|drain|poison|close")

STATES = "bpwsmlcCqgt"
WORLD = re.compile(f"([{STATES}])([{STATES}]) ([0-4])/([0-2])")
OPERATION = re.compile("([a-z]+)(?::([0-3]{0,2}))?")


def describe(world):
    return f"blocks {world}"


def sensible(world, operations):
    """Does every operation have something to do?"""
    def has(*names):
        return any(operation.startswith(name) for operation in operations for name in names)

    if (world[0] not in "wsmcCg" and not has("whole", "single") and
            has("hole", "pin", "look", "dmref", "close", "retry")):
        return False
    return not has("retry") or world[0] == "m" or has("hole", "poison")


def configurations(every):
    """The configurations that are checked; with EVERY, all that make sense."""
    for number, world in enumerate(WORLDS):
        choices = list(combinations_with_replacement(ACTIONS, 2))
        if every or number < 4:
            choices += combinations_with_replacement(ACTIONS if every else SOME, 3)
        for operations in choices:
            twice = any(a == b and ONCE.match(a) for a, b in zip(operations, operations[1:]))
            if not twice and sensible(world, operations):
                yield " ".join((world, *operations))


def encode_operation(word):
    match = OPERATION.fullmatch(word)
    if not match or match[1] not in OPERATIONS:
        raise ValueError
    pages = match[2] or "0"
    first, last = int(pages[0]), int(pages[-1])
    # A range lies in one file, a closed file has an even index.
    if match[1] == "hole" and (last < first or first // 2 != last // 2):
        raise ValueError
    if match[1] in ("close", "retry") and first % 2:
        raise ValueError
    return [OPERATIONS.index(match[1]), first, last]


def encode(configuration):
    """The numbers that the model wants. Raises ValueError."""
    words = configuration.split()
    match = WORLD.fullmatch(" ".join(words[:2]))
    if not match or len(words) > 5:
        raise ValueError
    numbers = [STATES.index(match[1]), STATES.index(match[2]), match[3], match[4]]
    for word in words[2:] + ["idle"] * (5 - len(words)):
        numbers += encode_operation(word)
    return " ".join(map(str, numbers))
