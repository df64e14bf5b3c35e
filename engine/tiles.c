/* SPDX-License-Identifier: MIT */
#include "engine/tiles.h"

#include <stdio.h>
#include <string.h>

#include "engine/show.h"

/* --- bitnet.cpp's presets --- */

/* From preset_kernels/.../kernel_config_tl1.ini and _tl2.ini. For TL1 of the 8B those files differ from setup_env.py, which
 * writes sizes of its own: as a wrong guess would go unnoticed, there is no TL1 preset for that model. */
static const struct preset {
  size_t m, k;
  tri_tiles tl1, tl2;
} presets[] = {
    /* bitnet_b1_58-large */
    {1536, 4096, {256, 128, 32}, {256, 96, 0}},
    {1536, 1536, {128, 64, 64}, {128, 192, 0}},
    {4096, 1536, {256, 128, 32}, {256, 96, 0}},
    /* bitnet_b1_58-3B */
    {3200, 8640, {160, 64, 32}, {160, 96, 0}},
    {3200, 3200, {320, 128, 64}, {320, 96, 0}},
    {8640, 3200, {320, 64, 32}, {320, 96, 0}},
    /* Llama3-8B-1.58-100B-tokens */
    {14336, 4096, {0}, {256, 96, 0}},
    {4096, 14336, {0}, {128, 96, 0}},
    {1024, 4096, {0}, {256, 96, 0}},
    {4096, 4096, {0}, {128, 96, 0}},
};

bool tri_tiles_preset(uint32_t type, size_t m, size_t k, tri_tiles *out) {
  for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
    const struct preset *p = &presets[i];
    const tri_tiles *tiles = type == TRI_TYPE_TL1 ? &p->tl1 : &p->tl2;
    if (p->m == m && p->k == k && tiles->bm) return *out = *tiles, true;
  }
  return false;
}

tri_tiles tri_tiles_choose(uint32_t type, size_t m, size_t k) {
  tri_tiles tiles;
  if (tri_tiles_preset(type, m, k, &tiles)) return tiles;
  uint32_t bm = 256;
  while (bm > 32 && m % bm) bm -= 32;
  if (type == TRI_TYPE_TL2) return (tri_tiles){bm, 96, 0};
  return (tri_tiles){bm, k % 128 == 0 ? 128 : k % 64 == 0 ? 64 : 32, 32};
}

/* --- as text --- */

/* The number at *p, 1 to 9999999, which it moves behind; 0 if there is none. */
static uint32_t take_number(const char **p) {
  uint32_t v = 0;
  int digits = 0;
  for (; **p >= '0' && **p <= '9' && digits < 7; (*p)++, digits++) v = v * 10 + (uint32_t)(**p - '0');
  return v;
}
static bool take_char(const char **p, char c) { return **p == c ? (*p)++, true : false; }

/* "BM,BK" or "BM,BK,bm", to the end of the text. */
static bool parse_sizes(const char *p, tri_tiles *out) {
  tri_tiles t = {0};
  if (!(t.bm = take_number(&p)) || !take_char(&p, ',') || !(t.bk = take_number(&p))) return false;
  if (take_char(&p, ',') && !(t.sub = take_number(&p))) return false;
  return *p == 0 ? *out = t, true : false;
}

tri_status tri_tiles_parse(const char *text, tri_tiles_given *out, tri_error *err) {
  const char *p = text;
  tri_tiles_given g = {0};
  if (!(g.m = take_number(&p)) || !take_char(&p, 'x') || !(g.k = take_number(&p)) || !take_char(&p, '=') ||
      !parse_sizes(p, &g.tiles))
    return tri_status_fail(err, TRI_E_INVALID, "tile sizes \"%s\": MxK=BM,BK or MxK=BM,BK,bm expected, as in 4096x14336=128,96",
                           TRI_SHOW_TEXT(text));
  *out = g;
  return TRI_OK;
}

const tri_tiles *tri_tiles_find(const tri_tiles_given *given, size_t n, size_t m, size_t k) {
  for (size_t i = 0; i < n; i++)
    if (given[i].m == m && given[i].k == k) return &given[i].tiles;
  return NULL;
}

/* --- in files --- */

static const char *const prefixes[] = {"trireme.tl1.", "trireme.tl2."};

static const char *key_of(char out[64], uint32_t type, size_t m, size_t k) {
  snprintf(out, 64, "%s%zux%zu", prefixes[type == TRI_TYPE_TL2], m, k);
  return out;
}

bool tri_tiles_is_key(tri_str key) {
  for (size_t i = 0; i < 2; i++)
    if (key.len >= strlen(prefixes[i]) && memcmp(key.data, prefixes[i], strlen(prefixes[i])) == 0) return true;
  return false;
}

tri_status tri_tiles_read(const tri_gguf *g, uint32_t type, size_t m, size_t k, bool *found, tri_tiles *out, tri_error *err) {
  char key[64], text[32];
  tri_str value;
  *found = tri_gguf_kv_find(g, key_of(key, type, m, k)) != NULL;
  if (!*found) return TRI_OK;
  if (tri_gguf_get_str(g, key, &value) && value.len < sizeof text) {
    memcpy(text, value.data, value.len), text[value.len] = 0;
    if (strlen(text) == value.len && parse_sizes(text, out)) return TRI_OK;
  }
  return tri_status_fail(err, TRI_E_FORMAT, "%s: key %s must be a text of tile sizes, \"BM,BK\" or \"BM,BK,bm\"", tri_gguf_path(g), key);
}

void tri_tiles_write(tri_gguf_writer *w, uint32_t type, size_t m, size_t k, tri_tiles tiles) {
  char key[64], text[64];
  int n = snprintf(text, sizeof text, "%u,%u", tiles.bm, tiles.bk);
  if (type == TRI_TYPE_TL1) snprintf(text + n, sizeof text - (size_t)n, ",%u", tiles.sub);
  tri_gguf_writer_str(w, key_of(key, type, m, k), text);
}
