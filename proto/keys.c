/* SPDX-License-Identifier: MIT */
#include "proto/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>
#include "base/file.h"

_Static_assert(TRI_KEY_BYTES == crypto_box_PUBLICKEYBYTES && TRI_KEY_BYTES == crypto_box_SECRETKEYBYTES, "CURVE's keys");

enum { MAX_KEY_FILE = 4096, MAX_LIST_FILE = 256 << 10 /* some 5000 keys */ };

static const char *const role_names[] = {"none", "worker", "client", "admin"};
enum { ROLES = sizeof role_names / sizeof role_names[0] };

const char *tri_keys_role_name(tri_role role) { return (unsigned)role < ROLES ? role_names[role] : role_names[0]; }

void tri_keys_text(const uint8_t key[TRI_KEY_BYTES], char text[TRI_KEY_TEXT]) {
  zmq_z85_encode(text, key, TRI_KEY_BYTES);
}

tri_status tri_keys_parse(const char *text, uint8_t key[TRI_KEY_BYTES]) {
  uint8_t raw[TRI_KEY_BYTES];
  if (strnlen(text, TRI_KEY_TEXT) != TRI_KEY_TEXT - 1 || !zmq_z85_decode(raw, text)) return TRI_E_FORMAT;
  memcpy(key, raw, sizeof raw);
  return TRI_OK;
}

/* A name as it may stand in a file of ours: one line of printable text. */
static bool is_name(const char *name, size_t len) {
  if (len == 0 || len >= TRI_MAX_NAME || name[0] == ' ' || name[len - 1] == ' ') return false;
  for (size_t i = 0; i < len; i++)
    if ((unsigned char)name[i] < ' ' || name[i] == 0x7f) return false;
  return true;
}

static tri_status make_path(char out[PATH_MAX], const char *dir, const char *file, tri_error *err) {
  if (snprintf(out, PATH_MAX, "%s/%s", dir, file) < PATH_MAX) return TRI_OK;
  return tri_status_fail(err, TRI_E_INVALID, "%s: the folder's path is too long", dir);
}

static tri_status write_file(const char *path, unsigned mode, const void *bytes, size_t len, tri_error *err) {
  tri_file_writer *w;
  tri_status status = tri_file_writer_open(&w, path, mode, err);
  if (status != TRI_OK) return status;
  status = tri_file_writer_write(w, bytes, len, err);
  if (status == TRI_OK) return tri_file_writer_commit(&w, err);
  tri_file_writer_abort(&w);
  return status;
}

static tri_status write_text(const char *dir, const char *file, unsigned mode, const char *text, tri_error *err) {
  char path[PATH_MAX];
  tri_status status = make_path(path, dir, file, err);
  return status != TRI_OK ? status : write_file(path, mode, text, strlen(text), err);
}

/* A small file's text, without the blanks and line ends behind it. */
static tri_status read_text(char out[MAX_KEY_FILE + 1], const char *path, tri_error *err) {
  tri_buf b = {0};
  tri_status status = tri_file_read(&b, path, MAX_KEY_FILE, err);
  if (status == TRI_OK) {
    memcpy(out, b.data, b.len);
    while (b.len && strchr(" \t\r\n", out[b.len - 1])) b.len--;
    out[b.len] = 0;
  }
  if (b.data) sodium_memzero(b.data, b.cap); /* it may have been the secret */
  tri_buf_free(&b);
  return status;
}

tri_status tri_keys_generate(tri_keypair *out, const char *name, tri_error *err) {
  if (!is_name(name, strnlen(name, TRI_MAX_NAME)))
    return tri_status_fail(err, TRI_E_INVALID, "a key's name must be 1 to %d printable characters", TRI_MAX_NAME - 1);
  if (sodium_init() < 0) return tri_status_fail(err, TRI_E_INTERNAL, "libsodium found no source of random numbers");
  *out = (tri_keypair){0};
  crypto_box_keypair(out->public_key, out->secret_key);
  strcpy(out->name, name);
  return TRI_OK;
}

void tri_keys_wipe(tri_keypair *pair) { sodium_memzero(pair, sizeof *pair); }

tri_status tri_keys_save(const tri_keypair *pair, const char *dir, tri_error *err) {
  char path[PATH_MAX], public_text[TRI_KEY_TEXT], secret_text[TRI_KEY_TEXT], text[256];
  tri_status status = make_path(path, dir, "secret.key", err);
  if (status != TRI_OK) return status;
  status = tri_file_make_folder(dir, 0700, err);
  if (status != TRI_OK) return status;
  if (access(path, F_OK) == 0)
    return tri_status_fail(err, TRI_E_INVALID, "%s: a key is there already; move it away to make a new one", path);
  tri_keys_text(pair->public_key, public_text);
  snprintf(text, sizeof text, "%s %s\n", public_text, pair->name);
  status = write_text(dir, "public.key", 0644, text, err);
  if (status != TRI_OK) return status;
  tri_keys_text(pair->secret_key, secret_text);
  snprintf(text, sizeof text, "secret %s\npublic %s\n", secret_text, public_text);
  status = write_text(dir, "secret.key", 0600, text, err);
  sodium_memzero(secret_text, sizeof secret_text);
  sodium_memzero(text, sizeof text);
  return status;
}

