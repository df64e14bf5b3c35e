/* SPDX-License-Identifier: MIT */
/* A GGUF file taken for a model: opened, checked, converted to two types. What converts has to open again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/check.h"
#include "engine/convert.h"
#include "engine/model.h"
#include "engine/parts.h"

/* A file's metadata opens without the file and has the same parts, whose bytes, read anyhow, have the hashes. */
static void check_parts(const tri_gguf *g) {
  tri_parts *parts, *again;
  tri_gguf *header;
  tri_error err;
  tri_part_hash hash, want;
  if (tri_parts_open(&parts, g, &err) != TRI_OK) return;
  for (size_t i = 0; i < tri_parts_count(parts); i++) {
    size_t n = (size_t)tri_parts_bytes(parts, i), half = n / 3;
    uint8_t *bytes = malloc(n + 1);
    if (!bytes) abort();
    tri_parts_read(parts, i, 0, half, bytes);
    tri_parts_read(parts, i, half, n - half, bytes + half);
    tri_parts_hash(parts, i, &want);
    tri_parts_hash_bytes(bytes, n, &hash);
    if (memcmp(&hash, &want, sizeof hash) != 0) abort();
    if (i == 0) {
      if (tri_parts_open_metadata(&header, bytes, n, "metadata", &err) != TRI_OK || tri_parts_open(&again, header, &err) != TRI_OK) abort();
      for (size_t k = 0; k < tri_parts_count(parts); k++)
        if (tri_parts_bytes(again, k) != tri_parts_bytes(parts, k)) abort();
      tri_parts_close(&again), tri_gguf_close(&header);
    }
    free(bytes);
  }
  tri_parts_close(&parts);
}

static void check_file(const char *path) {
  tri_gguf *g;
  tri_error err;
  if (tri_gguf_open(&g, path, &err) != TRI_OK) return;
  for (size_t i = 0; i < tri_gguf_tensor_count(g); i++) {
    tri_check_tensor c;
    if (tri_check_read(g, tri_gguf_tensor_at(g, i), &c, &err) == TRI_OK && c.ternary && !(c.zeros >= 0 && c.zeros <= 1)) abort();
  }
  check_parts(g);
  tri_gguf_close(&g);
}

static void convert_file(const char *path, uint32_t type) {
  uint32_t head = TRI_TYPE_Q8_0;
  tri_convert_options o = {.linear_type = type, .absmean = true, .head_type = &head};
  char out[64];
  tri_gguf *g;
  tri_error err;
  snprintf(out, sizeof out, "/dev/shm/trireme-fuzz-%d", (int)getpid());
  if (tri_convert_gguf(path, out, &o, &err) != TRI_OK) return;
  if (tri_gguf_open(&g, out, &err) != TRI_OK) abort();
  tri_gguf_close(&g);
  unlink(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char path[64];
  tri_model *m;
  tri_error err;
  int fd = memfd_create("model", MFD_CLOEXEC);
  tri_log_set_level(TRI_LOG_ERROR);
  if (fd < 0 || write(fd, data, size) != (ssize_t)size) abort();
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  if (tri_model_open(&m, path, &err) == TRI_OK) tri_model_close(&m);
  check_file(path);
  convert_file(path, TRI_TYPE_I2_S);
  convert_file(path, TRI_TYPE_TQ2_0);
  close(fd);
  return 0;
}
