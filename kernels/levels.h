/* SPDX-License-Identifier: MIT */
#ifndef TRI_KERNELS_LEVELS_H
#define TRI_KERNELS_LEVELS_H
#include "kernels/kernels.h"

/* Inside kernels/ and its tests: which tables this build holds. A table is defined in its ISA's float file, where the
 * float ops are static; the integer ops come from the ISA's other files. */

extern const tri_kernels tri_float_portable_table;

/* Provided by the processor family's own file (x86/levels_x86.c, arm/levels_arm.c, portable/levels_none.c).
 * The table of `isa`; NULL if the family has no such level. Whether the CPU can run it is another question. */
const tri_kernels *tri_levels_table(tri_isa isa);
/* Tables that are never picked but let tests reach code that this CPU could otherwise not run: the n-th one that
 * the CPU can run, NULL beyond the last. */
const tri_kernels *tri_levels_extra(int n);

#endif
