/* SPDX-License-Identifier: MIT */
#include "engine/convert_source.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "engine/show.h"

enum { MAX_INDEX_BYTES = 100 * 1000 * 1000, MAX_SHARDS = 1024 };

struct tri_convert_source {
  json_t *index; /* model.safetensors.index.json, or NULL */
  json_t *files; /* file name -> place in shards */
  json_t *found; /* names of tensors that were found */
  tri_safetensors *shards[MAX_SHARDS];
  size_t n_shards;
};

tri_status tri_convert_path(char path[TRI_CONVERT_PATH], const char *folder, const char *name,
                            tri_error *err) {
  int n = snprintf(path, TRI_CONVERT_PATH, "%s/%s", folder, name);
  if (n < 0 || n >= TRI_CONVERT_PATH)
    return tri_status_fail(err, TRI_E_LIMIT, "%.200s: the path is too long", folder);
  return TRI_OK;
}

/* --- shards --- */

static tri_status open_shard(tri_convert_source *s, const char *folder, const char *name, tri_error *err) {
  char path[TRI_CONVERT_PATH];
  if (json_object_get(s->files, name)) return TRI_OK;
  if (s->n_shards == MAX_SHARDS)
    return tri_status_fail(err, TRI_E_LIMIT, "%s: more than %d files", folder, MAX_SHARDS);
  tri_status status = tri_convert_path(path, folder, name, err);
  if (status == TRI_OK) status = tri_safetensors_open(&s->shards[s->n_shards], path, err);
  if (status != TRI_OK) return status;
  if (json_object_set_new(s->files, name, json_integer((json_int_t)s->n_shards++)) != 0)
    return tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory", path);
  return TRI_OK;
}

static tri_status open_indexed(tri_convert_source *s, const char *folder, const char *path, tri_error *err) {
  const char *name;
  json_t *file;
  json_t *map = json_object_get(s->index, "weight_map");
  if (!json_is_object(map))
    return tri_status_fail(err, TRI_E_FORMAT, "%s: weight_map must be an object", path);
  json_object_foreach(map, name, file) {
    const char *text = json_string_value(file);
    if (!text || !*text || strchr(text, '/') || strstr(text, ".."))
      return tri_status_fail(err, TRI_E_FORMAT,
                             "%s: weight_map of %s must be the name of a file in this folder", path,
                             TRI_SHOW_TEXT(name));
    tri_status status = open_shard(s, folder, text, err);
    if (status != TRI_OK) return status;
  }
  return TRI_OK;
}

static tri_status open_all(tri_convert_source *s, const char *folder, tri_error *err) {
  char path[TRI_CONVERT_PATH];
  tri_buf text = {0};
  json_error_t e;
  s->files = json_object(), s->found = json_object();
  if (!s->files || !s->found) return tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory", folder);
  tri_status status = tri_convert_path(path, folder, "model.safetensors.index.json", err);
  if (status == TRI_OK) status = tri_file_read(&text, path, MAX_INDEX_BYTES, err);
  if (status == TRI_OK) s->index = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &e);
  tri_buf_free(&text);
  if (status == TRI_E_NOT_FOUND) return open_shard(s, folder, "model.safetensors", err);
  if (status != TRI_OK) return status;
  if (!s->index) return tri_status_fail(err, TRI_E_FORMAT, "%s: no JSON: line %d", path, e.line);
  return open_indexed(s, folder, path, err);
}

tri_status tri_convert_source_open(tri_convert_source **out, const char *folder, tri_error *err) {
  tri_convert_source *s = calloc(1, sizeof *s);
  if (!s) return tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory", folder);
  tri_status status = open_all(s, folder, err);
  if (status != TRI_OK) return tri_convert_source_close(&s), status;
  *out = s;
  return TRI_OK;
}

