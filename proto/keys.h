/* SPDX-License-Identifier: MIT */
#ifndef TRI_PROTO_KEYS_H
#define TRI_PROTO_KEYS_H
#include <limits.h>
#include "proto/codec.h"

/* Curve25519 keys in a folder, as text (Z85, 40 characters):
 *   secret.key       0600: "secret <Z85>" and "public <Z85>"; refused when group or others may read it
 *   public.key       "<Z85> <name>": what the owner of a coordinator adds to its allow-list
 *   coordinator.key  "<Z85>" or "<Z85> tcp://HOST:PORT": the coordinator that this worker or client trusts, and where it was last
 *   allowed.keys     on a coordinator, one a line: "<Z85> worker|client|admin <name>"; a line that begins with '#' is a
 *                    comment (a Z85 key never does). Names have no control characters and are not empty.
 * Neither the folder nor the list may be writable by group or others. */

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
/* Write the pair's name to public.key, after save. */
TRI_MUST_CHECK tri_status tri_keys_save_name(const tri_keypair *pair, const char *dir, tri_error *err);
/* Erase the secret from memory. */
void tri_keys_wipe(tri_keypair *pair);
TRI_MUST_CHECK tri_status tri_keys_load_coordinator(uint8_t key[TRI_KEY_BYTES], const char *dir, tri_error *err);
/* Where it was; empty when the file does not say. */
TRI_MUST_CHECK tri_status tri_keys_load_endpoint(char endpoint[TRI_MAX_ENDPOINT], const char *dir, tri_error *err);
/* endpoint NULL: not known */
TRI_MUST_CHECK tri_status tri_keys_save_coordinator(const uint8_t key[TRI_KEY_BYTES], const char *endpoint, const char *dir,
                                                    tri_error *err);
/* The folder that a program takes when it is not told one: $XDG_CONFIG_HOME/trireme/KIND, else ~/.config/trireme/KIND; kinds are
 * "coordinator", "worker" and "client". TRI_E_INVALID without a home. */
TRI_MUST_CHECK tri_status tri_keys_default_dir(char out[PATH_MAX], const char *kind, tri_error *err);

/* Where the coordinator of this folder listens, or did when it last ran, in the file "listening": for who makes tokens for it. enrol
 * is empty where it takes none. TRI_E_NOT_FOUND: it has never run. */
TRI_MUST_CHECK tri_status tri_keys_save_listening(const char *control, const char *enrol, const char *dir, tri_error *err);
TRI_MUST_CHECK tri_status tri_keys_load_listening(char control[TRI_MAX_ENDPOINT], char enrol[TRI_MAX_ENDPOINT], const char *dir,
                                                  tri_error *err);

/* ---- The allow-list. Programs that change it take turns. ---- */

/* A missing file is an empty list. A malformed line or a key given twice is an error with the line's number. */
TRI_MUST_CHECK tri_status tri_keys_load_allowed(tri_allow_list *out, const char *dir, tri_error *err);
/* The same over bytes; a list in *out is not freed first. */
TRI_MUST_CHECK tri_status tri_keys_parse_allowed(tri_allow_list *out, const uint8_t *bytes, size_t len, tri_error *err);
/* Append one line, atomically. TRI_E_INVALID when the key is on the list already or the name is not fit for it. */
TRI_MUST_CHECK tri_status tri_keys_add_allowed(const tri_allowed *item, const char *dir, tri_error *err);
/* The same under a name that nobody on the list has: item->name becomes NAME-2, NAME-3 … where NAME is taken. */
TRI_MUST_CHECK tri_status tri_keys_admit(tri_allowed *item, const char *dir, tri_error *err);
/* Take out, or give another name to, the one line that a name or a key's text means; *removed (what it was) is plain data.
 * TRI_E_NOT_FOUND: none; TRI_E_INVALID: several, or the new name is taken or not fit. */
TRI_MUST_CHECK tri_status tri_keys_remove_allowed(tri_allowed *removed, const char *name_or_key, const char *dir, tri_error *err);
TRI_MUST_CHECK tri_status tri_keys_rename_allowed(const char *name_or_key, const char *name, const char *dir, tri_error *err);
void tri_keys_free_allowed(tri_allow_list *list);
/* NULL when the key is not on the list. Compared in constant time. */
const tri_allowed *tri_keys_find(const tri_allow_list *list, const uint8_t key[TRI_KEY_BYTES]);
void tri_keys_text(const uint8_t key[TRI_KEY_BYTES], char text[TRI_KEY_TEXT]);
TRI_MUST_CHECK tri_status tri_keys_parse(const char *text, uint8_t key[TRI_KEY_BYTES]);
const char *tri_keys_role_name(tri_role role);
TRI_MUST_CHECK tri_status tri_keys_parse_role(tri_role *out, const char *name, tri_error *err);

#endif
