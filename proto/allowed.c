/* SPDX-License-Identifier: MIT */
/* The allow-list of keys.h. */
#include "proto/keys.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "proto/keyfile.h"

enum { MAX_LIST_FILE = 256 << 10 /* some 5000 keys */ };

static const char *const role_names[] = {"none", "worker", "client", "admin"};
enum { ROLES = sizeof role_names / sizeof role_names[0] };

const char *tri_keys_role_name(tri_role role) { return (unsigned)role < ROLES ? role_names[role] : role_names[0]; }

tri_status tri_keys_parse_role(tri_role *out, const char *name, tri_error *err) {
  for (int role = TRI_ROLE_WORKER; role < ROLES; role++)
    if (strcmp(name, role_names[role]) == 0) return *out = (tri_role)role, TRI_OK;
  return tri_status_fail(err, TRI_E_INVALID, "%s: roles are worker, client and admin", name);
}


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
  if (!tri_keyfile_is_name(line, len))
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

/* ---- The list's file ---- */

typedef struct list_file {
  char path[PATH_MAX];
  tri_buf bytes;
  tri_allow_list list;
  int lock; /* -1: none */
} list_file;

static void close_list(list_file *f) {
  tri_keys_free_allowed(&f->list);
  tri_buf_free(&f->bytes);
  if (f->lock >= 0) tri_keyfile_unlock(f->lock);
}

/* A file that is not there is an empty list. To be closed also on failure. */
static tri_status read_list(list_file *f, const char *dir, tri_error *err) {
  tri_status status = tri_keyfile_path(f->path, dir, "allowed.keys", err);
  if (status == TRI_OK) status = tri_keyfile_check_list(f->path, err);
  if (status == TRI_E_NOT_FOUND) return TRI_OK;
  if (status == TRI_OK) status = tri_file_read(&f->bytes, f->path, MAX_LIST_FILE, err);
  if (status != TRI_OK) return status;
  status = tri_keys_parse_allowed(&f->list, f->bytes.data, f->bytes.len, err);
  return status == TRI_OK ? TRI_OK : tri_status_prefix(err, status, "%s", f->path);
}

static tri_status open_list(list_file *f, const char *dir, tri_error *err) {
  tri_status status = tri_keyfile_lock(&f->lock, dir, err);
  return status == TRI_OK ? read_list(f, dir, err) : status;
}

static tri_status write_list(const list_file *f, const tri_buf *bytes, tri_error *err) {
  if (!tri_buf_ok(bytes)) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the allow-list");
  if (bytes->len > MAX_LIST_FILE) return tri_status_fail(err, TRI_E_LIMIT, "%s: the list is full", f->path);
  return tri_keyfile_write(f->path, 0644, bytes->data, bytes->len, err);
}

tri_status tri_keys_load_allowed(tri_allow_list *out, const char *dir, tri_error *err) {
  list_file f = {.lock = -1};
  tri_status status = read_list(&f, dir, err);
  if (status == TRI_OK) *out = f.list, f.list = (tri_allow_list){0};
  close_list(&f);
  return status;
}

static void print_line(tri_buf *b, const tri_allowed *item) {
  char key_text[TRI_KEY_TEXT];
  tri_keys_text(item->key, key_text);
  tri_buf_printf(b, "%s %s %s\n", key_text, tri_keys_role_name(item->role), item->name);
}

static tri_status check_item(const tri_allowed *item, tri_error *err) {
  if (item->role != TRI_ROLE_NONE && tri_keyfile_is_name(item->name, strnlen(item->name, TRI_MAX_NAME))) return TRI_OK;
  return tri_status_fail(err, TRI_E_INVALID, "the allow-list takes a role and a name of 1 to %d printable characters", TRI_MAX_NAME - 1);
}

static const tri_allowed *find_name(const tri_allow_list *list, const char *name) {
  for (size_t i = 0; i < list->count; i++)
    if (strcmp(list->items[i].name, name) == 0) return &list->items[i];
  return NULL;
}

/* NAME-2, NAME-3 … until nobody has it; a name that would get too long is cut before the number. */
static void make_unique(char name[TRI_MAX_NAME], const tri_allow_list *list) {
  char base[TRI_MAX_NAME];
  strcpy(base, name);
  for (unsigned n = 2; find_name(list, name); n++) {
    char tail[16];
    int len = snprintf(tail, sizeof tail, "-%u", n);
    snprintf(name, TRI_MAX_NAME, "%.*s%s", TRI_MAX_NAME - 1 - len, base, tail);
  }
}

