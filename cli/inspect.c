/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "cli/cli.h"
#include "engine/check.h"
#include "engine/order.h"
#include "engine/parts.h"

static bool as_json, only_meta, check;
static const tri_arg args[] = {
    {"json", 0, TRI_ARG_FLAG, &as_json, NULL, "Print one JSON document.", 0, 0},
    {"no-tensors", 0, TRI_ARG_FLAG, &only_meta, NULL, "Leave the tensor table out.", 0, 0},
    {"check", 0, TRI_ARG_FLAG, &check, NULL,
     "Read every weight; show layouts, scales, shares of zeros and a hash of each part, or what is damaged.", 0, 0},
};
static const tri_args_spec spec = {"trireme inspect", "Show a model file's metadata, tensors and sizes.", "FILE [options]",
                                   "  trireme inspect models/story-bitnet.gguf\n  trireme inspect --check --no-tensors model.gguf\n"
                                   "  trireme inspect --json model.gguf | jq .metadata\n", args,
                                   sizeof args / sizeof *args};

enum { SHOWN_ELEMENTS = 3 };

static json_t *string_of(const char *data, size_t len) {
  json_t *s = json_stringn(data, len);
  return s ? s : json_string("(not UTF-8)");
}

/* One scalar at p; strings are handled by the caller. */
static json_t *scalar_of(uint32_t type, const uint8_t *p) {
  tri_cursor c = tri_cursor_over(p, 8);
  switch (type) {
  case TRI_GGUF_U8: return json_integer(tri_cursor_u8(&c));
  case TRI_GGUF_I8: return json_integer((int8_t)tri_cursor_u8(&c));
  case TRI_GGUF_U16: return json_integer(tri_cursor_u16(&c));
  case TRI_GGUF_I16: return json_integer((int16_t)tri_cursor_u16(&c));
  case TRI_GGUF_U32: return json_integer(tri_cursor_u32(&c));
  case TRI_GGUF_I32: return json_integer((int32_t)tri_cursor_u32(&c));
  case TRI_GGUF_F32: return json_real((double)tri_cursor_f32(&c));
  case TRI_GGUF_BOOL: return json_boolean(tri_cursor_u8(&c) != 0);
  case TRI_GGUF_U64:
  case TRI_GGUF_I64: return json_integer((json_int_t)tri_cursor_u64(&c));
  case TRI_GGUF_F64: {
    double v;
    tri_cursor_copy(&c, &v, sizeof v);
    return json_real(v);
  }
  default: return json_null();
  }
}

static json_t *value_of(const tri_gguf_kv *kv) {
  if (kv->type == TRI_GGUF_STRING) return string_of((const char *)kv->data, kv->bytes);
  if (kv->type != TRI_GGUF_ARRAY) {
    uint8_t padded[8] = {0};
    memcpy(padded, kv->data, kv->bytes < 8 ? kv->bytes : 8);
    return scalar_of(kv->type, padded);
  }
  json_t *first = json_array();
  size_t pos = 0, size = tri_gguf_scalar_bytes(kv->element_type);
  tri_str s;
  for (uint64_t i = 0; i < kv->count && i < SHOWN_ELEMENTS; i++) {
    if (kv->element_type == TRI_GGUF_STRING) {
      if (!tri_gguf_next_str(kv, &pos, &s)) break;
      json_array_append_new(first, string_of(s.data, s.len));
    } else {
      uint8_t padded[8] = {0};
      memcpy(padded, kv->data + i * size, size);
      json_array_append_new(first, scalar_of(kv->element_type, padded));
    }
  }
  return json_pack("{s:I, s:o}", "count", (json_int_t)kv->count, "first", first);
}

static json_t *describe(const tri_gguf *g) {
  json_t *meta = json_object(), *tensors = json_array();
  for (size_t i = 0; i < tri_gguf_kv_count(g); i++) {
    const tri_gguf_kv *kv = tri_gguf_kv_at(g, i);
    char key[256];
    snprintf(key, sizeof key, "%.*s", (int)kv->key.len, kv->key.data);
    json_object_set_new(meta, key, value_of(kv));
  }
  for (size_t i = 0; i < tri_gguf_tensor_count(g); i++) {
    const tri_gguf_tensor *t = tri_gguf_tensor_at(g, i);
    json_t *dims = json_array();
    for (int d = t->n_dims - 1; d >= 0; d--) json_array_append_new(dims, json_integer((json_int_t)t->dims[d]));
    json_array_append_new(tensors, json_pack("{s:o, s:s, s:I, s:o, s:I}", "name", string_of(t->name.data, t->name.len), "type",
                                             tri_type_name(t->type), "type_number", (json_int_t)t->type, "shape", dims, "bytes",
                                             (json_int_t)t->bytes));
  }
  return json_pack("{s:s, s:I, s:o, s:o}", "file", tri_gguf_path(g), "bytes", (json_int_t)tri_gguf_file_bytes(g), "metadata", meta,
                   "tensors", tensors);
}

static json_t *hash_of(const tri_parts *p, size_t part) {
  tri_part_hash hash;
  char hex[2 * TRI_PARTS_HASH_BYTES + 1];
  tri_parts_hash(p, part, &hash);
  tri_parts_hex(&hash, hex);
  return json_pack("{s:s, s:I, s:s}", "part", tri_parts_name(p, part), "bytes", (json_int_t)tri_parts_bytes(p, part), "blake2b", hex);
}

