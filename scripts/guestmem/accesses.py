# SPDX-License-Identifier: GPL-2.0-only
"""KVM's accesses to guest memory: those of its source, and those that docs/kvm-accesses.md lists."""

import re
from collections import Counter

from guestmem import command, csource

# Names by which an address in user space is had or used, and those of the functions that do it
# for others.
NAMES = (
    "(__)?(kvm_|kvm_vcpu_)?gfn_to_hva(_[a-z_]+)?", "hva_to_[a-z_]+", "hva_node", "hva_tree",
    "kvm_handle_hva_range", "userspace_addr", "uhva",
    "(__)?copy_(to|from)_user_(nofault|inatomic)", "__copy_(to|from)_user",
    "(__)?(get|put|clear)_user", "unsafe_(get|put)_user", "user_access_begin",
    "(__)?(unsafe_)?try_cmpxchg_user",
    "_ASM_EXTABLE_UA", "kvm_follow_pfn", "__kvm_faultin_pfn", "(__)?gfn_to_page",
    "kvm_prefetch_pages", "kvm_host_page_size", "kvm_setup_async_pf", "fixup_user_fault",
    "(get|pin)_user_pages?(_[a-z_]+)?", "access_process_vm", "(__)?kvm_(get|put)_guest",
    "(__)?kvm_(vcpu_)?(read|write|clear)_guest(_[a-z_]+)?", "(__)?kvm_vcpu_(un)?map(_[a-z]+)?",
    "(__)?kvm_gpc_(check|refresh|activate|activate_hva)",
    "kvm_gmem_(copy|get_user|(vcpu_)?put_user|try_cmpxchg|record|pv_read|pv_write|steal)_?[a-z_]*",
    "(__)?kvm_gmem_(user_disabled|read|write|cmpxchg)", "kvm_gmem_access_page",
    "kvm_gmem_(get_direct_map|map_host)", "(__)?kvm_gmem_(un)?map",
    "kvm_gmem_(reread|rewrite|(read|write|cmpxchg)_value)", "kvm_(read|write|cmpxchg)_user",
    "(read|write|cmpxchg)_file", "kvm_gmem_(read|write)_file",
)

# Further names in arch/arm64: KVM maintains caches and tags through the linear map, maps a guest's
# VNCR page in the fixmap, and pKVM has mappings of its own.
ARM64_NAMES = (
    # Macros of assembly that access user space, and the functions that have them.
    "_ASM_EXTABLE_UACCESS(_ERR)?(_ZERO)?", "uaccess_(enable_privileged|ttbr0_enable)",
    "__(lsui|lse|llsc)_swap_desc", "__kvm_at_swap_desc", "kvm_swap_s1_desc", "swap_guest_s2_desc",
    "kvm_read_s1_desc", "read_guest_s2_desc", "vgic_write_guest_lock",
    "vgic_its_(read|write)_entry_lock",
    # The user's mappings, and the pages that faults map.
    "kvm_faultin_guest_pfn", "kvm_gmem_get_pfn", "vma_lookup", "find_vma_intersection",
    "get_user_mapping_size", "fault_supports_stage2_huge_mapping", "transparent_hugepage_adjust",
    # Cache maintenance, and tags.
    "kvm_flush_dcache_to_poc", "(__)?(clean_dcache|invalidate_icache)_guest_page",
    "__apply_guest_page", "[di]cache_(clean|inval)_[a-z_]+", "(kvm|pkvm)_pgtable_stage2_flush",
    "mte_(clear_page_tags|copy_page_tags|copy_tags_(to|from)_user)", "sanitise_mte_tags",
    # Addresses in the linear map of the kernel or of EL2, and in their fixmaps.
    "kvm_pte_follow", "kvm_host_va", "__va", "pfn_to_kaddr", "page_address", "page_to_virt",
    "phys_to_virt", "kmap[a-z_]*", "hyp_phys_to_virt", "__hyp_va", "hyp_page_to_virt",
    "(__)?(set|clear)_fixmap(_[a-z]+)?", "__fix_to_virt", "vncr_fixmap",
    "this_cpu_reset_vncr_fixmap", "unmap_l1_vncr", "kvm_map_l1_vncr", "hyp_fix(map|block)_(un)?map",
    "fixmap_(map|clear)_slot", "hyp_poison_page",
)

# How often a function names one of these addresses says nothing.
NOT_COUNTED = re.compile(r".*(hva|addr|_node|_tree)")

FILES = ("virt/kvm/**/*.[ch]", "arch/x86/kvm/**/*.[ch]", "arch/arm64/kvm/**/*.[ch]",
         "arch/arm64/include/asm/kvm_*.h", "include/linux/kvm_host.h",
         "include/linux/kvm_gmem_access.h")

ANYWHERE = re.compile("|".join(NAMES))
ON_ARM64 = re.compile("|".join(NAMES + ARM64_NAMES))


def of_source(tree):
    """What the source in TREE has: sorted lines "file<TAB>function<TAB>names"."""
    names = {}
    for pattern in FILES:
        for path in tree.glob(pattern):
            file = str(path.relative_to(tree))
            wanted = ON_ARM64 if file.startswith("arch/arm64/") else ANYWHERE
            for (function, name), count in csource.uses(command.lines_of(path), wanted).items():
                if count > 1 and not NOT_COUNTED.fullmatch(name):
                    name += f"({count})"
                names.setdefault(f"{file}\t{function}", []).append(name)
    return [f"{key}\t{' '.join(sorted(names[key]))}" for key in sorted(names)]


def of_table(lines):
    """What the tables have, as of_source() writes it, and what is wrong with the tables themselves.

    A table has rows "| `function` | `name` `name` | way | remark |" below the heading of its file.
    """
    rows, wrong, ways, used = [], [], {}, set()
    in_ways, file = False, ""
    for line in lines:
        if line.startswith("## "):
            in_ways = line.startswith("## Ways")
        elif line.startswith("### `"):
            file = line.split("`")[1]
        cells = re.split(r" *[|] *", line.replace("`", ""))
        if in_ways and len(cells) >= 5 and cells[1].startswith("**"):
            ways[cells[1].replace("*", "")] = True
        elif line.startswith("| `") and file:
            function, names, way = (cells + [""] * 3)[1:4]
            rows.append(f"{file}\t{function}\t{names}")
            used.add(way)
            if way not in ways:
                wrong.append(f'row of {function}: "{way}" is none of the ways')
    wrong += [f'no row has the way "{way}"' for way in ways if way not in used]
    return sorted(rows), wrong


def differences(source, table, wrong):
    """What is wrong with the tables, a line each, when the source has SOURCE."""
    times = Counter(table)
    return (wrong +
            [f"there twice: {row}" for row in sorted(times) if times[row] > 1] +
            [f"in the source, not in the table: {row}" for row in source if row not in times] +
            [f"in the table, not in the source: {row}" for row in sorted(set(times) - set(source))])
