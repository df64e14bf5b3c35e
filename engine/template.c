/* SPDX-License-Identifier: MIT */
#include "engine/template.h"

#include <stdlib.h>

#include "engine/show.h"
#include "engine/template_impl.h"

/* --- templates known by name: for files that carry none --- */

static const struct known {
  const char *name, *text;
} known[] = {
    {"bitnet", "{{ bos_token }}{% for m in messages %}{{ m.role | capitalize + ': ' + m.content | trim + '<|eot_id|>' }}{% endfor %}"
               "{% if add_generation_prompt %}Assistant: {% endif %}"},
    {"chatml", "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
               "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"},
    {"falcon3", "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}"
                "{% if m.role != 'assistant' or not loop.last %}{{ '\n' }}{% endif %}{% endfor %}"
                "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"},
    {"llama2",
     "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token + '[INST] ' }}"
     "{% if loop.index0 == 1 and messages[0].role == 'system' %}"
     "{{ ('<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' + m.content).strip() }}{% else %}{{ m.content.strip() }}{% endif %}"
     "{{ ' [/INST]' }}{% elif m.role == 'assistant' %}{{ ' ' + m.content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"},
    {"llama3",
     "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim + "
     "'<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"},
};

const char *tri_template_known(const char *name) {
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strcmp(name, known[i].name) == 0) return known[i].text;
  return NULL;
}

const char *tri_template_names(void) { return "bitnet, chatml, falcon3, llama2 and llama3"; }

/* --- reading --- */

/* setjmp stands in functions of its own, whose variables don't change after it. False: it failed. */
static bool read(tri_template *t, failure *fail, tri_str text) {
  if (setjmp(fail->out)) return false;
  t->body = template_parse(&t->arena, fail, text);
  return true;
}

/* Copy, with one kind of line end, as Jinja does first of all. */
static size_t one_line_end(char *out, tri_str text) {
  size_t n = 0;
  for (size_t i = 0; i < text.len; i++) {
    bool pair = text.data[i] == '\r' && i + 1 < text.len && text.data[i + 1] == '\n';
    if (!pair) out[n++] = text.data[i] == '\r' ? '\n' : text.data[i];
  }
  return n;
}

tri_status tri_template_open(tri_template **out, tri_str text, tri_error *err) {
  if (text.len > TRI_TEMPLATE_BYTES)
    return tri_status_fail(err, TRI_E_LIMIT, "a chat template of %zu bytes, more than %d", text.len, TRI_TEMPLATE_BYTES);
  tri_template *t = calloc(1, sizeof *t);
  if (!t) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the chat template");
  failure fail = {.err = err};
  t->arena.limit = TRI_TEMPLATE_MEMORY;
  char *copy = arena_take(&t->arena, text.len + 1);
  if (!copy) return tri_template_close(&t), tri_status_fail(err, TRI_E_NOMEM, "out of memory for the chat template");
  if (!read(t, &fail, (tri_str){copy, one_line_end(copy, text)})) return tri_template_close(&t), fail.status;
  *out = t;
  return TRI_OK;
}

void tri_template_close(tri_template **t) {
  if (!*t) return;
  arena_free(&(*t)->arena);
  free(*t);
  *t = NULL;
}

/* --- rendering --- */

typedef struct output {
  tri_buf *text, *plain;
} output;

static void put(const output *o, const value *v) {
  tri_buf_append(o->text, v->text, v->n);
  if (v->plain) {
    tri_buf_append(o->plain, v->plain, v->n);
  } else {
    uint8_t *none = tri_buf_reserve(o->plain, v->n);
    if (none) memset(none, 0, v->n), o->plain->len += v->n;
  }
}

static void run(renderer *r, const node *n, const output *o);

static tri_str str(const char *text) { return (tri_str){text, strlen(text)}; }

static void set_loop(renderer *r, dict *names, const value *items, size_t i, size_t n, int line) {
  value loop = {.type = V_DICT, .dict = template_take(r, sizeof(dict), line)};
  const struct {
    const char *name;
    value v;
  } facts[] = {{"index0", template_number(V_INT, (int64_t)i)},     {"index", template_number(V_INT, (int64_t)i + 1)},
               {"first", template_number(V_BOOL, i == 0)},         {"last", template_number(V_BOOL, i + 1 == n)},
               {"length", template_number(V_INT, (int64_t)n)},     {"previtem", i ? items[i - 1] : (value){0}},
               {"nextitem", i + 1 < n ? items[i + 1] : (value){0}}};
  for (size_t k = 0; k < sizeof facts / sizeof *facts; k++) template_set(r, loop.dict, str(facts[k].name), facts[k].v, line);
  template_set(r, names, str("loop"), loop, line);
}

