/* SPDX-License-Identifier: MIT */
#ifndef TRI_CLI_BENCH_H
#define TRI_CLI_BENCH_H
#include "cli/cli.h"

/* The machine's limits, as every share in `trireme bench` is taken of them. */

enum { TRI_BENCH_READ_BYTES = 512 << 20 };

/* Read bandwidth in GB/s: all threads sum a buffer of TRI_BENCH_READ_BYTES that no cache holds. */
double tri_bench_read(tri_pool *pool, const tri_mem *buffer);
/* A filled buffer for it; TRI_E_NOMEM. */
TRI_MUST_CHECK tri_status tri_bench_read_buffer(tri_mem *out, tri_error *err);
/* Integer arithmetic in GOP/s (a multiply and an add are two): the level's own ternary product on operands in level-1 cache. */
double tri_bench_arithmetic(tri_pool *pool, const tri_kernels *k);

/* `trireme bench --kernels`: a line for each form, shape and row count. model_path may be NULL: shapes of well-known models. */
TRI_MUST_CHECK tri_status tri_bench_kernels(const char *model_path, const tri_kernels *k, int threads, int repeats, bool as_json,
                                            tri_error *err);

#endif
