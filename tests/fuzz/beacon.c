/* SPDX-License-Identifier: MIT */
/* A beacon's datagram: what is read is the same bytes when it is written down again. */
#include <stdlib.h>
#include "proto/beacon.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  tri_beacon b;
  uint8_t bytes[TRI_BEACON_BYTES];
  if (tri_beacon_decode(&b, data, size) != TRI_OK) return 0;
  tri_beacon_encode(&b, bytes);
  if (size != sizeof bytes || memcmp(bytes, data, size) != 0) abort();
  return 0;
}
