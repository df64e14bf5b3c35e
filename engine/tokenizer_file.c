/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "engine/tokenizer.h"

/* A tokenizer from whatever kind of file holds it. */

static tri_status read_file(tri_vocab *out, const char *path, tri_error *err) {
  tri_buf bytes = {0};
  tri_status status = tri_file_read(&bytes, path, TRI_VOCAB_FILE_BYTES, err);
  if (status != TRI_OK) return tri_buf_free(&bytes), status;
  size_t blank = strspn((const char *)bytes.data, " \t\r\n");
  bool json = blank < bytes.len && bytes.data[blank] == '{';
  status = json ? tri_vocab_from_json(out, (const char *)bytes.data, bytes.len, err)
                : tri_vocab_from_sentencepiece(out, bytes.data, bytes.len, err);
  tri_buf_free(&bytes);
  return status == TRI_OK ? TRI_OK : tri_status_prefix(err, status, "%s", path);
}

static bool is_folder(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* --- the chat template beside it --- */

enum { PATH = 4096, CONFIG_BYTES = 16 << 20 };

/* Of several templates in tokenizer_config.json the one for plain talk is named default. */
static const char *find_template(const json_t *config) {
  const json_t *found = json_object_get(config, "chat_template");
  for (size_t i = 0; i < json_array_size(found); i++) {
    const json_t *one = json_array_get(found, i);
    const char *name = json_string_value(json_object_get(one, "name"));
    if (name && strcmp(name, "default") == 0) return json_string_value(json_object_get(one, "template"));
  }
  return json_string_value(found);
}

/* FOLDER/NAME if it is there; *out stays empty where it isn't. */
static tri_status read_beside(tri_buf *out, int folder_len, const char *folder, const char *name, tri_error *err) {
  char path[PATH];
  if ((size_t)snprintf(path, sizeof path, "%.*s%s", folder_len, folder, name) >= sizeof path)
    return tri_status_fail(err, TRI_E_LIMIT, "%s: the path is too long", folder);
  return access(path, F_OK) == 0 ? tri_file_read(out, path, CONFIG_BYTES, err) : TRI_OK;
}

/* chat_template.jinja, or what tokenizer_config.json says. folder ends with a slash or is empty. */
static tri_status read_template(tri_vocab *v, const char *folder, int folder_len, tri_error *err) {
  tri_buf text = {0};
  json_error_t e;
  json_t *config = NULL;
  tri_status status = read_beside(&text, folder_len, folder, "chat_template.jinja", err);
  const char *found = text.len ? (const char *)text.data : NULL;
  if (status == TRI_OK && !found) {
    status = read_beside(&text, folder_len, folder, "tokenizer_config.json", err);
    /* as reals: model_max_length is often 1e30, written out */
    if (text.len && !(config = json_loadb((const char *)text.data, text.len, JSON_DECODE_INT_AS_REAL, &e)) && status == TRI_OK)
      status = tri_status_fail(err, TRI_E_FORMAT, "%.*stokenizer_config.json: no JSON (line %d)", folder_len, folder, e.line);
    found = find_template(config);
  }
  if (status == TRI_OK && found && !(v->chat_template = strdup(found)))
    status = tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory for the chat template", folder);
  json_decref(config);
  tri_buf_free(&text);
  return status;
}

static tri_status read_both(tri_vocab *out, const char *path, tri_error *err) {
  tri_vocab v = {0};
  const char *slash = strrchr(path, '/');
  tri_status status = read_file(&v, path, err);
  if (status == TRI_OK) status = read_template(&v, path, slash ? (int)(slash - path) + 1 : 0, err);
  if (status == TRI_OK) *out = v;
  else tri_vocab_free(&v);
  return status;
}

tri_status tri_vocab_from_path(tri_vocab *out, const char *path, tri_error *err) {
  static const char *const names[] = {"tokenizer.json", "tokenizer.model"};
  char file[PATH];
  if (!is_folder(path)) return read_both(out, path, err);
  for (int i = 0; i < 2; i++) {
    if ((size_t)snprintf(file, sizeof file, "%s/%s", path, names[i]) >= sizeof file)
      return tri_status_fail(err, TRI_E_LIMIT, "%s: the path is too long", path);
    if (access(file, F_OK) == 0) return read_both(out, file, err);
  }
  return tri_status_fail(err, TRI_E_NOT_FOUND, "%s: neither tokenizer.json nor tokenizer.model is there", path);
}

static bool is_gguf(const char *path) {
  char magic[4] = "";
  FILE *f = is_folder(path) ? NULL : fopen(path, "rb");
  bool is = f && fread(magic, 1, sizeof magic, f) == sizeof magic && memcmp(magic, "GGUF", sizeof magic) == 0;
  if (f) fclose(f);
  return is;
}

tri_status tri_tokenizer_load(tri_tokenizer **out, const char *path, tri_error *err) {
  tri_vocab v = {0};
  tri_gguf *g = NULL;
  tri_status status;
  if (is_gguf(path)) {
    status = tri_gguf_open(&g, path, err);
    if (status == TRI_OK) status = tri_vocab_from_gguf(&v, g, err);
  } else {
    status = tri_vocab_from_path(&v, path, err);
  }
  if (status == TRI_OK && (status = tri_tokenizer_open(out, &v, err)) != TRI_OK) tri_status_prefix(err, status, "%s", path);
  tri_vocab_free(&v);
  tri_gguf_close(&g);
  return status;
}
