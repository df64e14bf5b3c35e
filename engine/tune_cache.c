/* SPDX-License-Identifier: MIT */
#include "engine/tune_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include "base/file.h"
#include "base/log.h"

enum { PATH_BYTES = 1024, MAX_FILE_BYTES = 1 << 20 };

struct tri_tune_cache {
  int lock_fd;
  char key[512]; /* in words; the file's name is its hash */
  char path[PATH_BYTES];
};

/* "model name" on x86; implementer and part on ARM */
static void cpu_name(char *out, size_t len) {
  static const char *const fields[] = {"model name", "CPU implementer", "CPU part"};
  char line[256];
  size_t n = 0;
  bool seen[3] = {false};
  FILE *f = fopen("/proc/cpuinfo", "r");
  out[0] = 0;
  while (f && fgets(line, sizeof line, f))
    for (int i = 0; i < 3; i++) {
      const char *colon = strchr(line, ':');
      if (seen[i] || !colon || strncmp(line, fields[i], strlen(fields[i])) != 0) continue;
      seen[i] = true;
      int added = snprintf(out + n, len - n, "%s%.*s", n ? " " : "", (int)strcspn(colon + 2, "\n"), colon + 2);
      n = added < 0 || n + (size_t)added >= len ? len - 1 : n + (size_t)added;
    }
  if (f) fclose(f);
}

tri_tune_cache *tri_tune_cache_lock(const tri_kernels *k, int threads) {
  char folder[PATH_BYTES], cpu[300], lock[PATH_BYTES + 16];
  tri_tune_cache *c = calloc(1, sizeof *c);
  if (!c || !tri_file_cache_folder(folder, sizeof folder)) return free(c), NULL;
  cpu_name(cpu, sizeof cpu);
  snprintf(c->key, sizeof c->key, "%s; %s kernels; %d threads; version %s", cpu, k->name, threads, TRIREME_VERSION);
  uint8_t hash[crypto_generichash_BYTES_MIN];
  char hex[2 * sizeof hash + 1];
  crypto_generichash(hash, sizeof hash, (const uint8_t *)c->key, strlen(c->key), NULL, 0);
  sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
  if (snprintf(c->path, sizeof c->path, "%s/tune-%s.json", folder, hex) >= (int)sizeof c->path) return free(c), NULL;
  snprintf(lock, sizeof lock, "%s/lock", folder);
  c->lock_fd = open(lock, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  if (c->lock_fd < 0) return free(c), NULL;
  while (flock(c->lock_fd, LOCK_EX) != 0 && errno == EINTR) {}
  return c;
}

void tri_tune_cache_unlock(tri_tune_cache **c) {
  if (!*c) return;
  close((*c)->lock_fd);
  free(*c);
  *c = NULL;
}

/* The file's document, or NULL when there is none that is ours. */
static json_t *load(const tri_tune_cache *c) {
  tri_buf text = {0};
  tri_error err;
  bool read = tri_file_read(&text, c->path, MAX_FILE_BYTES, &err) == TRI_OK;
  json_t *doc = read ? json_loadb((const char *)text.data, text.len, 0, NULL) : NULL;
  tri_buf_free(&text);
  const char *key = json_string_value(json_object_get(doc, "key"));
  if (key && strcmp(key, c->key) == 0) return doc;
  json_decref(doc);
  return NULL;
}

static void shape_name(const tri_tune_entry *e, char out[48]) { snprintf(out, 48, "%zux%zu", e->m, e->k); }

static bool get_times(const json_t *times, const char *which, double out[TRI_FORM_COUNT]) {
  json_t *array = json_object_get(times, which);
  for (int f = 0; f < TRI_FORM_COUNT; f++) {
    out[f] = json_number_value(json_array_get(array, (size_t)f));
    if (!isfinite(out[f]) || out[f] < 0) return false;
  }
  return json_array_size(array) == TRI_FORM_COUNT && out[TRI_FORM_I2S] > 0;
}

static bool get_entry(const json_t *shapes, tri_tune_entry *e) {
  char name[48];
  shape_name(e, name);
  const json_t *times = json_object_get(shapes, name);
  const char *form = json_string_value(json_object_get(times, "form"));
  if (!form || !get_times(times, "one_us", e->one_us) || !get_times(times, "panel_us", e->panel_us)) return false;
  for (int f = 0; f < TRI_FORM_COUNT; f++)
    if (strcmp(form, tri_form_name((tri_form)f)) == 0 && e->one_us[f] > 0) return e->form = (tri_form)f, true;
  return false;
}

bool tri_tune_cache_read(tri_tune_cache *c, tri_tune *t) {
  json_t *doc = c ? load(c) : NULL;
  tri_tune found = *t;
  bool all = doc != NULL;
  for (int i = 0; all && i < found.n; i++) all = get_entry(json_object_get(doc, "shapes"), &found.entries[i]);
  json_decref(doc);
  if (all) *t = found;
  return all;
}

static json_t *times_of(const double us[TRI_FORM_COUNT]) {
  json_t *array = json_array();
  for (int f = 0; f < TRI_FORM_COUNT; f++) json_array_append_new(array, json_real(us[f]));
  return array;
}

static tri_status save(const char *path, const char *text, tri_error *err) {
  tri_file_writer *w;
  tri_status status = tri_file_writer_open(&w, path, 0600, err);
  if (status != TRI_OK) return status;
  status = tri_file_writer_write(w, text, strlen(text), err);
  if (status == TRI_OK) return tri_file_writer_commit(&w, err);
  tri_file_writer_abort(&w);
  return status;
}

void tri_tune_cache_write(tri_tune_cache *c, const tri_tune *t) {
  if (!c) return;
  json_t *doc = load(c);
  if (!doc) doc = json_pack("{s:s, s:{}}", "key", c->key, "shapes");
  for (int i = 0; i < t->n; i++) {
    const tri_tune_entry *e = &t->entries[i];
    char name[48];
    shape_name(e, name);
    json_object_set_new(json_object_get(doc, "shapes"), name,
                        json_pack("{s:s, s:o, s:o}", "form", tri_form_name(e->form), "one_us", times_of(e->one_us), "panel_us",
                                  times_of(e->panel_us)));
  }
  char *text = doc ? json_dumps(doc, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) : NULL;
  tri_error err = {0};
  if (!text || save(c->path, text, &err) != TRI_OK) TRI_DEBUG("the kernels' timings are not kept: %s", err.text);
  free(text);
  json_decref(doc);
}
