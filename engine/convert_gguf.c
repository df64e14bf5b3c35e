/* SPDX-License-Identifier: MIT */
#include "engine/convert_sink.h"

#include <stdlib.h>
#include <string.h>

#include "engine/show.h"

/* GGUF -> GGUF with the ternary linears in another type. Names need no more than bytes: no architecture is understood here. */

typedef struct step {
  char name[65];
  const tri_gguf_tensor *tensor;
  tri_ternary from;             /* linears only */
  const tri_ternary_form *form; /* of the output; NULL: copied as it is */
} step;

typedef struct job {
  const char *path;
  tri_gguf *in;
  const tri_convert_options *options;
  tri_convert_sink sink;
  step *steps;
  tri_ternary_form *forms; /* of the linears, in order */
  size_t n_steps, n_forms;
} job;

/* --- planning --- */

/* bitnet.cpp's converter writes a linear's scale as a tensor of its own, which stands in the linear's last 32 bytes. Its
 * programs don't look for it under that name, and it would not be there in another type. */
static bool is_scale(const tri_gguf *g, const tri_gguf_tensor *t) {
  static const char suffix[] = "_scale";
  char name[65];
  if (t->name.len <= sizeof suffix - 1 || memcmp(t->name.data + t->name.len - (sizeof suffix - 1), suffix, sizeof suffix - 1) != 0)
    return false;
  snprintf(name, sizeof name, "%.*s", (int)(t->name.len - (sizeof suffix - 1)), t->name.data);
  const tri_gguf_tensor *linear = tri_gguf_find(g, name);
  return linear && tri_ternary_is(linear->type) && t->data > linear->data && t->data < linear->data + linear->bytes;
}

static tri_status plan_linear(job *j, step *s, tri_error *err) {
  const tri_convert_options *o = j->options;
  const char *shown = TRI_SHOW(s->tensor->name);
  tri_status status = tri_ternary_open(&s->from, j->in, s->tensor, o->in_tiles, o->n_in_tiles, err);
  if (status != TRI_OK) return status;
  const tri_ternary_form *f = &s->from.form;
  tri_ternary_form *form = &j->forms[j->n_forms++];
  s->form = form;
  status = tri_ternary_plan(form, o->linear_type, f->m, f->k, shown, o->tiles, o->n_tiles, f->type == o->linear_type ? &f->tiles : NULL,
                            err);
  return status == TRI_OK ? TRI_OK : tri_status_prefix(err, status, "%s", j->path);
}

static tri_status plan_step(job *j, const tri_gguf_tensor *t, tri_error *err) {
  step *s = &j->steps[j->n_steps];
  s->tensor = t;
  snprintf(s->name, sizeof s->name, "%.*s", (int)t->name.len, t->name.data);
  if (strlen(s->name) != t->name.len)
    return tri_status_fail(err, TRI_E_FORMAT, "%s: tensor %s has a zero byte in its name", j->path, TRI_SHOW(t->name));
  if (is_scale(j->in, t)) return TRI_OK;
  if (!t->bytes)
    return tri_status_fail(err, TRI_E_UNSUPPORTED, "%s: tensor %s has type number %u, which is unknown here and can't be copied", j->path,
                           TRI_SHOW(t->name), t->type);
  j->n_steps++;
  return tri_ternary_is(t->type) ? plan_linear(j, s, err) : TRI_OK;
}

static tri_status plan_all(job *j, tri_error *err) {
  size_t n = tri_gguf_tensor_count(j->in);
  j->steps = calloc(n + 1, sizeof *j->steps), j->forms = calloc(n + 1, sizeof *j->forms);
  if (!j->steps || !j->forms) return tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory", j->path);
  for (size_t i = 0; i < n; i++) {
    tri_status status = plan_step(j, tri_gguf_tensor_at(j->in, i), err);
    if (status != TRI_OK) return status;
  }
  if (!j->n_forms)
    return tri_status_fail(err, TRI_E_UNSUPPORTED, "%s has no ternary tensors (I2_S, TL1 or TL2), and other types can't become ternary",
                           j->path);
  tri_status status = tri_convert_sink_check(j->options, j->forms, j->n_forms, err);
  return status == TRI_OK ? TRI_OK : tri_status_prefix(err, status, "%s", j->path);
}