void tri_convert_source_close(tri_convert_source **s) {
  if (!*s) return;
  for (size_t i = 0; i < (*s)->n_shards; i++) tri_safetensors_close(&(*s)->shards[i]);
  json_decref((*s)->index), json_decref((*s)->files), json_decref((*s)->found);
  free(*s);
  *s = NULL;
}

tri_status tri_convert_source_find(const tri_convert_source *s, const char *name, const tri_safetensor **out,
                                   tri_error *err) {
  size_t shard = 0;
  if (s->index) {
    const json_t *file = json_object_get(json_object_get(s->index, "weight_map"), name);
    if (!file) return *out = NULL, TRI_OK;
    shard = (size_t)json_integer_value(json_object_get(s->files, json_string_value(file)));
  }
  const tri_safetensor *t = tri_safetensors_find(s->shards[shard], name);
  if (!t && s->index)
    return tri_status_fail(err, TRI_E_FORMAT,
                           "%s: tensor %s is missing, though the index says that it is here",
                           tri_safetensors_path(s->shards[shard]), name);
  if (t && json_object_set_new(s->found, name, json_true()) != 0)
    return tri_status_fail(err, TRI_E_NOMEM, "tensor %s: out of memory", name);
  *out = t;
  return TRI_OK;
}

static bool ends_with(const char *name, const char *end) {
  size_t n = strlen(name), m = strlen(end);
  return n >= m && strcmp(name + n - m, end) == 0;
}

const char *tri_convert_source_unused(const tri_convert_source *s, bool tied) {
  for (size_t i = 0; i < s->n_shards; i++) {
    const tri_safetensor *t;
    for (size_t j = 0; (t = tri_safetensors_at(s->shards[i], j)); j++)
      if (!json_object_get(s->found, t->name) && !ends_with(t->name, ".inv_freq") && !(tied && strcmp(t->name, "lm_head.weight") == 0))
        return t->name;
  }
  return NULL;
}

/* --- tokenizer --- */

/* Models pad their vocabulary for the sake of matrix sizes; every row of the embedding must have a token. All
 * the filler tokens share one text: nothing looks them up, as they are of type UNUSED. */
static tri_status fill_up(tri_vocab *v, size_t n, tri_error *err) {
  static const char filler[] = "[PAD]";
  if (v->n_tokens > n)
    return tri_status_fail(err, TRI_E_FORMAT, "the tokenizer has %zu tokens, but config.json has a vocab_size of %zu", v->n_tokens, n);
  struct { void **array; size_t size; } arrays[] = {{(void **)&v->tokens, sizeof *v->tokens}, {(void **)&v->types, sizeof *v->types},
                                                    {(void **)&v->flags, sizeof *v->flags}, {(void **)&v->scores, sizeof *v->scores}};
  for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
    void *grown = *arrays[i].array ? realloc(*arrays[i].array, n * arrays[i].size) : NULL;
    if (*arrays[i].array && !grown) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the tokenizer");
    *arrays[i].array = grown;
  }
  for (size_t i = v->n_tokens; i < n; i++) {
    v->tokens[i] = (tri_str){filler, sizeof filler - 1}, v->types[i] = TRI_TOKEN_UNUSED;
    if (v->flags) v->flags[i] = 0;
    if (v->scores) v->scores[i] = 0;
  }
  v->n_tokens = n;
  return TRI_OK;
}

tri_status tri_convert_vocab_read(tri_vocab *out, const char *folder, const tri_convert_config *config,
                                  tri_error *err) {
  tri_vocab v = {0};
  tri_status status = tri_vocab_from_path(&v, folder, err);
  if (status != TRI_OK) return status;
  status = fill_up(&v, (size_t)config->shape.vocab, err);
  if (status != TRI_OK) return tri_vocab_free(&v), tri_status_prefix(err, status, "%s", folder);
  if (!v.add_bos && config->bos >= 0) v.bos = config->bos;
  if (config->eos >= 0) v.eos = config->eos;
  if (v.eot < 0) v.eot = config->eot;
  *out = v;
  return TRI_OK;
}
