/* SPDX-License-Identifier: MIT */
/* How levels that take four activation rows at a time go through a panel: each row count of a group has its own loop, so that
 * its accumulators are registers. The including file defines, before it,
 *   GROUP, which is 4, LINE and LINES (bytes of a line, lines in a chunk) and
 *   one_block(w, chunks, q, rows, n, y, ldy): one row block against n <= GROUP rows from q on, of a panel of `rows`. */
#ifndef TRI_KERNELS_I2S_GROUPS_H
#define TRI_KERNELS_I2S_GROUPS_H
#include "kernels/kernels.h"

_Static_assert(GROUP == 4, "some_rows has a case for each row count of a group");

/* One row block against all rows of a panel. */
static void some_rows(const uint8_t *w, size_t chunks, const int8_t *panel, size_t rows, int32_t *y, size_t ldy) {
  for (size_t r = 0; r < rows; r += GROUP) {
    const int8_t *q = panel + 4 * r;
    int32_t *out = y + r * ldy;
    switch (rows - r) {
    case 1: one_block(w, chunks, q, rows, 1, out, ldy); break;
    case 2: one_block(w, chunks, q, rows, 2, out, ldy); break;
    case 3: one_block(w, chunks, q, rows, 3, out, ldy); break;
    default: one_block(w, chunks, q, rows, 4, out, ldy);
    }
  }
}

#endif
