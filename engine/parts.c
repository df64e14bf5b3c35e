/* SPDX-License-Identifier: MIT */
#include "engine/parts.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "engine/gguf_impl.h"
#include "engine/show.h"

/* Numbers that order the kinds. */
enum { METADATA, EMBEDDING, FIRST_LAYER };
#define HEAD (UINT64_MAX - 1)
#define OTHER UINT64_MAX

typedef struct tensor_ref {
  uint64_t kind;
  const tri_gguf_tensor *tensor;
  uint64_t at; /* in its part */
} tensor_ref;

typedef struct part {
  uint64_t kind, bytes;
  size_t first, n; /* tensors */
  char name[24];
} part;

struct tri_parts {
  const tri_gguf *gguf;
  part *list;      /* [count] */
  size_t count;
  tensor_ref *refs; /* by part, then by name */
  size_t n_refs;
  uint8_t *metadata; /* the first part's bytes */
};

static uint64_t padded(uint64_t n) { return (n + TRI_PARTS_ALIGN - 1) / TRI_PARTS_ALIGN * TRI_PARTS_ALIGN; }

static uint64_t kind_of(const tri_gguf_tensor *t) {
  const char *name = TRI_SHOW(t->name);
  unsigned layer;
  int used = 0;
  if (strncmp(name, "token_embd.", 11) == 0) return EMBEDDING;
  if (strncmp(name, "output.", 7) == 0 || strncmp(name, "output_norm.", 12) == 0) return HEAD;
  return sscanf(name, "blk.%9u.%n", &layer, &used) == 1 && used ? FIRST_LAYER + (uint64_t)layer : OTHER;
}

static void name_part(part *p) {
  if (p->kind >= FIRST_LAYER && p->kind < HEAD) snprintf(p->name, sizeof p->name, "layer %llu", (unsigned long long)(p->kind - FIRST_LAYER));
  else snprintf(p->name, sizeof p->name, "%s", p->kind == METADATA ? "metadata" : p->kind == EMBEDDING ? "embedding" : p->kind == HEAD ? "head" : "other");
}

static int compare_refs(const void *a, const void *b) {
  const tensor_ref *x = a, *y = b;
  if (x->kind != y->kind) return x->kind < y->kind ? -1 : 1;
  const tri_str *s = &x->tensor->name, *t = &y->tensor->name;
  int order = memcmp(s->data, t->data, s->len < t->len ? s->len : t->len);
  return order ? order : (s->len > t->len) - (s->len < t->len);
}

/* --- the metadata's bytes --- */

static tri_status make_metadata(tri_parts *p, tri_error *err) {
  size_t files = tri_gguf_part_count(p->gguf);
  uint64_t bytes = 0;
  for (size_t i = 0; i < files; i++) bytes += padded(16 + tri_gguf_header(p->gguf, i).len);
  p->metadata = calloc(1, (size_t)bytes);
  if (!p->metadata) return tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory", tri_gguf_path(p->gguf));
  uint8_t *to = p->metadata;
  for (size_t i = 0; i < files; i++) {
    tri_str header = tri_gguf_header(p->gguf, i);
    const uint64_t sizes[2] = {tri_gguf_part_bytes(p->gguf, i), header.len};
    for (int k = 0; k < 16; k++) to[k] = (uint8_t)(sizes[k / 8] >> 8 * (k % 8));
    memcpy(to + 16, header.data, header.len);
    to += padded(16 + header.len);
  }
  p->list[0] = (part){.kind = METADATA, .bytes = bytes};
  p->count = 1;
  return TRI_OK;
}

