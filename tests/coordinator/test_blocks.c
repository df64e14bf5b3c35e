/* SPDX-License-Identifier: MIT */
#include "tests/test.h"
#include "coordinator/blocks.h"

#include <stdlib.h>

enum { B = TRI_KV_BLOCK, LONGEST = 12 * B };

static tri_blocks *blocks;
static tri_error err;

static tri_blocks_chain chain_of(const int32_t *tokens, uint32_t n, uint32_t *held) {
  tri_blocks_chain c = {0};
  assert_int_equal(tri_blocks_find(blocks, &c, tokens, n, held), TRI_OK);
  assert_int_equal(tri_blocks_extend(blocks, &c, n), TRI_OK);
  tri_blocks_sent(blocks, &c, tokens, n);
  return c;
}

static void expect(uint32_t in_use, uint32_t cached, uint64_t asked, uint64_t hits, uint64_t evictions) {
  tri_blocks_stats s = tri_blocks_get_stats(blocks);
  assert_int_equal(s.in_use, in_use);
  assert_int_equal(s.cached, cached);
  assert_int_equal(s.asked, asked);
  assert_int_equal(s.hits, hits);
  assert_int_equal(s.evictions, evictions);
}

static void whole_blocks_of_a_prompt_are_found_again_but_for_its_last_token(void **state) {
  (void)state;
  int32_t tokens[LONGEST];
  uint32_t held;
  for (int i = 0; i < LONGEST; i++) tokens[i] = i;
  assert_ok(tri_blocks_create(&blocks, 8, &err), err);
  tri_blocks_chain a = chain_of(tokens, 3 * B, &held), c = {0};
  assert_int_equal(held, 0);
  expect(3, 0, 2, 0, 0);
  static const uint32_t lengths[][2] = {{0, 0}, {1, 0}, {B, 0}, {B + 1, B}, {2 * B + 7, 2 * B}, {3 * B, 2 * B}, {3 * B + 1, 3 * B}, {5 * B, 3 * B}};
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) { /* while the first one still has them */
    assert_int_equal(tri_blocks_find(blocks, &c, tokens, lengths[i][0], &held), TRI_OK);
    assert_int_equal(held, lengths[i][1]);
    if (held) assert_memory_equal(c.blocks, a.blocks, held / B * sizeof *c.blocks);
    tri_blocks_release(blocks, &c);
  }
  tri_blocks_release(blocks, &a);
  assert_int_equal(tri_blocks_get_stats(blocks).cached, 3);
  tokens[B]++; /* what follows another token is something else, though it is the same from there on */
  assert_int_equal(tri_blocks_find(blocks, &c, tokens, 5 * B, &held), TRI_OK);
  assert_int_equal(held, B);
  tri_blocks_release(blocks, &c);
  tokens[B]--;
  c.name[0] = 1; /* sequences that are kept apart */
  assert_int_equal(tri_blocks_find(blocks, &c, tokens, 5 * B, &held), TRI_OK);
  assert_int_equal(held, 0);
  tri_blocks_release(blocks, &c);
  tri_blocks_clear(blocks);
  assert_int_equal(tri_blocks_find(blocks, &c, tokens, 5 * B, &held), TRI_OK);
  assert_int_equal(held, 0);
  tri_blocks_release(blocks, &c);
  tri_blocks_destroy(&blocks);
}

static void room_comes_from_what_was_left_longest_ago_and_from_the_end(void **state) {
  (void)state;
  int32_t first[LONGEST], second[LONGEST];
  uint32_t held;
  for (int i = 0; i < LONGEST; i++) first[i] = i, second[i] = -i;
  assert_ok(tri_blocks_create(&blocks, 6, &err), err);
  tri_blocks_chain a = chain_of(first, 2 * B + 1, &held), b = chain_of(second, 2 * B, &held), c = {0};
  expect(5, 0, 3, 0, 0);
  assert_int_equal(tri_blocks_extend(blocks, &c, 2 * B), TRI_E_BUSY);
  assert_int_equal(c.n, 0);
  expect(5, 0, 3, 0, 0);
  tri_blocks_release(blocks, &b);
  tri_blocks_release(blocks, &a);
  expect(0, 4, 3, 0, 0); /* a's last block isn't full */
  assert_int_equal(tri_blocks_extend(blocks, &c, 3 * B), TRI_OK); /* two without a name, and the end of b */
  expect(3, 3, 3, 0, 1);
  b = chain_of(second, B + 1, &held);
  assert_int_equal(held, B);
  expect(5, 1, 4, 1, 2); /* its second block cost the end of a */
  tri_blocks_release(blocks, &c);
  tri_blocks_release(blocks, &b);
  tri_blocks_destroy(&blocks);
}

static void the_first_of_two_alike_is_the_one_that_is_found(void **state) {
  (void)state;
  int32_t tokens[LONGEST] = {0};
  uint32_t held, block;
  assert_ok(tri_blocks_create(&blocks, 9, &err), err);
  tri_blocks_chain chains[2] = {{0}, {0}}, c = {0};
  for (int i = 0; i < 2; i++) {
    assert_int_equal(tri_blocks_find(blocks, &chains[i], tokens, 2 * B, &held), TRI_OK);
    assert_int_equal(held, 0);
    assert_int_equal(tri_blocks_extend(blocks, &chains[i], 2 * B), TRI_OK);
  }
  tri_blocks_sent(blocks, &chains[1], tokens, 2 * B - 1); /* one full block */
  block = chains[1].blocks[0];
  tri_blocks_sent(blocks, &chains[0], tokens, 2 * B);
  tri_blocks_sent(blocks, &chains[1], tokens, 2 * B);
  assert_int_equal(tri_blocks_find(blocks, &c, tokens, 3 * B, &held), TRI_OK);
  assert_int_equal(held, 2 * B);
  assert_int_equal(c.blocks[0], block);
  assert_int_equal(c.blocks[1], chains[0].blocks[1]);
  for (int i = 0; i < 2; i++) tri_blocks_release(blocks, &chains[i]);
  tri_blocks_release(blocks, &c);
  assert_int_equal(tri_blocks_get_stats(blocks).cached, 2);
  tri_blocks_destroy(&blocks);
}

