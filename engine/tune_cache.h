/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_TUNE_CACHE_H
#define TRI_ENGINE_TUNE_CACHE_H
#include "engine/tune.h"

/* Timings kept between runs, in $XDG_CACHE_HOME/trireme or ~/.cache/trireme: one JSON file for each CPU model, kernel level, thread
 * count and program version. The lock makes several workers that start at once on one machine take turns, so that they don't
 * disturb each other's timing and all but the first find it done. */

typedef struct tri_tune_cache tri_tune_cache;

/* NULL when there is no cache to be had (no home, a read-only disk); the other functions then do nothing. Waits for the lock. */
tri_tune_cache *tri_tune_cache_lock(const tri_kernels *k, int threads);
/* Fill the entries of t, whose shapes are set; false (t unchanged) unless all of them are there and make sense. */
bool tri_tune_cache_read(tri_tune_cache *c, tri_tune *t);
/* Add t's entries to the file. A failure is logged and otherwise ignored. */
void tri_tune_cache_write(tri_tune_cache *c, const tri_tune *t);
void tri_tune_cache_unlock(tri_tune_cache **c);

#endif
