/* SPDX-License-Identifier: MIT */
#ifndef TRI_COORDINATOR_BLOCKS_H
#define TRI_COORDINATOR_BLOCKS_H
#include <stdint.h>
#include "base/status.h"
#include "kernels/kernels.h"

/* Which sequence has which blocks of the KV cache (engine/kv.h), and which blocks hold a beginning that another sequence may have
 * too. Every stage keeps the same block for the same positions, so one book for all of them is enough. Pure.
 *
 * A sequence's blocks are a chain. A full block has a name: the hash of the name of the block before it and of its own tokens, so the name
 * stands for all tokens up to its end. A sequence that begins takes the blocks whose names its prompt has, and they need not be
 * computed again. Blocks that no sequence has any more are kept, if they have a name, until their room is needed: the
 * one that has been without a sequence the longest goes first, and within a chain the last block before the one that it follows.
 *
 * Only full blocks have names, and a full block is never written again, so a block that several sequences have needs no copy for
 * whoever goes on differently: what goes on is in another block.
 *
 * Blocks change hands when steps are sent, not when their results are back: steps keep their order at every stage, so who
 * has a block next writes it after the last one has read it, and reads it after it was written.
 *
 * Every operation takes constant time for each block that it touches. */

typedef struct tri_blocks tri_blocks;

enum { TRI_BLOCKS_NAME = 32 }; /* bytes: BLAKE2b */

/* A sequence's blocks; {0} is one without any. To keep sequences apart that must not share, though they begin alike, let `name` begin
 * differently: how soon an answer comes tells whether somebody else began with the same. */
typedef struct tri_blocks_chain {
  uint32_t *blocks;              /* [n] in the order of positions; malloc'ed */
  uint32_t n, capacity;
  uint32_t named;                /* blocks that are full and known to be */
  uint8_t name[TRI_BLOCKS_NAME]; /* of the last of these */
} tri_blocks_chain;

typedef struct tri_blocks_stats {
  uint32_t total, in_use, cached;     /* blocks: all; of a sequence or several; of none, but with a name */
  uint64_t asked, hits, evictions;    /* blocks of prompts that could be there, and were; names given up for room */
} tri_blocks_stats;

/* n blocks, at least 1, all free. */
TRI_MUST_CHECK tri_status tri_blocks_create(tri_blocks **out, uint32_t n, tri_error *err);
void tri_blocks_destroy(tri_blocks **b);
/* The caches are new: all blocks are free, no name is known. Chains of before end with tri_blocks_forget. */
void tri_blocks_clear(tri_blocks *b);

/* A chain without blocks gets those that hold the longest known beginning of the prompt, the last token left out in any case: its row
 * must be computed. *held receives how many tokens that is, a multiple of TRI_KV_BLOCK; 0: none. TRI_E_NOMEM: none either. */
TRI_MUST_CHECK tri_status tri_blocks_find(tri_blocks *b, tri_blocks_chain *c, const int32_t *prompt, uint32_t n, uint32_t *held);
/* Give the chain blocks for positions [0, positions), those that it has included. TRI_E_BUSY: there are not enough; TRI_E_NOMEM. On
 * failure the chain is as it was. */
TRI_MUST_CHECK tri_status tri_blocks_extend(tri_blocks *b, tri_blocks_chain *c, uint32_t positions);
/* The steps with tokens [0, n) of the sequence have been sent: blocks that are now full get names. Of two with the same name the first
 * is the one that is found. */
void tri_blocks_sent(tri_blocks *b, tri_blocks_chain *c, const int32_t *tokens, uint32_t n);
/* The sequence's last step has been sent. The chain is then {0}. */
void tri_blocks_release(tri_blocks *b, tri_blocks_chain *c);
/* Free a chain's memory alone: its blocks are no more. */
void tri_blocks_forget(tri_blocks_chain *c);

tri_blocks_stats tri_blocks_get_stats(const tri_blocks *b);

#endif
