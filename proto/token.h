/* SPDX-License-Identifier: MIT */
#ifndef TRI_PROTO_TOKEN_H
#define TRI_PROTO_TOKEN_H
#include "proto/keys.h"

/* Tokens by which a machine that nobody knows yet enrols itself (enrol.h). A token is one line of text, "tri1:" and base64url
 * of: hosts (a byte for the length, then text, with commas between several), the ports of the control and the enrolment link
 * (16 bits each, little-endian), the coordinator's public key (32), the token's id (8), its secret (16), and the first 4 bytes
 * of BLAKE2b over all of that, by which a slip in copying is told from a token that is not valid.
 *
 * The coordinator's folder has one line for each in the file `tokens` (0600):
 *   "<id, 16 hex digits> <Z85 of the grant's key> <role> <uses left> <expires, seconds since 1970> <name>"
 * where name is what those who join are called, or "*" for the name that they ask for. Only the key is kept, which is derived
 * from the secret: it checks a proof, and the line that was given out can't be had back from it. A token that is used up or
 * has expired stays for a day, so that an answer that was lost can be given again, and who comes late is told why. */

enum { TRI_TOKEN_ID = 8, TRI_TOKEN_SECRET = 16, TRI_TOKEN_TEXT = 512, TRI_TOKEN_ID_TEXT = 17, TRI_TOKEN_MAX_USES = 10000,
       TRI_TOKEN_MAX_TTL_S = 30 * 24 * 3600 };

typedef struct tri_token {
  char hosts[TRI_MAX_ENDPOINT]; /* "10.0.0.1,192.168.1.5": to be tried in this order */
  uint16_t port, enrol_port;
  uint8_t coordinator[TRI_KEY_BYTES];
  uint8_t id[TRI_TOKEN_ID], secret[TRI_TOKEN_SECRET];
} tri_token;

/* What the coordinator knows of a token. */
typedef struct tri_grant {
  uint8_t id[TRI_TOKEN_ID], key[TRI_KEY_BYTES];
  tri_role role;
  uint32_t uses;    /* left */
  int64_t expires_s;
  char name[TRI_MAX_NAME]; /* empty: the one that is asked for */
} tri_grant;

typedef struct tri_grant_list {
  tri_grant *items;
  size_t count;
} tri_grant_list;

/* Fills id and secret at random. */
TRI_MUST_CHECK tri_status tri_token_draw(tri_token *t, tri_error *err);
TRI_MUST_CHECK tri_status tri_token_print(const tri_token *t, char out[TRI_TOKEN_TEXT], tri_error *err);
/* TRI_E_FORMAT: not a token, or one that was not copied whole. Never echoes the text, which is a secret. */
TRI_MUST_CHECK tri_status tri_token_parse(tri_token *out, const char *text, tri_error *err);
/* The key that the proofs of a token's holder and of its coordinator are made with. */
void tri_token_key(const tri_token *t, uint8_t out[TRI_KEY_BYTES]);
void tri_token_id_text(const uint8_t id[TRI_TOKEN_ID], char out[TRI_TOKEN_ID_TEXT]);

/* The file. A missing one is an empty list; one that others may read is refused. Those that expired more than a day ago are
 * left out. */
TRI_MUST_CHECK tri_status tri_token_load(tri_grant_list *out, const char *dir, int64_t now_s, tri_error *err);
/* The same over bytes, all of them; a malformed line is an error with its number. */
TRI_MUST_CHECK tri_status tri_token_parse_list(tri_grant_list *out, const uint8_t *bytes, size_t len, tri_error *err);
/* It would let somebody in now. */
static inline bool tri_token_is_live(const tri_grant *g, int64_t now_s) { return g->uses > 0 && g->expires_s > now_s; }
void tri_token_free_list(tri_grant_list *list);
const tri_grant *tri_token_find(const tri_grant_list *list, const uint8_t id[TRI_TOKEN_ID]);
/* Change it: durable once these return. Programs that do so take turns. */
TRI_MUST_CHECK tri_status tri_token_add(const tri_grant *g, const char *dir, int64_t now_s, tri_error *err);
/* One use less. TRI_E_DENIED when none is left or it has expired, TRI_E_NOT_FOUND when the token is not there (any more). */
TRI_MUST_CHECK tri_status tri_token_spend(const uint8_t id[TRI_TOKEN_ID], const char *dir, int64_t now_s, tri_error *err);
/* Remove the one token whose id begins with this text. */
TRI_MUST_CHECK tri_status tri_token_revoke(const char *id_text, const char *dir, int64_t now_s, tri_error *err);

#endif