static tri_status add(tri_allowed *item, bool unique, const char *dir, tri_error *err) {
  list_file f = {.lock = -1};
  tri_status status = check_item(item, err);
  if (status == TRI_OK) status = open_list(&f, dir, err);
  if (status == TRI_OK && tri_keys_find(&f.list, item->key))
    status = tri_status_fail(err, TRI_E_INVALID, "%s: the key of \"%s\" is on the list already", f.path, item->name);
  if (status == TRI_OK) {
    if (unique) make_unique(item->name, &f.list);
    if (f.bytes.len && f.bytes.data[f.bytes.len - 1] != '\n') tri_buf_byte(&f.bytes, '\n');
    print_line(&f.bytes, item);
    status = write_list(&f, &f.bytes, err);
  }
  close_list(&f);
  return status;
}

tri_status tri_keys_add_allowed(const tri_allowed *item, const char *dir, tri_error *err) {
  tri_allowed copy = *item;
  return add(&copy, false, dir, err);
}

tri_status tri_keys_admit(tri_allowed *item, const char *dir, tri_error *err) {
  tri_allowed copy = *item;
  tri_status status = add(&copy, true, dir, err);
  if (status == TRI_OK) *item = copy;
  return status;
}

/* The one line that a name or a key means. */
static tri_status pick(const tri_allowed **out, const list_file *f, const char *name_or_key, tri_error *err) {
  uint8_t key[TRI_KEY_BYTES];
  const tri_allowed *found = tri_keys_parse(name_or_key, key) == TRI_OK ? tri_keys_find(&f->list, key) : NULL;
  if (!found) found = find_name(&f->list, name_or_key);
  if (!found) return tri_status_fail(err, TRI_E_NOT_FOUND, "%s: nobody has the name or key \"%s\"; `trireme keys list` shows them", f->path,
                                     name_or_key);
  for (const tri_allowed *other = found + 1; other < f->list.items + f->list.count; other++)
    if (strcmp(other->name, name_or_key) == 0)
      return tri_status_fail(err, TRI_E_INVALID, "%s: several keys have the name \"%s\"; give the key", f->path, name_or_key);
  *out = found;
  return TRI_OK;
}

/* Put `now` in the place of the line of `was`, or nothing; comments stay. */
static tri_status replace_line(list_file *f, const tri_allowed *was, const tri_allowed *now, tri_error *err) {
  char key_text[TRI_KEY_TEXT];
  tri_keys_text(was->key, key_text);
  tri_buf out = {0};
  const char *p = (const char *)f->bytes.data, *end = p + f->bytes.len;
  while (p < end) {
    const char *stop = memchr(p, '\n', (size_t)(end - p)), *next = stop ? stop + 1 : end;
    bool is_it = (size_t)(next - p) >= TRI_KEY_TEXT - 1 && memcmp(p, key_text, TRI_KEY_TEXT - 1) == 0;
    if (!is_it) tri_buf_append(&out, p, (size_t)(next - p));
    else if (now) print_line(&out, now);
    p = next;
  }
  tri_status status = write_list(f, &out, err);
  tri_buf_free(&out);
  return status;
}

tri_status tri_keys_remove_allowed(tri_allowed *removed, const char *name_or_key, const char *dir, tri_error *err) {
  list_file f = {.lock = -1};
  const tri_allowed *item = NULL;
  tri_status status = open_list(&f, dir, err);
  if (status == TRI_OK) status = pick(&item, &f, name_or_key, err);
  if (status == TRI_OK) status = replace_line(&f, item, NULL, err);
  if (status == TRI_OK) *removed = *item;
  close_list(&f);
  return status;
}

tri_status tri_keys_rename_allowed(const char *name_or_key, const char *name, const char *dir, tri_error *err) {
  list_file f = {.lock = -1};
  const tri_allowed *item = NULL;
  tri_status status = open_list(&f, dir, err);
  if (status == TRI_OK) status = pick(&item, &f, name_or_key, err);
  if (status == TRI_OK && find_name(&f.list, name))
    status = tri_status_fail(err, TRI_E_INVALID, "%s: the name \"%s\" is taken", f.path, name);
  tri_allowed renamed = {0};
  if (status == TRI_OK) {
    renamed = *item;
    memset(renamed.name, 0, sizeof renamed.name);
    snprintf(renamed.name, sizeof renamed.name, "%s", name);
    status = strlen(name) < TRI_MAX_NAME ? check_item(&renamed, err) : check_item(&(tri_allowed){0}, err);
  }
  if (status == TRI_OK) status = replace_line(&f, item, &renamed, err);
  close_list(&f);
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