tri_status tri_parts_open_metadata(tri_gguf **out, const uint8_t *bytes, size_t len, const char *name, tri_error *err) {
  enum { MAX_FILES = 1024 };
  static const uint64_t most = (uint64_t)1 << 50; /* bytes of a file: sums of such sizes don't overflow */
  tri_gguf *files[MAX_FILES];
  tri_cursor c = tri_cursor_over(bytes, len);
  tri_status status = TRI_OK;
  size_t n = 0;
  while (tri_cursor_left(&c) && status == TRI_OK) {
    uint64_t file = tri_cursor_u64(&c), header = tri_cursor_u64(&c);
    if (header > len) header = len; /* which fails below */
    const uint8_t *data = tri_cursor_take(&c, (size_t)header);
    tri_cursor_take(&c, (size_t)(padded(16 + header) - 16 - header));
    if (c.failed || n == MAX_FILES || file < header || file > most) status = tri_status_fail(err, TRI_E_FORMAT, "%s: metadata of a wrong size", name);
    else status = tri_gguf_open_header(&files[n], data, (size_t)header, file, name, err);
    if (status == TRI_OK) n++;
  }
  if (status == TRI_OK && n == 0) status = tri_status_fail(err, TRI_E_FORMAT, "%s: no metadata", name);
  if (status == TRI_OK && n > 1) status = tri_gguf_join(&files[0], files + 1, n - 1, err);
  else
    for (size_t i = 0; i < n && status != TRI_OK; i++) tri_gguf_close(&files[i]);
  if (status == TRI_OK) *out = files[0];
  return status;
}

/* --- the list --- */

static tri_status list_tensors(tri_parts *p, tri_error *err) {
  for (size_t i = 0; i < p->n_refs; i++) {
    const tri_gguf_tensor *t = tri_gguf_tensor_at(p->gguf, i);
    p->refs[i] = (tensor_ref){kind_of(t), t, 0};
  }
  qsort(p->refs, p->n_refs, sizeof *p->refs, compare_refs);
  for (size_t i = 0; i < p->n_refs; i++) {
    part *last = &p->list[p->count - 1];
    if (last->kind != p->refs[i].kind) last = &p->list[p->count++], *last = (part){.kind = p->refs[i].kind, .first = i};
    p->refs[i].at = last->bytes;
    last->n++;
    if (__builtin_add_overflow(last->bytes, padded(p->refs[i].tensor->bytes), &last->bytes))
      return tri_status_fail(err, TRI_E_FORMAT, "%s: tensors of more bytes than can be counted", tri_gguf_path(p->gguf));
  }
  for (size_t i = 0; i < p->count; i++) name_part(&p->list[i]);
  return TRI_OK;
}

tri_status tri_parts_open(tri_parts **out, const tri_gguf *g, tri_error *err) {
  size_t n = tri_gguf_tensor_count(g);
  tri_parts *p = calloc(1, sizeof *p);
  if (p) p->gguf = g, p->n_refs = n, p->list = calloc(n + 1, sizeof *p->list), p->refs = calloc(n + 1, sizeof *p->refs);
  if (!p || !p->list || !p->refs) return tri_parts_close(&p), tri_status_fail(err, TRI_E_NOMEM, "%s: out of memory", tri_gguf_path(g));
  tri_status status = make_metadata(p, err);
  if (status == TRI_OK) status = list_tensors(p, err);
  if (status != TRI_OK) return tri_parts_close(&p), status;
  *out = p;
  return TRI_OK;
}

void tri_parts_close(tri_parts **parts) {
  tri_parts *p = *parts;
  if (!p) return;
  free(p->list), free(p->refs), free(p->metadata);
  free(p);
  *parts = NULL;
}

size_t tri_parts_count(const tri_parts *p) { return p->count; }
const char *tri_parts_name(const tri_parts *p, size_t index) { return p->list[index].name; }
uint64_t tri_parts_bytes(const tri_parts *p, size_t index) { return p->list[index].bytes; }

static int find(const tri_parts *p, uint64_t kind) {
  size_t low = 0, high = p->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (p->list[middle].kind < kind) low = middle + 1;
    else high = middle;
  }
  return low < p->count && p->list[low].kind == kind ? (int)low : -1;
}
int tri_parts_metadata(const tri_parts *p) { return find(p, METADATA); }
int tri_parts_embedding(const tri_parts *p) { return find(p, EMBEDDING); }
int tri_parts_layer(const tri_parts *p, int layer) { return find(p, FIRST_LAYER + (uint64_t)layer); }
int tri_parts_head(const tri_parts *p) { return find(p, HEAD); }
int tri_parts_other(const tri_parts *p) { return find(p, OTHER); }

size_t tri_parts_needs(const tri_parts *p, bool tied, uint32_t first, uint32_t last, bool embed, bool head, size_t *out) {
  size_t n = 0;
  const int ends[] = {embed || (head && tied) ? tri_parts_embedding(p) : -1, head ? tri_parts_head(p) : -1, tri_parts_other(p)};
  for (uint32_t layer = first; layer < last; layer++) {
    int at = tri_parts_layer(p, (int)layer);
    if (at >= 0) out[n++] = (size_t)at;
  }
  for (int i = 0; i < 3; i++)
    if (ends[i] >= 0) out[n++] = (size_t)ends[i];
  return n;
}

