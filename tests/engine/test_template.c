/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <stdlib.h>
#include "engine/template.h"

/* Prompts written out by hand, and what is refused. tests/tokenizers compares with another engine on templates that models carry. */

static tri_error err;
static const tri_message talk[] = {
    {"system", {"Be brief.", 9}}, {"user", {" Hi <|eot_id|> ", 15}}, {"assistant", {"Yes\n", 4}}, {"user", {"", 0}}};

static tri_status render(const char *source, size_t n, tri_buf *text, tri_buf *plain) {
  tri_template *t;
  tri_template_input in = {.messages = talk, .n = n, .answer = true, .bos = {"<s>", 3}, .eos = {"</s>", 4}};
  tri_status status = tri_template_open(&t, (tri_str){source, strlen(source)}, &err);
  if (status != TRI_OK) return status;
  status = tri_template_render(t, &in, text, plain, &err);
  tri_template_close(&t);
  assert_null(t);
  return status;
}

static void assert_renders(const char *source, size_t n, const char *want) {
  tri_buf text = {0}, plain = {0};
  assert_ok(render(source, n, &text, &plain), err);
  assert_int_equal(text.len, plain.len);
  assert_string_equal(text.len ? (char *)text.data : "", want);
  tri_buf_free(&text);
  tri_buf_free(&plain);
}

static void known_templates_write_the_prompts_that_they_are_named_for(void **state) {
  (void)state;
  assert_renders(tri_template_known("bitnet"), 4,
                 "<s>System: Be brief.<|eot_id|>User: Hi <|eot_id|><|eot_id|>Assistant: Yes<|eot_id|>User: <|eot_id|>Assistant: ");
  assert_renders(
      tri_template_known("llama3"), 2,
      "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi <|eot_id|>"
      "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n");
  assert_renders(tri_template_known("chatml"), 2,
                 "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi <|eot_id|> <|im_end|>\n<|im_start|>assistant\n");
  assert_renders(tri_template_known("falcon3"), 4,
                 "<|system|>\nBe brief.\n<|user|>\n Hi <|eot_id|> \n<|assistant|>\nYes\n</s>\n<|user|>\n\n<|assistant|>\n");
  assert_renders(tri_template_known("llama2"), 3,
                 "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n Hi <|eot_id|> [/INST] Yes </s>");
  assert_null(tri_template_known("nonsense"));
}

static void what_messages_say_is_marked(void **state) {
  (void)state;
  tri_buf text = {0}, plain = {0};
  assert_ok(
      render("{% for m in messages %}[{{ (m.role + ':' + m.content | trim | upper).replace('<', '((') }}]{% endfor %}", 2, &text, &plain),
      err);
  assert_string_equal((char *)text.data, "[system:BE BRIEF.][user:HI ((|EOT_ID|>]");
  static const char want[] = "000000001111111110000000111001111111110";
  for (size_t i = 0; i < text.len; i++)
    if (plain.data[i] != (want[i] == '1')) fail_msg("byte %zu of %s", i, (char *)text.data);
  tri_buf_free(&text);
  tri_buf_free(&plain);
}

