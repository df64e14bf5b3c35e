/* SPDX-License-Identifier: MIT */
#ifndef TRI_CLI_KEYS_H
#define TRI_CLI_KEYS_H
#include "proto/keys.h"

/* What the commands about keys share. */

/* "<Z85> <name>", the form of public.key; the name may be missing. */
TRI_MUST_CHECK tri_status tri_cli_read_public(const char *path, uint8_t key[TRI_KEY_BYTES], char name[TRI_MAX_NAME], tri_error *err);
/* From now on the key folder trusts the coordinator of this public.key; says so. */
TRI_MUST_CHECK tri_status tri_cli_trust(const char *public_path, const char *dir, tri_error *err);

#endif
