/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_TEMPLATE_IMPL_H
#define TRI_ENGINE_TEMPLATE_IMPL_H
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include "engine/template.h"

/* Inside the template engine: what a template is after reading, and the values that it works on. */

/* Memory that is freed at once. */
typedef struct arena {
  struct arena_block *blocks;
  size_t used, limit;
} arena;
void *arena_take(arena *a, size_t bytes); /* zeroed; NULL: beyond the limit, or none left */
void arena_free(arena *a);

typedef enum node_type {
  /* statements */
  N_TEXT, N_PRINT, N_FOR, N_IF, N_SET,
  /* expressions */
  N_STRING, N_INT, N_BOOL, N_NONE, N_NAME, N_LIST, N_DICT, N_ATTRIBUTE, N_INDEX, N_SLICE, N_CALL, N_FILTER, N_TEST, N_UNARY, N_BINARY,
  N_CHOICE, N_KEYWORD
} node_type;

typedef enum operator {
  OP_OR, OP_AND, OP_NOT, OP_EQ, OP_NE, OP_LT, OP_GT, OP_LE, OP_GE, OP_IN, OP_NOT_IN, OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_MOD, OP_JOIN, OP_NEG
} operator;

/* What a, b, c and list hold is said where each type is made (template_parse.c). */
typedef struct node {
  node_type type;
  int line;
  operator op;
  tri_str text;
  int64_t number;
  struct node *a, *b, *c, *list, *other, *next;
} node;

struct tri_template {
  arena arena;
  node *body;
};

/* Where one thing goes wrong in a deep recursion, all of it ends: the errors jump. */
typedef struct failure {
  jmp_buf out;
  tri_status status;
  tri_error *err;
} failure;
_Noreturn void template_fail(failure *f, tri_status status, int line, const char *fmt, ...) TRI_PRINTF(4, 5);

/* Statements until the end of the text. */
node *template_parse(arena *a, failure *f, tri_str text);

typedef enum value_type { V_UNDEFINED, V_NONE, V_BOOL, V_INT, V_STRING, V_LIST, V_DICT } value_type;

typedef struct value {
  value_type type;
  int64_t number;         /* V_BOOL, V_INT */
  const char *text;       /* V_STRING: `n` bytes, and which of them come from a message; NULL: none */
  const uint8_t *plain;
  struct value *items;    /* V_LIST: `n` values */
  struct dict *dict;      /* V_DICT */
  size_t n;
} value;

typedef struct entry {
  tri_str name;
  value v;
  struct entry *next;
} entry;

typedef struct dict {
  entry *first, *last;
  bool open; /* a namespace, whose entries can be set */
} dict;

typedef struct scope {
  dict names;
  struct scope *outer;
} scope;

typedef struct renderer {
  arena arena;
  failure fail;
  scope *scope;
  size_t steps;
  int depth;
} renderer;

void *template_take(renderer *r, size_t bytes, int line);
void template_step(renderer *r, int line);
value template_string(tri_str s);
value template_number(value_type type, int64_t n);
void template_set(renderer *r, dict *d, tri_str name, value v, int line);
const value *template_get(const dict *d, tri_str name); /* NULL: there is none */
bool template_true(const value *v);
value template_text(renderer *r, const value *v, int line); /* as {{ }} prints it */

value template_concat(renderer *r, const value *a, const value *b, int line); /* of two strings */
value template_eval(renderer *r, const node *n);
/* A filter or a method of this name on v. */
value template_apply(renderer *r, const node *n, tri_str name, value v, const value *args, size_t n_args);

static inline bool template_is(tri_str s, const char *text) { return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0; }

#endif