/* --- against a model that looks at everything --- */

enum { MOST = 23, CHAINS = 6 };

typedef struct model_block {
  uint32_t count;
  uint32_t length;         /* named: tokens up to its end; 0: not */
  int32_t tokens[LONGEST];
  uint64_t left;           /* when no chain had it any more */
} model_block;

typedef struct sequence {
  tri_blocks_chain chain;
  int32_t tokens[LONGEST];
  uint32_t n, sent;
} sequence;

static model_block model[MOST];
static uint64_t now;

static int find_model(const int32_t *tokens, uint32_t length) {
  for (int i = 0; i < MOST; i++)
    if (model[i].length == length && memcmp(model[i].tokens, tokens, length * sizeof *tokens) == 0) return i;
  return -1;
}

/* Is this the block that must be given now? */
static void model_take(uint32_t i) {
  assert_int_equal(model[i].count, 0);
  for (int j = 0; j < MOST && model[i].length; j++) {
    if (model[j].count) continue;
    assert_true(model[j].length > 0); /* none without a name was there */
    assert_true(model[j].left >= model[i].left);
  }
  model[i].length = 0;
  model[i].count = 1;
}

static void begin(sequence *q, uint64_t *seed) {
  q->n = 1 + (uint32_t)(test_random(seed) % LONGEST), q->sent = 0;
  for (uint32_t i = 0; i < LONGEST; i += B) { /* few beginnings */
    int32_t token = (int32_t)(test_random(seed) % 2);
    for (uint32_t j = 0; j < B; j++) q->tokens[i + j] = token + (int32_t)j;
  }
  uint32_t held, want = 0;
  for (int i; want + B < q->n && (i = find_model(q->tokens, want + B)) >= 0; want += B) model[i].count++;
  assert_int_equal(tri_blocks_find(blocks, &q->chain, q->tokens, q->n, &held), TRI_OK);
  assert_int_equal(held, want);
  for (uint32_t i = 0; i < held / B; i++) assert_int_equal(q->chain.blocks[i], find_model(q->tokens, (i + 1) * B));
  q->sent = held;
}

static void go_on(sequence *q, uint64_t *seed) {
  uint32_t n = q->sent + (uint32_t)(test_random(seed) % (3 * B)), had = q->chain.n, unheld = 0;
  if (n > q->n) n = q->n;
  for (int i = 0; i < MOST; i++) unheld += !model[i].count;
  tri_status status = tri_blocks_extend(blocks, &q->chain, n);
  uint32_t need = (n + B - 1) / B;
  if (need > had && need - had > unheld) {
    assert_int_equal(status, TRI_E_BUSY);
    assert_int_equal(q->chain.n, had);
    return;
  }
  assert_int_equal(status, TRI_OK);
  assert_int_equal(q->chain.n, need > had ? need : had);
  for (uint32_t i = had; i < q->chain.n; i++) model_take(q->chain.blocks[i]);
  for (uint32_t i = q->sent / B; i < n / B; i++) {
    if (find_model(q->tokens, (i + 1) * B) >= 0) continue;
    model_block *m = &model[q->chain.blocks[i]];
    m->length = (i + 1) * B;
    memcpy(m->tokens, q->tokens, m->length * sizeof *m->tokens);
  }
  tri_blocks_sent(blocks, &q->chain, q->tokens, n);
  q->sent = n;
}

static void end(sequence *q) {
  for (uint32_t i = q->chain.n; i-- > 0;)
    if (!--model[q->chain.blocks[i]].count) model[q->chain.blocks[i]].left = ++now;
  tri_blocks_release(blocks, &q->chain);
  q->n = 0;
}

static void random_operations_do_what_the_model_says(void **state) {
  (void)state;
  static sequence all[CHAINS];
  uint64_t seed = 20250204;
  assert_ok(tri_blocks_create(&blocks, MOST, &err), err);
  for (int round = 0; round < 60000; round++) {
    sequence *q = &all[test_random(&seed) % CHAINS];
    if (!q->n) begin(q, &seed);
    else if (q->sent == q->n || test_random(&seed) % 16 == 0) end(q);
    else go_on(q, &seed);
    uint32_t in_use = 0, cached = 0;
    for (int i = 0; i < MOST; i++) in_use += model[i].count > 0, cached += !model[i].count && model[i].length;
    tri_blocks_stats s = tri_blocks_get_stats(blocks);
    if (s.in_use != in_use || s.cached != cached) fail_msg("round %d: %u in use, not %u; %u cached, not %u", round, s.in_use, in_use, s.cached, cached);
  }
  tri_blocks_stats s = tri_blocks_get_stats(blocks);
  assert_true(s.hits > 1000 && s.hits < s.asked && s.evictions > 1000);
  for (int i = 0; i < CHAINS; i++) tri_blocks_forget(&all[i].chain);
  tri_blocks_destroy(&blocks);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(whole_blocks_of_a_prompt_are_found_again_but_for_its_last_token),
      cmocka_unit_test(room_comes_from_what_was_left_longest_ago_and_from_the_end),
      cmocka_unit_test(the_first_of_two_alike_is_the_one_that_is_found),
      cmocka_unit_test(random_operations_do_what_the_model_says),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
