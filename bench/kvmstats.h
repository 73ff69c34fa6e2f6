/* SPDX-License-Identifier: GPL-2.0-only */
/* Reads KVM's binary statistics of a VM or a vCPU. */
#ifndef BENCH_KVMSTATS_H
#define BENCH_KVMSTATS_H

#include <stdint.h>

/*
 * Looks up one number in a file of statistics (from KVM_GET_STATS_FD).
 * Return: 0; -ENOENT if the file has none of that name; -EPROTO if the file is
 * malformed.
 */
int kvmstats_read(int fd, const char *name, uint64_t *value);

/* Does so for the descriptor of a VM or vCPU; ends the program if it fails. */
uint64_t kvmstat(int kvm_object, const char *name);

#endif
