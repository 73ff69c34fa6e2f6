// SPDX-License-Identifier: GPL-2.0-only
#include <string.h>

#include "guestmem.h"
#include "message.h"
#include "statistics.h"
#include "vm.h"

static void print_counters(const struct memory *memory)
{
	struct guestmem_counters c;
	int ret;

	if (memory->fd < 0)
		return;
	ret = guestmem_read_counters(memory->fd, &c);
	if (ret) {
		say("warning: cannot read the counters of the guest_memfd: %s", strerror(-ret));
		return;
	}
	say("size=%llu", (unsigned long long)c.size);
	say("flags=0x%llx", (unsigned long long)c.flags);
	say("populated=%llu", (unsigned long long)c.populated);
	say("blocks=%llu", (unsigned long long)c.blocks);
	say("hidden=%llu", (unsigned long long)c.hidden);
	say("referenced=%llu", (unsigned long long)c.referenced);
	say("put-pending=%llu", (unsigned long long)c.put_pending);
	say("left-referenced=%llu", (unsigned long long)c.left_referenced);
	if (c.has & GUESTMEM_HAS_DONATED)
		say("donated=%llu", (unsigned long long)c.donated);
	if (c.has & GUESTMEM_HAS_SHARED)
		say("shared=%llu", (unsigned long long)c.shared);
	say("level-none=%llu", (unsigned long long)c.level_none);
	say("level-user=%llu", (unsigned long long)c.level_user);
	say("level-kernel=%llu", (unsigned long long)c.level_kernel);
}

static void print_conversions(struct vm *vm)
{
	unsigned long long granted = atomic_load(&vm->conversions.granted);
	unsigned long long refused = atomic_load(&vm->conversions.refused);

	if (vm->memory.kind != MEMORY_GUEST_CONTROLLED)
		return;
	say("conversions=%llu", granted + refused);
	say("conversions-granted=%llu", granted);
	say("conversions-refused=%llu", refused);
}

void statistics_print(struct vm *vm, uint64_t start_ms)
{
	unsigned long long exits = 0;

	for (unsigned int i = 0; i < vm->nr_cpus; i++)
		exits += atomic_load(&vm->vcpus[i].exits);
	say("memory=%s", memory_kind_name(vm->memory.kind));
	say("vcpus=%u", vm->nr_cpus);
	say("exits=%llu", exits);
	say("run-ms=%llu", (unsigned long long)(console_now_ms() - start_ms));
	if (vm->console.mark_ms)
		say("mark-ms=%llu", (unsigned long long)(vm->console.mark_ms - start_ms));
	print_conversions(vm);
	print_counters(&vm->memory);
}