static tri_status check_secret_mode(const char *path, tri_error *err) {
  struct stat st;
  if (stat(path, &st) != 0)
    return tri_status_fail(err, errno == ENOENT ? TRI_E_NOT_FOUND : TRI_E_IO, "%s: %s", path,
                           errno == ENOENT ? "there is no key; make one first" : strerror(errno));
  if (st.st_mode & 077)
    return tri_status_fail(err, TRI_E_FORMAT, "%s: others may read this secret; run: chmod 600 %s", path, path);
  return TRI_OK;
}

/* "secret <Z85>\npublic <Z85>", and the two must belong together. */
static tri_status parse_secret(tri_keypair *out, const char *text) {
  char secret_text[TRI_KEY_TEXT], public_text[TRI_KEY_TEXT], end;
  bool ok = sscanf(text, "secret %40s public %40s %c", secret_text, public_text, &end) == 2 &&
            tri_keys_parse(secret_text, out->secret_key) == TRI_OK && tri_keys_parse(public_text, out->public_key) == TRI_OK;
  sodium_memzero(secret_text, sizeof secret_text);
  uint8_t derived[TRI_KEY_BYTES];
  if (!ok || crypto_scalarmult_base(derived, out->secret_key) != 0) return TRI_E_FORMAT;
  return sodium_memcmp(derived, out->public_key, sizeof derived) == 0 ? TRI_OK : TRI_E_FORMAT;
}

tri_status tri_keys_load(tri_keypair *out, const char *dir, tri_error *err) {
  char path[PATH_MAX], text[MAX_KEY_FILE + 1];
  tri_keypair pair = {0};
  tri_status status = make_path(path, dir, "secret.key", err);
  if (status == TRI_OK) status = check_secret_mode(path, err);
  if (status == TRI_OK) status = read_text(text, path, err);
  if (status == TRI_OK && parse_secret(&pair, text) != TRI_OK)
    status = tri_status_fail(err, TRI_E_FORMAT, "%s: not a secret key file, or its two keys do not belong together", path);
  sodium_memzero(text, sizeof text);
  /* The name stands beside the public key; the key itself has just been proven. */
  if (status == TRI_OK) status = make_path(path, dir, "public.key", err);
  if (status == TRI_OK) status = read_text(text, path, err);
  if (status == TRI_OK) {
    char public_text[TRI_KEY_TEXT];
    tri_keys_text(pair.public_key, public_text);
    size_t n = strlen(public_text);
    if (strncmp(text, public_text, n) == 0 && text[n] == ' ' && is_name(text + n + 1, strlen(text + n + 1)))
      strcpy(pair.name, text + n + 1);
    else
      status = tri_status_fail(err, TRI_E_FORMAT, "%s: not \"%s NAME\", as secret.key says", path, public_text);
  }
  if (status == TRI_OK) *out = pair;
  tri_keys_wipe(&pair);
  return status;
}

tri_status tri_keys_load_coordinator(uint8_t key[TRI_KEY_BYTES], const char *dir, tri_error *err) {
  char path[PATH_MAX], text[MAX_KEY_FILE + 1];
  tri_status status = make_path(path, dir, "coordinator.key", err);
  if (status == TRI_OK) status = read_text(text, path, err);
  if (status == TRI_OK && tri_keys_parse(text, key) != TRI_OK)
    status = tri_status_fail(err, TRI_E_FORMAT, "%s: not a public key (40 characters of Z85)", path);
  return status;
}

tri_status tri_keys_save_coordinator(const uint8_t key[TRI_KEY_BYTES], const char *dir, tri_error *err) {
  char text[TRI_KEY_TEXT + 1];
  tri_keys_text(key, text);
  strcat(text, "\n");
  return write_text(dir, "coordinator.key", 0644, text, err);
}

/* ---- The allow-list ---- */

static tri_status parse_line(tri_allowed *out, const char *line, size_t len, size_t number, tri_error *err) {
  tri_allowed item = {0};
  char key_text[TRI_KEY_TEXT] = "";
  const size_t key_len = TRI_KEY_TEXT - 1;
  if (len > key_len) memcpy(key_text, line, key_len);
  if (len <= key_len || line[key_len] != ' ' || tri_keys_parse(key_text, item.key) != TRI_OK)
    return tri_status_fail(err, TRI_E_FORMAT, "line %zu: does not begin with a public key (40 characters of Z85)", number);
  line += key_len + 1, len -= key_len + 1;
  for (size_t r = TRI_ROLE_WORKER; r < ROLES; r++) {
    size_t n = strlen(role_names[r]);
    if (len > n && memcmp(line, role_names[r], n) == 0 && line[n] == ' ') {
      item.role = (tri_role)r;
      line += n + 1, len -= n + 1;
      break;
    }
  }
  if (item.role == TRI_ROLE_NONE)
    return tri_status_fail(err, TRI_E_FORMAT, "line %zu: after the key stands a role (worker, client, admin) and a name", number);
  if (!is_name(line, len))
    return tri_status_fail(err, TRI_E_FORMAT, "line %zu: the name must be 1 to %d printable characters", number, TRI_MAX_NAME - 1);
  memcpy(item.name, line, len);
  *out = item;
  return TRI_OK;
}

