/* SPDX-License-Identifier: MIT */
#ifndef TRI_BASE_UNITS_H
#define TRI_BASE_UNITS_H

/* Amounts of bytes for people: "1.20 GB", "340.0 MB", "12.0 kB", "17 B", in powers of 1000, in every text, log and table. */

enum { TRI_UNITS_TEXT = 24 };

const char *tri_units_bytes(char out[TRI_UNITS_TEXT], double bytes);
/* The same as an argument of printf; valid until the end of the block. */
#define TRI_UNITS(bytes) tri_units_bytes((char[TRI_UNITS_TEXT]){0}, (double)(bytes))

#endif
