/* SPDX-License-Identifier: MIT */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "engine/added.h"

#include <pcre2.h>
#include <stdlib.h>
#include "engine/space.h"

/* The tokens' texts as a tree of bytes: a node's children are a chain. */
typedef struct node {
  uint32_t child, next; /* 0: none */
  int32_t special, user; /* the token that ends here, of any kind and of those that are always found; -1: none */
  uint8_t byte;
} node;

struct tri_added {
  node *nodes; /* [0] is the root */
  uint32_t n_nodes;
  uint32_t first[256];  /* the root's children by their bytes; 0: none */
  int32_t *flags;       /* [tokens], or NULL */
  pcre2_code *space, *word; /* one character of white space, of a word; NULL where no token asks */
};

/* --- opening --- */

static bool belongs(const tri_vocab *v, size_t id, bool normalized) {
  bool added = v->types[id] == TRI_TOKEN_CONTROL || v->types[id] == TRI_TOKEN_USER || v->types[id] == TRI_TOKEN_UNKNOWN;
  return added && v->tokens[id].len && normalized == (v->flags && v->flags[id] & TRI_TOKEN_NORMALIZED);
}

static uint32_t find_child(const tri_added *a, uint32_t parent, uint8_t byte) {
  if (parent == 0) return a->first[byte];
  uint32_t i = a->nodes[parent].child;
  while (i && a->nodes[i].byte != byte) i = a->nodes[i].next;
  return i;
}

static void insert(tri_added *a, const uint8_t *text, size_t len, int32_t id, bool user) {
  uint32_t at = 0;
  for (size_t i = 0; i < len; i++) {
    uint32_t child = find_child(a, at, text[i]);
    if (!child) {
      child = a->n_nodes++;
      a->nodes[child] = (node){.next = at ? a->nodes[at].child : 0, .special = -1, .user = -1, .byte = text[i]};
      if (at) a->nodes[at].child = child;
      else a->first[text[i]] = child;
    }
    at = child;
  }
  if (a->nodes[at].special < 0) a->nodes[at].special = id; /* of equal ones the lowest id */
  if (user && a->nodes[at].user < 0) a->nodes[at].user = id;
}

static tri_status insert_all(tri_added *a, const tri_vocab *v, const tri_normal *normal, bool normalized, tri_error *err) {
  tri_buf text = {0};
  tri_status status = TRI_OK;
  for (size_t id = 0; id < v->n_tokens && status == TRI_OK; id++) {
    if (!belongs(v, id, normalized)) continue;
    tri_buf_clear(&text);
    if (normalized) status = tri_normal_append(normal, (const uint8_t *)v->tokens[id].data, v->tokens[id].len, true, &text);
    else tri_buf_append(&text, v->tokens[id].data, v->tokens[id].len);
    if (status != TRI_OK || !tri_buf_ok(&text)) status = tri_status_fail(err, TRI_E_NOMEM, "out of memory for added tokens");
    else if (text.len) insert(a, text.data, text.len, (int32_t)id, v->types[id] == TRI_TOKEN_USER);
  }
  tri_buf_free(&text);
  return status;
}

/* What all of them take at most as nodes; a normal form is at most three times as long (UAX #15), and a space. */
static tri_status allocate(tri_added *a, const tri_vocab *v, bool normalized, tri_error *err) {
  size_t total = 1;
  for (size_t id = 0; id < v->n_tokens; id++) {
    if (!belongs(v, id, normalized)) continue;
    if (v->tokens[id].len > TRI_ADDED_BYTES)
      return tri_status_fail(err, TRI_E_LIMIT, "token %zu, an added one, has %zu bytes, more than %d", id, v->tokens[id].len,
                             TRI_ADDED_BYTES);
    total += normalized ? 3 * v->tokens[id].len + 1 : v->tokens[id].len;
    if (total > TRI_ADDED_TOTAL)
      return tri_status_fail(err, TRI_E_LIMIT, "the added tokens' texts are more than %d MiB long", TRI_ADDED_TOTAL >> 20);
  }
  if (!(a->nodes = malloc(total * sizeof *a->nodes))) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for added tokens");
  a->nodes[a->n_nodes++] = (node){.special = -1, .user = -1};
  return TRI_OK;
}

static pcre2_code *compile(const char *pattern) {
  int code;
  size_t at;
  return pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED, &code, &at, NULL);
}

