// SPDX-License-Identifier: GPL-2.0-only
/*
 * The tracepoints are defined in a file of their own, because no other file is
 * built in every configuration that uses one: memfd_secret() needs direct_map.c
 * alone, and direct_map.c is not built where the direct map cannot be changed.
 */

#define CREATE_TRACE_POINTS
#include <trace/events/guest_memfd.h>
