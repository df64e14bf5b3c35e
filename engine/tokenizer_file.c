/* SPDX-License-Identifier: MIT */
#include <stdio.h>
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

tri_status tri_vocab_from_path(tri_vocab *out, const char *path, tri_error *err) {
  static const char *const names[] = {"tokenizer.json", "tokenizer.model"};
  char file[4096];
  if (!is_folder(path)) return read_file(out, path, err);
  for (int i = 0; i < 2; i++) {
    if ((size_t)snprintf(file, sizeof file, "%s/%s", path, names[i]) >= sizeof file)
      return tri_status_fail(err, TRI_E_LIMIT, "%s: the path is too long", path);
    if (access(file, F_OK) == 0) return read_file(out, file, err);
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
