/* SPDX-License-Identifier: MIT */
#include "proto/token.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "proto/keyfile.h"

enum { CHECK = 4, MAX_BYTES = 1 + TRI_MAX_ENDPOINT + 2 * 2 + TRI_KEY_BYTES + TRI_TOKEN_ID + TRI_TOKEN_SECRET + CHECK,
       MAX_FILE = 1 << 20, MAX_TOKENS = 4096,
       KEEP_S = 24 * 3600 /* so that who comes late is told why */ };
static const char prefix[] = "tri1:";

_Static_assert(sizeof prefix + (MAX_BYTES * 4 + 2) / 3 <= TRI_TOKEN_TEXT, "a token's text");

/* --- the line --- */

tri_status tri_token_draw(tri_token *t, tri_error *err) {
  if (sodium_init() < 0) return tri_status_fail(err, TRI_E_INTERNAL, "libsodium found no source of random numbers");
  randombytes_buf(t->id, sizeof t->id);
  randombytes_buf(t->secret, sizeof t->secret);
  return TRI_OK;
}

static void check_bytes(uint8_t out[CHECK], const uint8_t *bytes, size_t len) {
  uint8_t hash[crypto_generichash_BYTES];
  crypto_generichash(hash, sizeof hash, bytes, len, NULL, 0);
  memcpy(out, hash, CHECK);
}

/* A host as it may stand in an endpoint, with commas between several. */
static bool are_hosts(const char *hosts) {
  size_t n = strlen(hosts);
  if (n == 0 || n >= TRI_MAX_ENDPOINT || hosts[0] == ',' || hosts[n - 1] == ',' || strstr(hosts, ",,")) return false;
  return strspn(hosts, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]%,") == n;
}

