/* SPDX-License-Identifier: GPL-2.0-only */
/* KVM's binary statistics of a VM or a vCPU. */
#ifndef BENCH_KVMSTATS_H
#define BENCH_KVMSTATS_H

#include <stdint.h>

/*
 * Look up one number in a file of statistics (from KVM_GET_STATS_FD).
 * Return: 0; -ENOENT when it has none of that name; -EPROTO when the file is
 * not understood.
 */
int kvmstats_read(int fd, const char *name, uint64_t *value);

/* The same of a VM's or vCPU's descriptor; ends the program when it fails. */
uint64_t kvmstat(int kvm_object, const char *name);

#endif