static tri_status append_item(tri_allow_list *list, const tri_allowed *item) {
  if ((list->count & (list->count - 1)) == 0) { /* room for powers of two */
    size_t cap = list->count ? list->count * 2 : 1;
    tri_allowed *items = realloc(list->items, cap * sizeof *items);
    if (!items) return TRI_E_NOMEM;
    list->items = items;
  }
  list->items[list->count++] = *item;
  return TRI_OK;
}

tri_status tri_keys_parse_allowed(tri_allow_list *out, const uint8_t *bytes, size_t len, tri_error *err) {
  tri_allow_list list = {0};
  tri_status status = TRI_OK;
  const char *p = len ? (const char *)bytes : "", *end = p + len;
  for (size_t number = 1; p < end && status == TRI_OK; number++) {
    const char *stop = memchr(p, '\n', (size_t)(end - p));
    if (!stop) stop = end;
    const char *next = stop < end ? stop + 1 : end;
    while (stop > p && strchr(" \t\r", stop[-1]) && stop[-1]) stop--;
    tri_allowed item;
    if (stop > p && *p != '#') {
      status = parse_line(&item, p, (size_t)(stop - p), number, err);
      if (status == TRI_OK && tri_keys_find(&list, item.key))
        status = tri_status_fail(err, TRI_E_FORMAT, "line %zu: the key of \"%s\" is on the list already", number, item.name);
      if (status == TRI_OK && append_item(&list, &item) != TRI_OK)
        status = tri_status_fail(err, TRI_E_NOMEM, "out of memory for the allow-list");
    }
    p = next;
  }
  if (status == TRI_OK) *out = list;
  else tri_keys_free_allowed(&list);
  return status;
}

/* The list's bytes; none when there is no file. */
static tri_status read_allowed(tri_buf *out, const char *path, tri_error *err) {
  tri_status status = tri_file_read(out, path, MAX_LIST_FILE, err);
  return status == TRI_E_NOT_FOUND ? TRI_OK : status;
}

static tri_status parse_allowed_file(tri_allow_list *out, const tri_buf *bytes, const char *path, tri_error *err) {
  tri_status status = tri_keys_parse_allowed(out, bytes->data, bytes->len, err);
  return status == TRI_OK ? TRI_OK : tri_status_prefix(err, status, "%s", path);
}

tri_status tri_keys_load_allowed(tri_allow_list *out, const char *dir, tri_error *err) {
  char path[PATH_MAX];
  tri_buf b = {0};
  tri_status status = make_path(path, dir, "allowed.keys", err);
  if (status == TRI_OK) status = read_allowed(&b, path, err);
  if (status == TRI_OK) status = parse_allowed_file(out, &b, path, err);
  tri_buf_free(&b);
  return status;
}

tri_status tri_keys_add_allowed(const tri_allowed *item, const char *dir, tri_error *err) {
  char path[PATH_MAX], key_text[TRI_KEY_TEXT];
  tri_buf b = {0};
  tri_allow_list list = {0};
  tri_status status = make_path(path, dir, "allowed.keys", err);
  if (status == TRI_OK && (!is_name(item->name, strnlen(item->name, TRI_MAX_NAME)) || item->role == TRI_ROLE_NONE))
    status = tri_status_fail(err, TRI_E_INVALID, "the allow-list takes a role and a name of 1 to %d printable characters",
                             TRI_MAX_NAME - 1);
  if (status == TRI_OK) status = read_allowed(&b, path, err);
  if (status == TRI_OK) status = parse_allowed_file(&list, &b, path, err);
  if (status == TRI_OK && tri_keys_find(&list, item->key))
    status = tri_status_fail(err, TRI_E_INVALID, "%s: the key of \"%s\" is on the list already", path, item->name);
  if (status == TRI_OK) {
    tri_keys_text(item->key, key_text);
    if (b.len && b.data[b.len - 1] != '\n') tri_buf_byte(&b, '\n');
    tri_buf_printf(&b, "%s %s %s\n", key_text, tri_keys_role_name(item->role), item->name);
    status = tri_buf_ok(&b) ? write_file(path, 0644, b.data, b.len, err)
                            : tri_status_fail(err, TRI_E_NOMEM, "out of memory for the allow-list");
  }
  tri_keys_free_allowed(&list);
  tri_buf_free(&b);
  return status;
}

void tri_keys_free_allowed(tri_allow_list *list) {
  free(list->items);
  *list = (tri_allow_list){0};
}

const tri_allowed *tri_keys_find(const tri_allow_list *list, const uint8_t key[TRI_KEY_BYTES]) {
  const tri_allowed *found = NULL;
  for (size_t i = 0; i < list->count; i++) /* all of it, so that time tells nothing */
    if (sodium_memcmp(list->items[i].key, key, TRI_KEY_BYTES) == 0) found = &list->items[i];
  return found;
}