tri_status tri_token_print(const tri_token *t, char out[TRI_TOKEN_TEXT], tri_error *err) {
  if (!are_hosts(t->hosts) || !t->port || !t->enrol_port)
    return tri_status_fail(err, TRI_E_INVALID, "\"%.200s\": a token needs a host's name or address and two ports", t->hosts);
  tri_buf b = {0};
  tri_buf_byte(&b, (uint8_t)strlen(t->hosts));
  tri_buf_append(&b, t->hosts, strlen(t->hosts));
  tri_buf_append(&b, &t->port, sizeof t->port);
  tri_buf_append(&b, &t->enrol_port, sizeof t->enrol_port);
  tri_buf_append(&b, t->coordinator, sizeof t->coordinator);
  tri_buf_append(&b, t->id, sizeof t->id);
  tri_buf_append(&b, t->secret, sizeof t->secret);
  uint8_t check[CHECK];
  check_bytes(check, b.data, b.len);
  tri_buf_append(&b, check, sizeof check);
  bool ok = tri_buf_ok(&b);
  if (ok) {
    strcpy(out, prefix);
    sodium_bin2base64(out + strlen(prefix), TRI_TOKEN_TEXT - strlen(prefix), b.data, b.len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
  }
  if (b.data) sodium_memzero(b.data, b.cap);
  tri_buf_free(&b);
  return ok ? TRI_OK : tri_status_fail(err, TRI_E_NOMEM, "out of memory for a token");
}

static bool read_token(tri_token *t, const uint8_t *bytes, size_t len) {
  uint8_t check[CHECK];
  if (len < CHECK) return false;
  check_bytes(check, bytes, len - CHECK);
  tri_cursor c = tri_cursor_over(bytes, len);
  size_t n = tri_cursor_u8(&c);
  tri_cursor_copy(&c, t->hosts, n);
  t->port = tri_cursor_u16(&c), t->enrol_port = tri_cursor_u16(&c);
  tri_cursor_copy(&c, t->coordinator, sizeof t->coordinator);
  tri_cursor_copy(&c, t->id, sizeof t->id);
  tri_cursor_copy(&c, t->secret, sizeof t->secret);
  const uint8_t *end = tri_cursor_take(&c, CHECK);
  return end && tri_cursor_left(&c) == 0 && memcmp(end, check, CHECK) == 0 && strlen(t->hosts) == n && are_hosts(t->hosts) && t->port &&
         t->enrol_port;
}

tri_status tri_token_parse(tri_token *out, const char *text, tri_error *err) {
  uint8_t bytes[MAX_BYTES];
  size_t len = 0, before = strlen(prefix);
  tri_token t = {0};
  if (strncmp(text, prefix, before) != 0)
    return tri_status_fail(err, TRI_E_FORMAT, "this is not a token: one begins with \"%s\" and comes from `trireme token create`", prefix);
  text += before;
  bool ok = sodium_base642bin(bytes, sizeof bytes, text, strlen(text), NULL, &len, NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0 &&
            read_token(&t, bytes, len);
  if (ok) *out = t;
  sodium_memzero(bytes, sizeof bytes);
  sodium_memzero(&t, sizeof t);
  return ok ? TRI_OK : tri_status_fail(err, TRI_E_FORMAT, "this token is damaged: copy the whole line that `trireme token create` printed");
}

void tri_token_key(const tri_token *t, uint8_t out[TRI_KEY_BYTES]) {
  static const char context[] = "trireme-token-1";
  uint8_t in[sizeof context + TRI_TOKEN_ID];
  memcpy(in, context, sizeof context);
  memcpy(in + sizeof context, t->id, TRI_TOKEN_ID);
  crypto_generichash(out, TRI_KEY_BYTES, in, sizeof in, t->secret, sizeof t->secret);
}

void tri_token_id_text(const uint8_t id[TRI_TOKEN_ID], char out[TRI_TOKEN_ID_TEXT]) {
  sodium_bin2hex(out, TRI_TOKEN_ID_TEXT, id, TRI_TOKEN_ID);
}

/* --- the list --- */

static bool read_grant(tri_grant *g, const char *line, size_t len) {
  char text[256], id[TRI_TOKEN_ID_TEXT], key[TRI_KEY_TEXT], role[8], end;
  int name_at = 0;
  long long expires;
  if (len >= sizeof text || memchr(line, 0, len)) return false;
  memcpy(text, line, len);
  text[len] = 0;
  /* blanks separate, so the widths keep each word in its place */
  bool ok = sscanf(text, "%16s %40s %7s %9u %15lld %n%c", id, key, role, &g->uses, &expires, &name_at, &end) == 6;
  ok = ok && strlen(id) == TRI_TOKEN_ID_TEXT - 1 && sodium_hex2bin(g->id, TRI_TOKEN_ID, id, strlen(id), NULL, NULL, NULL) == 0 &&
       tri_keys_parse(key, g->key) == TRI_OK && tri_keys_parse_role(&g->role, role, NULL) == TRI_OK && g->uses <= TRI_TOKEN_MAX_USES &&
       expires >= 0 && tri_keyfile_is_name(text + name_at, len - (size_t)name_at);
  g->expires_s = ok ? expires : 0;
  if (ok && strcmp(text + name_at, "*") != 0) strcpy(g->name, text + name_at);
  sodium_memzero(text, sizeof text);
  sodium_memzero(key, sizeof key);
  return ok;
}

tri_status tri_token_parse_list(tri_grant_list *out, const uint8_t *bytes, size_t len, tri_error *err) {
  tri_grant_list list = {0};
  const char *p = len ? (const char *)bytes : "", *end = p + len;
  size_t lines = 0;
  for (const char *q = p; q < end; q++) lines += *q == '\n';
  if (lines > MAX_TOKENS) return tri_status_fail(err, TRI_E_LIMIT, "more than %d tokens", MAX_TOKENS);
  list.items = calloc(lines + 1, sizeof *list.items);
  if (!list.items) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the tokens");
  for (size_t number = 1; p < end; number++) {
    const char *stop = memchr(p, '\n', (size_t)(end - p));
    if (!stop) stop = end;
    tri_grant g = {0};
    bool ok = stop == p || *p == '#' || read_grant(&g, p, (size_t)(stop - p));
    if (ok && g.role && tri_token_find(&list, g.id)) ok = false;
    if (!ok) {
      tri_token_free_list(&list);
      return tri_status_fail(err, TRI_E_FORMAT, "line %zu is not a token's (id, key, role, uses, expiry, name), or a second one for its id",
                             number);
    }
    if (g.role) list.items[list.count++] = g;
    p = stop < end ? stop + 1 : end;
  }
  *out = list;
  return TRI_OK;
}

void tri_token_free_list(tri_grant_list *list) {
  if (list->items) sodium_memzero(list->items, list->count * sizeof *list->items);
  free(list->items);
  *list = (tri_grant_list){0};
}

const tri_grant *tri_token_find(const tri_grant_list *list, const uint8_t id[TRI_TOKEN_ID]) {
  for (size_t i = 0; i < list->count; i++)
    if (memcmp(list->items[i].id, id, TRI_TOKEN_ID) == 0) return &list->items[i];
  return NULL;
}

/* --- the file --- */

tri_status tri_token_load(tri_grant_list *out, const char *dir, int64_t now_s, tri_error *err) {
  char path[PATH_MAX];
  tri_buf b = {0};
  tri_grant_list list = {0};
  tri_status status = tri_keyfile_path(path, dir, "tokens", err);
  if (status == TRI_OK) status = tri_keyfile_check_secret(path, err);
  if (status == TRI_E_NOT_FOUND) return *out = list, TRI_OK;
  if (status == TRI_OK) status = tri_file_read(&b, path, MAX_FILE, err);
  if (status == TRI_OK) {
    status = tri_token_parse_list(&list, b.data, b.len, err);
    if (status != TRI_OK) tri_status_prefix(err, status, "%s", path);
  }
  if (b.data) sodium_memzero(b.data, b.cap);
  tri_buf_free(&b);
  if (status != TRI_OK) return status;
  size_t n = 0;
  for (size_t i = 0; i < list.count; i++)
    if (list.items[i].expires_s > now_s - KEEP_S) list.items[n++] = list.items[i];
  list.count = n;
  *out = list;
  return TRI_OK;
}

static tri_status write_grants(const tri_grant_list *list, const tri_grant *more, const char *dir, tri_error *err) {
  char path[PATH_MAX], id[TRI_TOKEN_ID_TEXT], key[TRI_KEY_TEXT];
  tri_buf b = {0};
  for (size_t i = 0; i < list->count + (more ? 1 : 0); i++) {
    const tri_grant *g = i < list->count ? &list->items[i] : more;
    tri_token_id_text(g->id, id);
    tri_keys_text(g->key, key);
    tri_buf_printf(&b, "%s %s %s %u %lld %s\n", id, key, tri_keys_role_name(g->role), g->uses, (long long)g->expires_s,
                   g->name[0] ? g->name : "*");
  }
  tri_status status = tri_buf_ok(&b) ? tri_keyfile_path(path, dir, "tokens", err)
                                     : tri_status_fail(err, TRI_E_NOMEM, "out of memory for the tokens");
  if (status == TRI_OK) status = tri_keyfile_write(path, 0600, b.data, b.len, err);
  sodium_memzero(key, sizeof key);
  if (b.data) sodium_memzero(b.data, b.cap);
  tri_buf_free(&b);
  return status;
}

/* The list, and the right to change it until close. */
static tri_status open_grants(tri_grant_list *list, int *lock, const char *dir, int64_t now_s, tri_error *err) {
  tri_status status = tri_keyfile_lock(lock, dir, err);
  return status == TRI_OK ? tri_token_load(list, dir, now_s, err) : status;
}
static void close_grants(tri_grant_list *list, int lock) {
  tri_token_free_list(list);
  if (lock >= 0) tri_keyfile_unlock(lock);
}

tri_status tri_token_add(const tri_grant *g, const char *dir, int64_t now_s, tri_error *err) {
  tri_grant_list list = {0};
  int lock = -1;
  if (g->role == TRI_ROLE_NONE || g->uses < 1 || g->uses > TRI_TOKEN_MAX_USES || strcmp(g->name, "*") == 0 ||
      (g->name[0] && !tri_keyfile_is_name(g->name, strnlen(g->name, TRI_MAX_NAME))))
    return tri_status_fail(err, TRI_E_INVALID, "a token needs a role, 1 to %d uses and a name of printable characters, or none",
                           TRI_TOKEN_MAX_USES);
  tri_status status = open_grants(&list, &lock, dir, now_s, err);
  if (status == TRI_OK && list.count >= MAX_TOKENS)
    status = tri_status_fail(err, TRI_E_LIMIT, "%s: there are %d tokens already", dir, MAX_TOKENS);
  if (status == TRI_OK) status = write_grants(&list, g, dir, err);
  close_grants(&list, lock);
  return status;
}

tri_status tri_token_spend(const uint8_t id[TRI_TOKEN_ID], const char *dir, int64_t now_s, tri_error *err) {
  tri_grant_list list = {0};
  int lock = -1;
  tri_status status = open_grants(&list, &lock, dir, now_s, err);
  tri_grant *g = status == TRI_OK ? (tri_grant *)tri_token_find(&list, id) : NULL; /* ours */
  if (status == TRI_OK && !g) status = tri_status_fail(err, TRI_E_NOT_FOUND, "this token is not there any more");
  if (status == TRI_OK && g->expires_s <= now_s) status = tri_status_fail(err, TRI_E_DENIED, "this token has expired");
  if (status == TRI_OK && g->uses == 0) status = tri_status_fail(err, TRI_E_DENIED, "this token has been used up");
  if (status == TRI_OK) {
    g->uses--;
    status = write_grants(&list, NULL, dir, err);
  }
  close_grants(&list, lock);
  return status;
}

tri_status tri_token_revoke(const char *id_text, const char *dir, int64_t now_s, tri_error *err) {
  tri_grant_list list = {0};
  int lock = -1;
  size_t kept = 0;
  tri_status status = id_text[0] ? open_grants(&list, &lock, dir, now_s, err) : tri_status_fail(err, TRI_E_INVALID, "which token?");
  size_t before = list.count;
  for (size_t i = 0; i < before && status == TRI_OK; i++) {
    char id[TRI_TOKEN_ID_TEXT];
    tri_token_id_text(list.items[i].id, id);
    if (strncmp(id, id_text, strlen(id_text)) != 0) list.items[kept++] = list.items[i];
  }
  if (status == TRI_OK && before - kept != 1)
    status = tri_status_fail(err, before == kept ? TRI_E_NOT_FOUND : TRI_E_INVALID, "%s: %s has an id that begins with %s", dir,
                             before == kept ? "no live token" : "more than one token", id_text);
  if (status == TRI_OK) {
    list.count = kept;
    status = write_grants(&list, NULL, dir, err);
    list.count = before; /* all of it is erased */
  }
  close_grants(&list, lock);
  return status;
}