static void expressions_mean_what_they_do_in_jinja(void **state) {
  (void)state;
  static const struct {
    const char *source, *want;
  } cases[] = {
      {"{{ 1 + 2 * 3 - -4 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 1 ~ 'a' ~ true }}", "11 3 -4 2 1aTrue"},
      {"{{ 'a' if 1 == 2 else 'b' if not 0 else 'c' }}{{ 'x' if false }}", "b"},
      {"{{ 2 < 3 and 3 <= 3 or nothing.at.all }} {{ none or 'x' }} {{ '' and y }}|", "True x |"},
      {"{{ 'b' in 'abc' }} {{ 3 not in [1, 2] }} {{ 'role' in messages[0] }} {{ [1, [2]] == [1, [2]] }}", "True True True True"},
      {"{{ messages | length }} {{ messages[1:] | length }} {{ messages[-1].role }} {{ messages[:1][0]['role'] }} {{ "
       "messages[::-1][0].role }}",
       "2 1 user system user"},
      {"{% set ns = namespace(n=1) %}{% for i in range(3) %}{% set ns.n = ns.n * 2 %}{% set lost = i %}{% endfor %}{{ ns.n }}{{ lost }}",
       "8"},
      {"{% for i in range(1, 4) if i != 2 %}{{ loop.index }}/{{ loop.length }}:{{ i }}{{ ',' if not loop.last }}{% else %}none{% endfor %}",
       "1/2:1,2/2:3"},
      {"{% for i in [] %}{% else %}none{% endfor %}", "none"},
      {"{% set d = {'a': 'x', 'b': 2} %}{{ d.a }}{{ d['b'] }}{{ d.get('c', 'z') }}{{ d.c is defined }}{% for p in d.items() %}{{ p[0] }}{% "
       "endfor %}",
       "x2zFalseab"},
      {"{{ ' a,b '.strip().split(',') | join('-') }} {{ 'xxaxx'.strip('x') }} {{ 'hello World' | title }} {{ 'ABC'.lower() }} {{ 'abC' | "
       "capitalize }}",
       "a-b a Hello World abc Abc"},
      {"{{ nothing | default('d') }}{{ '' | default('e', true) }}{{ 'abc'.startswith('ab') }}{{ 'abc'.endswith('ab') }}", "deTrueFalse"},
      {"{{ \"q\\\"\\n\\\\\" }}", "q\"\n\\"},
      {"a {%- if true -%} b {%- endif %} c", "ab c"},
      {"x\n  {% if true %}\n  y\n  {% endif %}\nz {# gone #}\n{#- too -#} !\n", "x\n  y\nz !"},
      {"x\r\n  {%+ if true +%}\r\ny{% endif %}\r\nz\rq{{+ 'w' }}\n", "x\n  \nyz\nqw"},
      {"{{ '{% raw' }}{{ \"}}\" }}", "{% raw}}"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) assert_renders(cases[i].source, 2, cases[i].want);
}

static void what_has_no_sense_is_refused_with_its_line(void **state) {
  (void)state;
  static const struct { const char *source; tri_status status; const char *part; } cases[] = {
      {"a\n{{ x", TRI_E_FORMAT, "line 2: a tag without its end"},
      {"{{ 'x }}", TRI_E_FORMAT, "without its end"},
      {"{{ 1 + }}", TRI_E_FORMAT, "an expression is expected"},
      {"{{ (1 }}", TRI_E_FORMAT, "')' is expected"},
      {"{% if 1 %}", TRI_E_FORMAT, "ends before \"elif else endif\""},
      {"{% endif %}", TRI_E_UNSUPPORTED, "a block \"endif\""},
      {"{% macro f() %}{% endmacro %}", TRI_E_UNSUPPORTED, "a block \"macro\""},
      {"{% for a, b in c %}{% endfor %}", TRI_E_UNSUPPORTED, "more than one name"},
      {"{{ 12345678901 }}", TRI_E_UNSUPPORTED, "11 digits"},
      {"{{ messages | tojson }}", TRI_E_UNSUPPORTED, "\"tojson\" of a list"},
      {"{{ strftime_now('%d') }}", TRI_E_UNSUPPORTED, "a call of \"strftime_now\""},
      {"{{ 1 is odd }}", TRI_E_UNSUPPORTED, "\"is odd\""},
      {"{{ a.b }}", TRI_E_FORMAT, "\"b\" of something undefined"},
      {"{{ 'a' + nothing }}", TRI_E_FORMAT, "'+' of something undefined"},
      {"{{ 1 // 0 }}", TRI_E_FORMAT, "a division by zero"},
      {"{{ messages }}", TRI_E_UNSUPPORTED, "a list or a dict as text"},
      {"{% set messages.x = 1 %}", TRI_E_FORMAT, "no namespace"},
      {"\n{{ raise_exception('No \x1b way') }}", TRI_E_INVALID, "line 2: the template refuses these messages: No ? way"},
      {"{% for a in range(3000) %}{% for b in range(3000) %}{% endfor %}{% endfor %}", TRI_E_LIMIT, "MiB are needed"},
      {"{% set n = namespace(s='aaaaaaaa') %}{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}", TRI_E_LIMIT, "MiB are needed"},
      {"{% set n = namespace(s=[]) %}{% for i in range(50000) %}{% set n.s = [n.s] %}{% endfor %}{{ n.s == n.s }}", TRI_E_LIMIT, "levels"},
      {"{% for i in range(2000000) %}{{ 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' }}{% endfor %}", TRI_E_LIMIT, "MiB"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    tri_buf text = {0}, plain = {0};
    tri_buf_append(&text, "before", 6);
    tri_status status = render(cases[i].source, 2, &text, &plain);
    if (status != cases[i].status || !strstr(err.text, cases[i].part))
      fail_msg("%s: %s \"%s\"; \"%s\" expected", cases[i].source, tri_status_name(status), err.text, cases[i].part);
    assert_int_equal(text.len, 6);
    tri_buf_free(&text);
    tri_buf_free(&plain);
  }
  tri_buf deep = {0}, text = {0}, plain = {0};
  for (int i = 0; i < 100000; i++) tri_buf_byte(&deep, '(');
  char *source = malloc(200100);
  sprintf(source, "{{ %.100000s }}", (char *)deep.data);
  assert_fails(render(source, 1, &text, &plain), TRI_E_LIMIT, err, "levels");
  tri_buf_free(&deep);
  free(source);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(known_templates_write_the_prompts_that_they_are_named_for),
      cmocka_unit_test(what_messages_say_is_marked),
      cmocka_unit_test(expressions_mean_what_they_do_in_jinja),
      cmocka_unit_test(what_has_no_sense_is_refused_with_its_line),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
