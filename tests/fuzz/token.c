/* SPDX-License-Identifier: MIT */
/* A token's line, and a coordinator's file of them: what is read must read the same when it is written down again. */
#include <stdlib.h>
#include "proto/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_line(const uint8_t *data, size_t size) {
  char text[TRI_TOKEN_TEXT];
  tri_token t, again;
  char *line = malloc(size + 1);
  if (!line) return;
  memcpy(line, data, size);
  line[size] = 0;
  if (tri_token_parse(&t, line, NULL) == TRI_OK &&
      (tri_token_print(&t, text, NULL) != TRI_OK || tri_token_parse(&again, text, NULL) != TRI_OK || memcmp(&t, &again, sizeof t) != 0))
    abort();
  free(line);
}

static void try_list(const uint8_t *data, size_t size) {
  tri_grant_list list;
  if (tri_token_parse_list(&list, data, size, NULL) != TRI_OK) return;
  for (size_t i = 0; i < list.count; i++) {
    const tri_grant *g = &list.items[i];
    if (tri_token_find(&list, g->id) != g || g->role == TRI_ROLE_NONE || g->uses > TRI_TOKEN_MAX_USES || g->expires_s < 0) abort();
    for (size_t n = 0; g->name[n]; n++)
      if ((unsigned char)g->name[n] < ' ') abort();
  }
  tri_token_free_list(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  try_line(data, size);
  try_list(data, size);
  return 0;
}