static tri_status add_parts(const tri_gguf *g, json_t *doc, tri_error *err) {
  tri_parts *parts;
  tri_status status = tri_parts_open(&parts, g, err);
  if (status != TRI_OK) return status;
  json_t *list = json_array();
  for (size_t i = 0; i < tri_parts_count(parts); i++) json_array_append_new(list, hash_of(parts, i));
  json_object_set_new(doc, "parts", list);
  tri_parts_close(&parts);
  return TRI_OK;
}

/* Reads everything, and adds what it is like to the document. */
static tri_status check_all(const tri_gguf *g, json_t *doc, tri_error *err) {
  tri_status status = tri_order_check(g, err);
  uint64_t done = 0;
  tri_progress progress = tri_progress_begin("checking");
  for (size_t i = 0; i < tri_gguf_tensor_count(g) && status == TRI_OK; i++) {
    const tri_gguf_tensor *t = tri_gguf_tensor_at(g, i);
    json_t *entry = json_array_get(json_object_get(doc, "tensors"), i);
    tri_check_tensor c;
    char layout[64];
    status = tri_check_read(g, t, &c, err);
    tri_progress_update(&progress, done += t->bytes, tri_gguf_file_bytes(g));
    if (status != TRI_OK || !c.ternary) continue;
    json_object_set_new(entry, "layout", json_string(tri_ternary_describe(&c.form, layout)));
    json_object_set_new(entry, "scale", json_real((double)c.least));
    if (c.most > c.least) json_object_set_new(entry, "scale_max", json_real((double)c.most));
    json_object_set_new(entry, "zeros", json_real(c.zeros));
  }
  if (status == TRI_OK) status = add_parts(g, doc, err);
  tri_progress_end(&progress);
  return status;
}

static void print_tensor(const tri_gguf_tensor *t, const json_t *entry) {
  char shape[64] = "";
  for (int d = t->n_dims - 1, n = 0; d >= 0; d--)
    n += snprintf(shape + n, sizeof shape - (size_t)n, d ? "%llu x " : "%llu", (unsigned long long)t->dims[d]);
  printf("%-40.*s %-8s %-20s %12zu", (int)t->name.len, t->name.data, tri_type_name(t->type), shape, t->bytes);
  const json_t *layout = json_object_get(entry, "layout"), *most = json_object_get(entry, "scale_max");
  if (layout) printf("  %s, scale %.6g", json_string_value(layout), json_real_value(json_object_get(entry, "scale")));
  if (most) printf(" to %.6g", json_real_value(most));
  if (layout) printf(", %.1f %% zeros", 100 * json_real_value(json_object_get(entry, "zeros")));
  putchar('\n');
}

static void print_parts(const json_t *parts) {
  size_t i;
  json_t *p;
  if (parts) printf("\n%-12s %14s  %s\n", "part", "bytes", "BLAKE2b-256");
  json_array_foreach(parts, i, p)
    printf("%-12s %14lld  %s\n", json_string_value(json_object_get(p, "part")), json_integer_value(json_object_get(p, "bytes")),
           json_string_value(json_object_get(p, "blake2b")));
}

static void print_text(const tri_gguf *g, json_t *doc) {
  printf("%s  %s, %zu keys, %zu tensors\n\n", tri_gguf_path(g), TRI_UNITS(tri_gguf_file_bytes(g)), tri_gguf_kv_count(g),
         tri_gguf_tensor_count(g));
  const char *key;
  json_t *value;
  json_object_foreach(json_object_get(doc, "metadata"), key, value) {
    char *text = json_dumps(json_is_object(value) ? json_object_get(value, "first") : value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(8));
    if (json_is_object(value)) printf("%-44s %lld of %s…\n", key, json_integer_value(json_object_get(value, "count")), text ? text : "?");
    else printf("%-44s %.200s\n", key, text ? text : "?");
    free(text);
  }
  print_parts(json_object_get(doc, "parts"));
  if (only_meta) return;
  printf("\n%-40s %-8s %-20s %s\n", "tensor", "type", "shape", "bytes");
  for (size_t i = 0; i < tri_gguf_tensor_count(g); i++)
    print_tensor(tri_gguf_tensor_at(g, i), json_array_get(json_object_get(doc, "tensors"), i));
}

int tri_cli_inspect(int argc, char **argv) {
  int code;
  if (!tri_cli_parse(&spec, argc, argv, 1, 1, NULL, &code)) return code;
  tri_error err;
  tri_gguf *g;
  if (tri_gguf_open(&g, argv[1], &err) != TRI_OK) return tri_cli_fail(&err);
  json_t *doc = describe(g);
  tri_status status = doc ? TRI_OK : tri_status_fail(&err, TRI_E_NOMEM, "out of memory");
  if (status == TRI_OK && check) status = check_all(g, doc, &err);
  if (status == TRI_OK && as_json) json_dumpf(doc, stdout, JSON_INDENT(2)), putchar('\n');
  else if (status == TRI_OK) print_text(g, doc);
  json_decref(doc);
  tri_gguf_close(&g);
  return status == TRI_OK ? 0 : tri_cli_fail(&err);
}
