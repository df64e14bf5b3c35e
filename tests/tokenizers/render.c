/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "engine/template.h"

/* Lines of JSON in, {"template", "messages", "answer", "bos", "eos"}; for each a line with the prompt as a JSON string, or null with
 * the reason on stderr. templates.mjs compares. */

enum { MESSAGES = 64 };

static tri_str str_of(const json_t *object, const char *key) {
  const json_t *s = json_object_get(object, key);
  return (tri_str){s ? json_string_value(s) : "", s ? json_string_length(s) : 0};
}

static json_t *render(const json_t *line) {
  tri_error err;
  tri_template *t;
  tri_message messages[MESSAGES];
  tri_buf text = {0}, plain = {0};
  const json_t *list = json_object_get(line, "messages");
  tri_str source = str_of(line, "template");
  const char *known = tri_template_known(source.data);
  tri_template_input in = {messages, json_array_size(list), json_is_true(json_object_get(line, "answer")), str_of(line, "bos"),
                           str_of(line, "eos")};
  if (in.n > MESSAGES) abort();
  for (size_t i = 0; i < in.n; i++)
    messages[i] = (tri_message){str_of(json_array_get(list, i), "role").data, str_of(json_array_get(list, i), "content")};
  if (tri_template_open(&t, known ? (tri_str){known, strlen(known)} : source, &err) != TRI_OK)
    return fprintf(stderr, "%s\n", err.text), json_null();
  json_t *out = json_null();
  if (tri_template_render(t, &in, &text, &plain, &err) != TRI_OK) fprintf(stderr, "%s\n", err.text);
  else if (plain.len == text.len) out = json_stringn(text.len ? (char *)text.data : "", text.len);
  tri_template_close(&t);
  tri_buf_free(&text);
  tri_buf_free(&plain);
  return out;
}

int main(void) {
  char *line = NULL;
  size_t cap = 0;
  for (ssize_t n; (n = getline(&line, &cap, stdin)) > 0;) {
    json_t *doc = json_loadb(line, (size_t)n, 0, NULL), *out = render(doc);
    json_dumpf(out, stdout, JSON_ENCODE_ANY);
    putchar('\n');
    json_decref(out);
    json_decref(doc);
  }
  free(line);
  return 0;
}
