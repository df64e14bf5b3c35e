/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>
#include "engine/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A template that is read writes a prompt or refuses to, within its bounds, and marks every byte of it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const tri_message messages[] = {{"system", {" be {{ brief }} ", 16}}, {"user", {"a\xc2\xa0", 3}}, {"assistant", {"", 0}}};
  tri_template *t;
  tri_error err;
  tri_buf text = {0}, plain = {0};
  if (tri_template_open(&t, (tri_str){(const char *)data, size}, &err) != TRI_OK) return 0;
  tri_template_input in = {.messages = messages, .n = 3, .answer = true, .bos = {"<s>", 3}, .eos = {"</s>", 4}};
  tri_status status = tri_template_render(t, &in, &text, &plain, &err);
  if (text.len != plain.len || (status != TRI_OK && text.len)) abort();
  for (size_t i = 0; i < plain.len; i++)
    if (plain.data[i] > 1) abort();
  tri_template_close(&t);
  tri_buf_free(&text);
  tri_buf_free(&plain);
  return 0;
}