/* The items for which the loop's condition holds. */
static value chosen(renderer *r, const node *n, value list) {
  if (!n->b) return list;
  value out = {.type = V_LIST, .items = template_take(r, (list.n ? list.n : 1) * sizeof(value), n->line)};
  for (size_t i = 0; i < list.n; i++) {
    scope inner = {.outer = r->scope};
    template_set(r, &inner.names, n->text, list.items[i], n->line);
    r->scope = &inner;
    value holds = template_eval(r, n->b);
    r->scope = inner.outer;
    if (template_true(&holds)) out.items[out.n++] = list.items[i];
  }
  return out;
}

/* Each round has names of its own, as Jinja has it: what is set in it is gone after it. */
static void run_for(renderer *r, const node *n, const output *o) {
  value list = template_eval(r, n->a);
  if (list.type != V_LIST && list.type != V_UNDEFINED)
    template_fail(&r->fail, TRI_E_UNSUPPORTED, n->line, "a loop over something that is no list");
  list = chosen(r, n, list);
  for (size_t i = 0; i < list.n; i++) {
    scope inner = {.outer = r->scope};
    template_set(r, &inner.names, n->text, list.items[i], n->line);
    set_loop(r, &inner.names, list.items, i, list.n, n->line);
    r->scope = &inner;
    run(r, n->list, o);
    r->scope = inner.outer;
  }
  if (!list.n) run(r, n->other, o);
}

static void run_set(renderer *r, const node *n) {
  value v = template_eval(r, n->a), of = n->b ? template_eval(r, n->b) : (value){0};
  if (n->b && (of.type != V_DICT || !of.dict->open))
    template_fail(&r->fail, TRI_E_FORMAT, n->line, "\"%s\" is set of something that is no namespace", TRI_SHOW(n->text));
  template_set(r, n->b ? of.dict : &r->scope->names, n->text, v, n->line);
}

static void run(renderer *r, const node *n, const output *o) {
  for (value v; n; n = n->next) {
    template_step(r, n->line);
    switch (n->type) {
    case N_TEXT: v = template_string(n->text), put(o, &v); break;
    case N_PRINT: v = template_eval(r, n->a), v = template_text(r, &v, n->line), put(o, &v); break;
    case N_FOR: run_for(r, n, o); break;
    case N_SET: run_set(r, n); break;
    default: v = template_eval(r, n->a), run(r, template_true(&v) ? n->list : n->other, o);
    }
    if (o->text->len > TRI_TEMPLATE_MEMORY || !tri_buf_ok(o->text) || !tri_buf_ok(o->plain))
      template_fail(&r->fail, TRI_E_LIMIT, n->line, "the prompt is longer than %d MiB", TRI_TEMPLATE_MEMORY >> 20);
  }
}

static value messages_of(renderer *r, const tri_template_input *in) {
  value list = {.type = V_LIST, .items = template_take(r, (in->n ? in->n : 1) * sizeof(value), 0), .n = in->n};
  for (size_t i = 0; i < in->n; i++) {
    value content = template_string(in->messages[i].content);
    uint8_t *plain = template_take(r, content.n, 0);
    memset(plain, 1, content.n);
    content.plain = plain;
    list.items[i] = (value){.type = V_DICT, .dict = template_take(r, sizeof(dict), 0)};
    template_set(r, list.items[i].dict, str("role"), template_string(str(in->messages[i].role)), 0);
    template_set(r, list.items[i].dict, str("content"), content, 0);
  }
  return list;
}

static bool render(renderer *r, const tri_template *t, const tri_template_input *in, const output *o) {
  dict *names = &r->scope->names;
  if (setjmp(r->fail.out)) return false;
  template_set(r, names, str("messages"), messages_of(r, in), 0);
  template_set(r, names, str("add_generation_prompt"), template_number(V_BOOL, in->answer), 0);
  template_set(r, names, str("bos_token"), template_string(in->bos), 0);
  template_set(r, names, str("eos_token"), template_string(in->eos), 0);
  template_set(r, names, str("tools"), (value){.type = V_NONE}, 0);
  run(r, t->body, o);
  return true;
}

tri_status tri_template_render(const tri_template *t, const tri_template_input *in, tri_buf *text, tri_buf *plain, tri_error *err) {
  size_t text_len = text->len, plain_len = plain->len;
  scope globals = {0};
  renderer r = {.arena.limit = TRI_TEMPLATE_MEMORY, .fail.err = err, .scope = &globals};
  bool ok = render(&r, t, in, &(output){text, plain});
  if (!ok) text->len = text_len, plain->len = plain_len;
  arena_free(&r.arena);
  return ok ? TRI_OK : r.fail.status;
}