/* --- bytes --- */

/* The tensor that byte `at` of the part belongs to, with its padding. */
static const tensor_ref *ref_at(const tri_parts *p, const part *q, uint64_t at) {
  size_t low = q->first, high = q->first + q->n;
  while (low + 1 < high) {
    size_t middle = low + (high - low) / 2;
    if (p->refs[middle].at <= at) low = middle;
    else high = middle;
  }
  return &p->refs[low];
}

void tri_parts_read(const tri_parts *p, size_t index, uint64_t at, size_t len, uint8_t *out) {
  const part *q = &p->list[index];
  if (q->kind == METADATA) {
    memcpy(out, p->metadata + at, len);
    return;
  }
  while (len) {
    const tensor_ref *r = ref_at(p, q, at);
    uint64_t in = at - r->at, left = in < r->tensor->bytes ? r->tensor->bytes - in : padded(r->tensor->bytes) - in;
    size_t n = left < len ? (size_t)left : len;
    if (in < r->tensor->bytes) memcpy(out, r->tensor->data + in, n);
    else memset(out, 0, n);
    out += n, at += n, len -= n;
  }
}

void tri_parts_hash_bytes(const uint8_t *bytes, size_t len, tri_part_hash *out) {
  crypto_generichash(out->bytes, sizeof out->bytes, bytes, len, NULL, 0);
}

void tri_parts_hex(const tri_part_hash *hash, char out[2 * TRI_PARTS_HASH_BYTES + 1]) {
  sodium_bin2hex(out, 2 * TRI_PARTS_HASH_BYTES + 1, hash->bytes, sizeof hash->bytes);
}

void tri_parts_hash(const tri_parts *p, size_t index, tri_part_hash *out) {
  static const uint8_t zeros[TRI_PARTS_ALIGN];
  const part *q = &p->list[index];
  if (q->kind == METADATA) {
    tri_parts_hash_bytes(p->metadata, (size_t)q->bytes, out);
    return;
  }
  crypto_generichash_state state;
  crypto_generichash_init(&state, NULL, 0, sizeof out->bytes);
  for (size_t i = q->first; i < q->first + q->n; i++) {
    const tri_gguf_tensor *t = p->refs[i].tensor;
    crypto_generichash_update(&state, t->data, t->bytes);
    crypto_generichash_update(&state, zeros, padded(t->bytes) - t->bytes);
    tri_file_map_drop(t->data, t->bytes);
  }
  crypto_generichash_final(&state, out->bytes, sizeof out->bytes);
}

void tri_parts_attach(const tri_parts *p, tri_gguf *g, size_t index, const uint8_t *bytes) {
  const part *q = &p->list[index];
  for (size_t i = q->first; i < q->first + q->n; i++)
    g->tensors[p->refs[i].tensor - g->tensors].data = bytes + p->refs[i].at;
}

bool tri_parts_alike(const tri_parts *p, size_t index, const tri_parts *from, size_t from_index) {
  const part *q = &p->list[index], *other = &from->list[from_index];
  bool alike = q->kind == other->kind && q->n == other->n && q->bytes == other->bytes;
  for (size_t i = 0; alike && i < q->n; i++) {
    const tri_gguf_tensor *a = p->refs[q->first + i].tensor, *b = from->refs[other->first + i].tensor;
    alike = a->bytes == b->bytes && a->name.len == b->name.len && memcmp(a->name.data, b->name.data, a->name.len) == 0;
  }
  return alike;
}

void tri_parts_lend(const tri_parts *p, tri_gguf *g, size_t index, const tri_parts *from, size_t from_index) {
  const part *q = &p->list[index], *other = &from->list[from_index];
  for (size_t i = 0; i < q->n; i++)
    g->tensors[p->refs[q->first + i].tensor - g->tensors].data = from->refs[other->first + i].tensor->data;
}

bool tri_parts_present(const tri_parts *p, size_t index) {
  const part *q = &p->list[index];
  for (size_t i = q->first; i < q->first + q->n; i++)
    if (!p->refs[i].tensor->data) return false;
  return true;
}
