/* SPDX-License-Identifier: MIT */
/* Runs a fuzz target over every file of its corpus folder, so that each finding stays an ordinary test. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path) {
  FILE *f = fopen(path, "rb");
  if (!f) return perror(path), 1;
  fseek(f, 0, SEEK_END);
  long n = ftell(f);
  rewind(f);
  uint8_t *p = malloc(n ? (size_t)n : 1); /* exact size, so that a sanitizer sees any over-read */
  if (!p || fread(p, 1, (size_t)n, f) != (size_t)n) return perror(path), free(p), fclose(f), 1;
  fclose(f);
  LLVMFuzzerTestOneInput(p, (size_t)n);
  free(p);
  return 0;
}

int main(int argc, char **argv) {
  int files = 0, bad = 0;
  for (int i = 1; i < argc; i++) {
    DIR *d = opendir(argv[i]);
    if (!d) return perror(argv[i]), 1;
    for (struct dirent *e; (e = readdir(d));) {
      if (e->d_name[0] == '.') continue;
      char path[4096];
      snprintf(path, sizeof path, "%s/%s", argv[i], e->d_name);
      bad += replay_file(path), files++;
    }
    closedir(d);
  }
  printf("replayed %d inputs\n", files);
  return bad || files == 0;
}
