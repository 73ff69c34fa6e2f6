// SPDX-License-Identifier: GPL-2.0-only
/*
 * This file defines the tracepoints, because no other file is built in every
 * configuration that uses one: memfd_secret() needs only direct_map.c, and
 * direct_map.c is not built if the architecture cannot change its direct map.
 */

#define CREATE_TRACE_POINTS
#include <trace/events/guest_memfd.h>
