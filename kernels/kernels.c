/* SPDX-License-Identifier: MIT */
#include "kernels/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "kernels/cpu.h"
#include "kernels/levels.h"

/* Ascending: a later level is better than an earlier one of the same processor family. */
static const struct {
  const char *name;
  unsigned needs; /* TRI_CPU_ bits */
} levels[TRI_ISA_COUNT] = {
    [TRI_ISA_PORTABLE] = {"portable", 0},
    [TRI_ISA_AVX2] = {"avx2", TRI_CPU_AVX2},
    [TRI_ISA_AVXVNNI] = {"avxvnni", TRI_CPU_AVX2 | TRI_CPU_AVXVNNI},
    [TRI_ISA_AVX512] = {"avx512", TRI_CPU_AVX2 | TRI_CPU_AVX512},
    [TRI_ISA_NEON] = {"neon", TRI_CPU_NEON},
    [TRI_ISA_DOTPROD] = {"dotprod", TRI_CPU_NEON | TRI_CPU_DOTPROD},
    [TRI_ISA_I8MM] = {"i8mm", TRI_CPU_NEON | TRI_CPU_DOTPROD | TRI_CPU_I8MM},
};

const char *tri_kernels_isa_name(tri_isa isa) {
  return (unsigned)isa < TRI_ISA_COUNT ? levels[isa].name : "unknown";
}

const tri_kernels *tri_kernels_get(tri_isa isa) {
  if (isa == TRI_ISA_PORTABLE) return &tri_float_portable_table;
  if ((unsigned)isa >= TRI_ISA_COUNT) return NULL;
  if ((tri_cpu_features() & levels[isa].needs) != levels[isa].needs) return NULL;
  return tri_levels_table(isa);
}

/* The names of all levels, or only of those that run here, as "a, b, c". */
static const char *list_levels(bool here, char *text, size_t len) {
  size_t used = 0;
  text[0] = '\0';
  for (int isa = 0; isa < TRI_ISA_COUNT; isa++) {
    if (here && !tri_kernels_get((tri_isa)isa)) continue;
    int n = snprintf(text + used, len - used, "%s%s", used ? ", " : "", levels[isa].name);
    if (n < 0 || (size_t)n >= len - used) break;
    used += (size_t)n;
  }
  return text;
}

const tri_kernels *tri_kernels_pick(char *why, size_t why_len) {
  const char *wish = getenv("TRIREME_ISA");
  char list[128];
  if (!wish || !*wish) {
    for (int isa = TRI_ISA_COUNT - 1; isa > 0; isa--) {
      const tri_kernels *table = tri_kernels_get((tri_isa)isa);
      if (table) return table;
    }
    return &tri_float_portable_table;
  }
  for (int isa = 0; isa < TRI_ISA_COUNT; isa++) {
    if (strcmp(wish, levels[isa].name)) continue;
    const tri_kernels *table = tri_kernels_get((tri_isa)isa);
    if (table) return table;
    if (why_len)
      snprintf(why, why_len, "TRIREME_ISA=%s: this %s; here one can use %s", wish,
               tri_levels_table((tri_isa)isa) ? "CPU lacks it" : "program is for another processor family",
               list_levels(true, list, sizeof list));
    return NULL;
  }
  if (why_len)
    snprintf(why, why_len, "TRIREME_ISA=%s: there is no such level; the levels are %s", wish,
             list_levels(false, list, sizeof list));
  return NULL;
}