/* --- writing --- */

static bool is_file_type(tri_str key) {
  static const char name[] = "general.file_type";
  return key.len == sizeof name - 1 && memcmp(key.data, name, key.len) == 0;
}

static void put_metadata(job *j) {
  bool told = false;
  uint32_t file_type = tri_ternary_file_type(j->options->linear_type);
  for (size_t i = 0; i < tri_gguf_kv_count(j->in); i++) {
    const tri_gguf_kv *kv = tri_gguf_kv_at(j->in, i);
    if (is_file_type(kv->key)) tri_gguf_writer_u32(j->sink.writer, "general.file_type", file_type), told = true;
    else if (!tri_tiles_is_key(kv->key)) tri_gguf_writer_copy(j->sink.writer, kv);
  }
  if (!told) tri_gguf_writer_u32(j->sink.writer, "general.file_type", file_type);
  tri_convert_sink_tiles(j->sink.writer, j->forms, j->n_forms);
}

static tri_status begin(job *j, tri_error *err) {
  put_metadata(j);
  for (size_t i = 0; i < j->n_steps; i++) {
    const step *s = &j->steps[i];
    tri_gguf_writer_tensor(j->sink.writer, s->name, s->form ? s->form->type : s->tensor->type, s->tensor->n_dims, s->tensor->dims);
    j->sink.total += s->form ? tri_ternary_bytes(s->form) : s->tensor->bytes;
  }
  return tri_gguf_writer_begin(j->sink.writer, err);
}

static tri_status put_rows(void *arg, const tri_ternary_form *f, size_t first, size_t last, int8_t *trits, uint8_t *tensor,
                           tri_error *err) {
  const tri_ternary *from = arg;
  if (!tri_ternary_rows(from, first, last, trits)) return tri_ternary_damaged(from, err);
  tri_ternary_put(f, first, last, trits, tensor);
  return TRI_OK;
}

static tri_status copy_bytes(job *j, const step *s, tri_error *err) {
  enum { CHUNK = 1 << 20 };
  tri_status status = TRI_OK;
  for (size_t at = 0; at < s->tensor->bytes && status == TRI_OK; at += CHUNK) {
    size_t left = s->tensor->bytes - at, n = left < CHUNK ? left : CHUNK;
    status = tri_convert_sink_bytes(&j->sink, s->name, s->tensor->data + at, n, err);
    tri_file_map_drop(s->tensor->data + at, n);
  }
  return status;
}

static tri_status write_all(job *j, const char *out_path, tri_error *err) {
  tri_status status = tri_gguf_writer_open(&j->sink.writer, out_path, err);
  if (status != TRI_OK) return status;
  status = begin(j, err);
  for (size_t i = 0; i < j->n_steps && status == TRI_OK; i++) {
    step *s = &j->steps[i];
    if (s->form) status = tri_convert_sink_linear(&j->sink, s->name, s->form, s->from.scale, put_rows, &s->from, err);
    else status = copy_bytes(j, s, err);
    tri_file_map_drop(s->tensor->data, s->tensor->bytes); /* the pages that tensors and chunks share, too */
  }
  if (status == TRI_OK) status = tri_gguf_writer_commit(&j->sink.writer, err);
  tri_gguf_writer_abort(&j->sink.writer);
  return status;
}

tri_status tri_convert_gguf(const char *in_path, const char *out_path, const tri_convert_options *o, tri_error *err) {
  job j = {.path = in_path, .options = o, .sink = {.options = o}};
  tri_status status = tri_gguf_open(&j.in, in_path, err);
  if (status == TRI_OK) status = plan_all(&j, err);
  if (status == TRI_OK) status = write_all(&j, out_path, err);
  tri_gguf_close(&j.in);
  free(j.steps), free(j.forms);
  return status;
}
