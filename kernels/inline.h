/* SPDX-License-Identifier: MIT */
#ifndef TRI_KERNELS_INLINE_H
#define TRI_KERNELS_INLINE_H

/* A kernel's body is an INLINE function of a constant row count, whose loops over rows UNROLL: only then do arrays of
 * accumulators become registers. UNROLL stands before a loop of at most 24 rounds, a constant number. */
#define INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 24")
#endif

#endif
