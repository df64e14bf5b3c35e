/* SPDX-License-Identifier: MIT */
/* An allow-list: what is read must read the same when it is written down again. */
#include <stdlib.h>
#include "base/buf.h"
#include "proto/keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  tri_allow_list list = {0}, again = {0};
  tri_error err;
  if (tri_keys_parse_allowed(&list, data, size, &err) != TRI_OK) return 0;
  tri_buf text = {0};
  for (size_t i = 0; i < list.count; i++) {
    char key[TRI_KEY_TEXT];
    tri_keys_text(list.items[i].key, key);
    tri_buf_printf(&text, "%s %s %s\n", key, tri_keys_role_name(list.items[i].role), list.items[i].name);
    if (tri_keys_find(&list, list.items[i].key) != &list.items[i]) abort();
  }
  if (tri_keys_parse_allowed(&again, text.data, text.len, &err) != TRI_OK || again.count != list.count) abort();
  if (list.count && memcmp(list.items, again.items, list.count * sizeof *list.items) != 0) abort();
  tri_buf_free(&text);
  tri_keys_free_allowed(&list);
  tri_keys_free_allowed(&again);
  return 0;
}
