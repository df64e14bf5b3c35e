/* SPDX-License-Identifier: MIT */
#ifndef TRI_BASE_TOML_H
#define TRI_BASE_TOML_H
#include <stddef.h>
#include "base/status.h"

/* Configuration files in a part of TOML 1.0 (toml.io): tables, arrays of tables, and as values strings of one line ("…" and
 * '…'), decimal integers of 64 bits, floats, booleans, and arrays of these. Every file that is taken means what TOML says; dates,
 * strings over several lines, inline tables, dotted keys outside headers, inf, nan and integers of other bases are refused by
 * name, and so is a table's header that comes after those of its sub-tables. */

typedef struct json_t json_t;

enum { TRI_TOML_BYTES = 1 << 20, TRI_TOML_DEPTH = 16 }; /* of a file; of arrays, and of a header's parts */

/* A document of `len` bytes as a jansson object in the order of the text, the caller's to json_decref: a table is an object, an
 * array of tables an array of objects. `name` stands before errors, which give the line: TRI_E_FORMAT, TRI_E_UNSUPPORTED,
 * TRI_E_LIMIT, TRI_E_NOMEM. */
TRI_MUST_CHECK tri_status tri_toml_parse(json_t **out, const char *text, size_t len, const char *name, tri_error *err);
/* The same of a file; also TRI_E_IO and TRI_E_NOT_FOUND. */
TRI_MUST_CHECK tri_status tri_toml_read(json_t **out, const char *path, tri_error *err);

#endif
