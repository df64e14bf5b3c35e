/* SPDX-License-Identifier: MIT */
#ifndef TRI_KERNELS_PAIRS_H
#define TRI_KERNELS_PAIRS_H
#include <stdint.h>

/* Kernel-internal: two weights in a nibble, as TL1 and the tail of TL2 have them: 3 * w[0] + w[1] + 4, 0 to 8. */

static inline uint8_t tri_pairs_byte(const int8_t *w) {
  return (uint8_t)((3 * w[0] + w[1] + 4) << 4 | (3 * w[2] + w[3] + 4));
}

/* The four weights of a byte; returns nonzero if a nibble is above 8 (its weights then read as 0). */
static inline int tri_pairs_trits(uint8_t byte, int8_t *out) {
  static const int8_t pair[16][2] = {{-1, -1}, {-1, 0}, {-1, 1}, {0, -1}, {0, 0}, {0, 1}, {1, -1}, {1, 0}, {1, 1}};
  const int8_t *high = pair[byte >> 4], *low = pair[byte & 15];
  out[0] = high[0], out[1] = high[1], out[2] = low[0], out[3] = low[1];
  return byte >> 4 > 8 || (byte & 15) > 8;
}

#endif
