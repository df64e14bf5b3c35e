/* SPDX-License-Identifier: MIT */
#include "base/units.h"

#include <stdio.h>

const char *tri_units_bytes(char out[TRI_UNITS_TEXT], double bytes) {
  if (bytes >= 1e9) snprintf(out, TRI_UNITS_TEXT, "%.2f GB", bytes / 1e9);
  else if (bytes >= 1e6) snprintf(out, TRI_UNITS_TEXT, "%.1f MB", bytes / 1e6);
  else if (bytes >= 1e3) snprintf(out, TRI_UNITS_TEXT, "%.1f kB", bytes / 1e3);
  else snprintf(out, TRI_UNITS_TEXT, "%.0f B", bytes);
  return out;
}
