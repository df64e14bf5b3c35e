/* SPDX-License-Identifier: MIT */
/* Who stands where, for throughput.
 *
 * Layers are alike, so how many of them a worker can take within a time T depends on its role alone: the first stage (which holds
 * the embedding and receives no rows), the last (which computes the head and sends none), or one between. A link's time is the
 * larger of its two ends' own, so a limit on links, too, is one on each end by itself. A pipeline that keeps to T then exists if
 * and only if one worker can take all layers in both roles at once, or some a as the first and some b as the last can take a
 * layer at least and, with all others between them, L in sum: any such sum can be thinned out to exactly L, and the order between
 * the ends does not matter. So the least T is found by bisection, exactly, with any number of workers. */
#include "coordinator/plan_impl.h"

#include <string.h>

typedef struct roles {
  uint32_t first[TRI_PLAN_MAX_WORKERS], middle[TRI_PLAN_MAX_WORKERS], last[TRI_PLAN_MAX_WORKERS]; /* layers within T */
  int sole; /* one that can take all; -1: none */
} roles;

/* Layers of a worker within T. */
static uint32_t layers_within(plan_problem *p, uint32_t i, bool embed, bool head, uint64_t t) {
  uint32_t room = plan_room(p, i, embed, head);
  uint64_t each = plan_layer_ns(p, i), used = head ? plan_head_ns(p, i) : 0;
  p->work++;
  if (used > t || (!embed && plan_receive_ns(p, i) > t) || (!head && plan_send_ns(p, i) > t)) return 0;
  return each && (t - used) / each < room ? (uint32_t)((t - used) / each) : room;
}

static void find_roles(plan_problem *p, uint64_t t, roles *r) {
  r->sole = -1;
  for (uint32_t i = 0; i < p->n; i++) {
    bool out = p->workers[i].excluded;
    r->first[i] = out ? 0 : layers_within(p, i, true, false, t);
    r->middle[i] = out ? 0 : layers_within(p, i, false, false, t);
    r->last[i] = out ? 0 : layers_within(p, i, false, true, t);
    if (!out && r->sole < 0 && layers_within(p, i, true, true, t) == p->m->layers) r->sole = (int)i;
  }
}

/* The two workers that gain most, or lose least, by an end's role. */
static void best_two(const plan_problem *p, const uint32_t *end, const uint32_t *middle, int out[2]) {
  out[0] = out[1] = -1;
  for (uint32_t i = 0; i < p->n; i++) {
    if (end[i] == 0) continue;
    int64_t gain = (int64_t)end[i] - middle[i];
    if (out[0] < 0 || gain > (int64_t)end[out[0]] - middle[out[0]]) out[1] = out[0], out[0] = (int)i;
    else if (out[1] < 0 || gain > (int64_t)end[out[1]] - middle[out[1]]) out[1] = (int)i;
  }
}

static bool fits_within(plan_problem *p, uint64_t t, roles *r) {
  find_roles(p, t, r);
  if (r->sole >= 0) return true;
  if (p->m->layers < 2) return false;
  int a[2], b[2];
  int64_t all = 0;
  best_two(p, r->first, r->middle, a);
  best_two(p, r->last, r->middle, b);
  for (uint32_t i = 0; i < p->n; i++) all += r->middle[i];
  for (int i = 0; i < 2; i++)
    for (int j = 0; j < 2; j++)
      if (a[i] >= 0 && b[j] >= 0 && a[i] != b[j] &&
          all - r->middle[a[i]] - r->middle[b[j]] + r->first[a[i]] + r->last[b[j]] >= p->m->layers)
        return true;
  return false;
}

/* The fewest stages with these ends: the roomiest workers between them. `sorted`: by middle, descending. Returns how many lie
 * between, UINT32_MAX: not enough; *spare: layers that could still be taken. */
static uint32_t count_between(plan_problem *p, const roles *r, const uint32_t *sorted, uint32_t a, uint32_t b, int64_t *spare) {
  int64_t need = (int64_t)p->m->layers - r->first[a] - r->last[b];
  uint32_t count = 0;
  for (uint32_t k = 0; k < p->n && need > 0; k++) {
    uint32_t i = sorted[k];
    if (i == a || i == b) continue;
    need -= r->middle[i];
    count++;
    p->work++;
  }
  *spare = -need;
  return need > 0 ? UINT32_MAX : count;
}

static void sort_by_middle(const plan_problem *p, const roles *r, uint32_t *sorted) {
  for (uint32_t i = 0; i < p->n; i++) {
    uint32_t k = i;
    for (; k > 0 && r->middle[sorted[k - 1]] < r->middle[i]; k--) sorted[k] = sorted[k - 1];
    sorted[k] = i;
  }
}

/* Between the ends in the order given, so that a plan reads as its workers do. */
static void write_order(const plan_problem *p, const uint32_t *sorted, uint32_t a, uint32_t b, uint32_t between, plan_order *out) {
  bool used[TRI_PLAN_MAX_WORKERS] = {false};
  for (uint32_t k = 0; between > 0; k++)
    if (sorted[k] != a && sorted[k] != b) used[sorted[k]] = true, between--;
  *out = (plan_order){.count = 1, .worker = {a}};
  for (uint32_t i = 0; i < p->n; i++)
    if (used[i]) out->worker[out->count++] = i;
  out->worker[out->count++] = b;
}

static void fewest_stages(plan_problem *p, const roles *r, plan_order *out) {
  uint32_t sorted[TRI_PLAN_MAX_WORKERS], fewest = UINT32_MAX, best_a = 0, best_b = 0;
  int64_t most_spare = -1;
  sort_by_middle(p, r, sorted);
  for (uint32_t a = 0; a < p->n; a++) {
    for (uint32_t b = 0; b < p->n; b++) {
      int64_t spare;
      if (a == b || r->first[a] == 0 || r->last[b] == 0) continue;
      uint32_t between = count_between(p, r, sorted, a, b, &spare);
      if (between == UINT32_MAX || between > fewest || (between == fewest && spare <= most_spare)) continue;
      fewest = between, most_spare = spare, best_a = a, best_b = b;
    }
  }
  write_order(p, sorted, best_a, best_b, fewest, out);
}

bool plan_order_throughput(plan_problem *p, plan_order *out, uint64_t *slowest_ns) {
  roles r;
  uint64_t low = 0, high = 0;
  for (uint32_t i = 0; i < p->n; i++) {
    const uint64_t most[] = {p->m->layers * plan_layer_ns(p, i) + plan_head_ns(p, i), plan_send_ns(p, i), plan_receive_ns(p, i)};
    for (int k = 0; k < 3; k++) high = most[k] > high ? most[k] : high;
  }
  if (!fits_within(p, high, &r)) return false;
  while (low < high) {
    uint64_t middle = low + (high - low) / 2;
    if (fits_within(p, middle, &r)) high = middle;
    else low = middle + 1;
  }
  fits_within(p, high, &r);
  *slowest_ns = high;
  if (r.sole >= 0) *out = (plan_order){.count = 1, .worker = {(uint32_t)r.sole}};
  else fewest_stages(p, &r, out);
  return true;
}

void plan_order_move(plan_order *o, uint32_t from, uint32_t to) {
  uint32_t moved = o->worker[from];
  memmove(&o->worker[from], &o->worker[from + 1], (o->count - from - 1) * sizeof *o->worker);
  memmove(&o->worker[to + 1], &o->worker[to], (o->count - to - 1) * sizeof *o->worker);
  o->worker[to] = moved;
}
