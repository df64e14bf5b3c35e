/* SPDX-License-Identifier: MIT */
#ifndef TRI_PROTO_KEYS_H
#define TRI_PROTO_KEYS_H
#include "proto/codec.h"

/* Curve25519 keys in a folder, as text (Z85, 40 characters):
 *   secret.key       0600: "secret <Z85>" and "public <Z85>"; refused when group or others may read it
 *   public.key       "<Z85> <name>": what the owner of a coordinator adds to its allow-list
 *   coordinator.key  "<Z85>": the coordinator that this worker or client trusts
 *   allowed.keys     on a coordinator, one a line: "<Z85> worker|client|admin <name>"; a line that begins with '#' is a
 *                    comment (a Z85 key never does). Names have no control characters and are not empty. */

typedef struct tri_keypair {
  uint8_t public_key[TRI_KEY_BYTES], secret_key[TRI_KEY_BYTES];
  char name[TRI_MAX_NAME];
} tri_keypair;

typedef enum tri_role { TRI_ROLE_NONE, TRI_ROLE_WORKER, TRI_ROLE_CLIENT, TRI_ROLE_ADMIN } tri_role;

typedef struct tri_allowed {
  uint8_t key[TRI_KEY_BYTES];
  tri_role role;
  char name[TRI_MAX_NAME];
} tri_allowed;

typedef struct tri_allow_list {
  tri_allowed *items;
  size_t count;
} tri_allow_list;

enum { TRI_KEY_TEXT = 41 }; /* Z85 with the NUL */

TRI_MUST_CHECK tri_status tri_keys_generate(tri_keypair *out, const char *name, tri_error *err);
/* Creates the folder and those above it (0700) if need be; refuses to overwrite a secret.key that is there. */
TRI_MUST_CHECK tri_status tri_keys_save(const tri_keypair *pair, const char *dir, tri_error *err);
TRI_MUST_CHECK tri_status tri_keys_load(tri_keypair *out, const char *dir, tri_error *err);
/* Erase the secret from memory. */
void tri_keys_wipe(tri_keypair *pair);
TRI_MUST_CHECK tri_status tri_keys_load_coordinator(uint8_t key[TRI_KEY_BYTES], const char *dir, tri_error *err);
TRI_MUST_CHECK tri_status tri_keys_save_coordinator(const uint8_t key[TRI_KEY_BYTES], const char *dir, tri_error *err);
/* A missing file is an empty list. A malformed line or a key given twice is an error with the line's number. */
TRI_MUST_CHECK tri_status tri_keys_load_allowed(tri_allow_list *out, const char *dir, tri_error *err);
/* The same over bytes; a list in *out is not freed first. */
TRI_MUST_CHECK tri_status tri_keys_parse_allowed(tri_allow_list *out, const uint8_t *bytes, size_t len, tri_error *err);
/* Append one line, atomically. TRI_E_INVALID when the key is on the list already or the name is not fit for it. */
TRI_MUST_CHECK tri_status tri_keys_add_allowed(const tri_allowed *item, const char *dir, tri_error *err);
void tri_keys_free_allowed(tri_allow_list *list);
/* NULL when the key is not on the list. Compared in constant time. */
const tri_allowed *tri_keys_find(const tri_allow_list *list, const uint8_t key[TRI_KEY_BYTES]);
void tri_keys_text(const uint8_t key[TRI_KEY_BYTES], char text[TRI_KEY_TEXT]);
TRI_MUST_CHECK tri_status tri_keys_parse(const char *text, uint8_t key[TRI_KEY_BYTES]);
const char *tri_keys_role_name(tri_role role);

#endif
