/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include "base/toml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is taken can be written as JSON, so every text in it is UTF-8 and every number finite. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  json_t *doc;
  if (tri_toml_parse(&doc, (const char *)data, size, "input", NULL) != TRI_OK) return 0;
  char *text = json_dumps(doc, 0);
  if (!text) abort();
  free(text);
  json_decref(doc);
  return 0;
}
