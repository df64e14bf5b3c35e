/* SPDX-License-Identifier: MIT */
#ifndef TRI_BASE_QUOTA_H
#define TRI_BASE_QUOTA_H

/* How much of a machine's CPU time this process may have in the long run: what its control group and those above it allow, version 1
 * (cpu.cfs_quota_us) or 2 (cpu.max), as containers and service managers set it. In cores, so 0.25 is 2.5 ms of each 10; 0: no limit. */
double tri_quota_cores(void);

/* The same of another list of mounts and of groups than the kernel's own for this process (/proc/self/mounts, /proc/self/cgroup). */
double tri_quota_cores_of(const char *mounts, const char *groups);

#endif
