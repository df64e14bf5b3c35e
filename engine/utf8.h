/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_UTF8_H
#define TRI_ENGINE_UTF8_H
#include <stddef.h>
#include <stdint.h>

/* What stands at the start of `len` >= 1 bytes, by the well-formed sequences of Unicode's table 3-7:
 *   n > 0   a whole character of n bytes
 *   0       the start of a character that may become whole with more bytes
 *   n < 0   -n bytes that can never be part of a character: the "maximal subpart" that a decoder replaces by
 * one U+FFFD (WHATWG Encoding, Python's 'replace') */
static inline int tri_utf8_next(const uint8_t *s, size_t len) {
  uint8_t b = s[0];
  if (b < 0x80) return 1;
  int need = b < 0xc2 ? 0 : b < 0xe0 ? 2 : b < 0xf0 ? 3 : b < 0xf5 ? 4 : 0;
  if (!need) return -1;
  for (int i = 1; i < need; i++) {
    if ((size_t)i == len) return 0;
    uint8_t low = 0x80, high = 0xbf;
    if (i == 1 && b == 0xe0) low = 0xa0;  /* shorter forms exist */
    if (i == 1 && b == 0xed) high = 0x9f; /* surrogates */
    if (i == 1 && b == 0xf0) low = 0x90;
    if (i == 1 && b == 0xf4) high = 0x8f; /* beyond U+10FFFF */
    if (s[i] < low || s[i] > high) return -i;
  }
  return need;
}

#endif