/* In SentencePiece's normal form a space is a mark, which is no white space. */
static tri_status copy_flags(tri_added *a, const tri_vocab *v, bool marks, tri_error *err) {
  if (!v->flags) return TRI_OK;
  a->flags = malloc(v->n_tokens * sizeof *a->flags);
  a->space = compile(marks ? "(?! )[" TRI_SPACE "]" : "[" TRI_SPACE "]");
  a->word = compile("[\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{200c}\\x{200d}]"); /* UTS #18's \w */
  if (!a->flags || !a->space || !a->word) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for added tokens");
  memcpy(a->flags, v->flags, v->n_tokens * sizeof *a->flags);
  return TRI_OK;
}

tri_status tri_added_open(tri_added **out, const tri_vocab *v, const tri_normal *normal, bool normalized, tri_error *err) {
  tri_added *a = calloc(1, sizeof *a);
  if (!a) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for added tokens");
  tri_status status = allocate(a, v, normalized, err);
  if (status == TRI_OK) status = copy_flags(a, v, normalized && normal->spaces, err);
  if (status == TRI_OK) status = insert_all(a, v, normal, normalized, err);
  if (status != TRI_OK) return tri_added_close(&a), status;
  *out = a;
  return TRI_OK;
}

void tri_added_close(tri_added **a) {
  if (!*a) return;
  pcre2_code_free((*a)->space);
  pcre2_code_free((*a)->word);
  free((*a)->flags);
  free((*a)->nodes);
  free(*a);
  *a = NULL;
}

bool tri_added_any(const tri_added *a) { return a->n_nodes > 1; }

/* --- finding --- */

/* The longest token at the start of the text. */
static int32_t match(const tri_added *a, const uint8_t *text, const uint8_t *plain, size_t len, bool special, size_t *length) {
  int32_t found = -1;
  uint32_t at = a->first[*text];
  for (size_t i = 1; at; i++) {
    special = special && !(plain && plain[i - 1]);
    int32_t id = special ? a->nodes[at].special : a->nodes[at].user;
    if (id >= 0) found = id, *length = i;
    at = i < len ? find_child(a, at, text[i]) : 0;
  }
  return found;
}

/* Bytes of the character before or after a place, if it is one of the class; else 0. A byte that is no character is of none. */
static size_t class_after(const pcre2_code *class, const uint8_t *text, size_t len) {
  size_t bad, n = len < 4 ? len : 4;
  pcre2_match_data *data = n ? pcre2_match_data_create(1, NULL) : NULL;
  n = n ? tri_normal_valid(text, n, &bad) : 0;
  size_t size = data && n && pcre2_match(class, text, n, 0, PCRE2_NO_UTF_CHECK, data, NULL) > 0 ? pcre2_get_ovector_pointer(data)[1] : 0;
  pcre2_match_data_free(data);
  return size;
}

static size_t class_before(const pcre2_code *class, const uint8_t *text, size_t end) {
  size_t start = end;
  while (start && end - start < 4) {
    if ((text[--start] & 0xc0) == 0x80) continue;
    return class_after(class, text + start, end - start) == end - start ? end - start : 0;
  }
  return 0;
}

static bool stands_alone(const tri_added *a, const uint8_t *text, size_t len, size_t start, size_t end) {
  return !class_before(a->word, text, start) && !class_after(a->word, text + end, len - end);
}

int32_t tri_added_find(const tri_added *a, const uint8_t *text, const uint8_t *plain, size_t len, size_t from, bool special,
                       size_t *start, size_t *end) {
  for (size_t at = from, length = 0; at < len; at++) {
    int32_t id = a->first[text[at]] ? match(a, text + at, plain ? plain + at : NULL, len - at, special, &length) : -1;
    if (id < 0) continue;
    int32_t flags = a->flags ? a->flags[id] : 0;
    *start = at, *end = at + length;
    if (flags & TRI_TOKEN_SINGLE_WORD && !stands_alone(a, text, len, *start, *end)) {
      at = *end - 1; /* as the original does: nothing inside it is looked for */
      continue;
    }
    if (flags & TRI_TOKEN_LSTRIP)
      for (size_t n; *start > from && (n = class_before(a->space, text, *start)) && n <= *start - from;) *start -= n;
    if (flags & TRI_TOKEN_RSTRIP)
      for (size_t n; (n = class_after(a->space, text + *end, len - *end));) *end += n;
    return id;
  }
  return -1;
}
