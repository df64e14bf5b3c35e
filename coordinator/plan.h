/* SPDX-License-Identifier: MIT */
#ifndef TRI_COORDINATOR_PLAN_H
#define TRI_COORDINATOR_PLAN_H
#include <stdbool.h>
#include <stdint.h>
#include "base/status.h"

/* Which worker runs which layers, and who stands where. Pure arithmetic. docs/SCALING.md explains the model of cost:
 *
 *   computing  k layers of a step of b rows take k * layer(b), and the last stage's head head(b). Between 1 row and TRI_PLAN_MANY
 *              a step's time is taken as linear in its rows, beyond as proportional to them. Looking up an embedding's row costs
 *              next to nothing.
 *   links      a star: the coordinator and each worker have one link, to a switch. From a to b bytes go at min(up of a, down of b). A
 *              worker's round trip is four times through a link: twice its own, twice the coordinator's. A token's way around has
 *              each one's own link twice, and the coordinator's, and is handed on in each process. Beside the rows of the residual stream all messages are small.
 *   a stage    computes and sends at the same time: the slowest of all stages and links gives the rate of many streams, the sum
 *              of all of them and the round trips that of one. */

enum { TRI_PLAN_MAX_WORKERS = 256, TRI_PLAN_MAX_LAYERS = 1024, TRI_PLAN_MANY = 24, TRI_PLAN_REASON = 240, TRI_PLAN_HAND_US = 300 };

typedef struct tri_plan_model {
  uint32_t layers;
  uint64_t layer_bytes;     /* a layer's weights in memory */
  uint64_t kv_bytes;        /* a layer's KV cache for all slots */
  uint64_t embedding_bytes; /* on the stage with layer 0 */
  uint64_t head_bytes;      /* on the stage with the last layer: the matrix, and what sampling takes */
  uint64_t row_bytes;       /* a row between two stages (tri_wire_row_bytes); at most 2^24 */
  uint64_t hand_ns;         /* what a message costs a process beside computing and its link: TRI_PLAN_HAND_US. Threads are woken, and
                               find nothing of theirs in the caches any more */
  uint64_t hub_ns;          /* the part of each worker's round trip that is the coordinator's link, twice (tri_plan_hub_ns) */
} tri_plan_model;

typedef struct tri_plan_worker {
  const char *name;           /* for texts */
  uint64_t layer_ns, head_ns; /* one row through one layer; through norm and head */
  uint64_t layer_rows_ns, head_rows_ns; /* a step of TRI_PLAN_MANY rows; 0: not measured, each row as one alone */
  uint64_t memory_bytes;      /* it may use */
  uint64_t buffer_bytes;      /* that any stage needs there, beside its layers and the model's ends */
  uint64_t rtt_ns;     /* to the coordinator */
  uint64_t up_bytes_s, down_bytes_s; /* its link, per second; 0: no limit */
  /* what its owner wishes */
  bool excluded;              /* gets nothing */
  bool must;                  /* gets at least one layer where memory and the number of layers allow it */
  uint32_t position;          /* stands before the workers of a higher position; 0: anywhere */
  uint32_t first, last;       /* exactly the layers [first, last); last = 0: any */
} tri_plan_worker;

typedef enum tri_plan_objective {
  TRI_PLAN_THROUGHPUT, /* the slowest stage or link as fast as can be, then fewest stages, then most even (least sum of squares) */
  TRI_PLAN_LATENCY,    /* the least sum for one token's way, then fewest stages, then most even */
} tri_plan_objective;

typedef struct tri_plan_options {
  tri_plan_objective objective;
  uint32_t rows;    /* in a step, 1 to TRI_PLAN_MANY; 0 counts as 1 */
  bool fixed_order; /* stages in the order of the workers given; some may still be left out, unless they must be used */
} tri_plan_options;

typedef struct tri_plan_stage {
  uint32_t worker;      /* index into the workers given */
  uint32_t first, last; /* layers [first, last), never empty */
  uint64_t bytes;       /* that it needs there */
  uint64_t ns;          /* computing, a step of options.rows rows */
  uint64_t send_ns;     /* its rows to the next stage; 0 on the last */
} tri_plan_stage;

typedef struct tri_plan {
  uint32_t stages;
  tri_plan_stage stage[TRI_PLAN_MAX_WORKERS];
  uint64_t slowest_ns; /* stage or link, a step of options.rows rows: many streams have options.rows * 1e9 / slowest_ns tokens/s */
  uint64_t token_ns;   /* one row's way through all stages and links and back: one stream has 1e9 / token_ns tokens/s */
  uint64_t row_ns;     /* the slowest stage's or link's, a row of TRI_PLAN_MANY: a long prompt has 1e9 / row_ns tokens/s */
  uint64_t work;       /* elementary steps that finding it took */
} tri_plan;

/* The best plan. Workers that only hurt are left out (tri_plan_explain says why).
 * Exact: for throughput with any number of workers; for latency with up to 10, beyond that where all links are alike; in a fixed
 * order always. Where a worker has `first`, `last` or `position`, up to 5 workers are exact; beyond, the order is found by climbing.
 * TRI_E_LIMIT with the numbers when the model does not fit; TRI_E_INVALID when wishes contradict each other or the model. */
TRI_MUST_CHECK tri_status tri_plan_make(tri_plan *out, const tri_plan_model *m, const tri_plan_worker *workers, uint32_t n,
                                        const tri_plan_options *options, tri_error *err);

/* Why workers[i] has no stage in `plan`, which tri_plan_make has made of the same arguments: a short sentence. False: it has one. */
bool tri_plan_explain(const tri_plan *plan, const tri_plan_model *m, const tri_plan_worker *workers, uint32_t n,
                      const tri_plan_options *options, uint32_t i, char out[TRI_PLAN_REASON]);

/* Rows of a step when all slots generate and share as many steps as there are workers. */
uint32_t tri_plan_rows(uint32_t slots, uint32_t workers);
/* tri_plan_model.hub_ns is not measured alone: the coordinator's link is taken to be as good as the best worker's, so it is half of the
 * least round trip that is known. */
uint64_t tri_plan_hub_ns(const tri_plan_worker *workers, uint32_t n);
/* What a stage of `layers` layers needs on this worker; UINT64_MAX: more than can be. */
uint64_t tri_plan_bytes(const tri_plan_model *m, const tri_plan_worker *w, uint32_t layers, bool embed, bool head);
/* What it computes for a step of `rows` rows. */
uint64_t tri_plan_stage_ns(const tri_plan_worker *w, uint32_t layers, bool head, uint32_t rows);

tri_status tri_plan_parse_objective(const char *name, tri_plan_objective *out, tri_error *err); /* "throughput", "latency" */
const char *tri_plan_objective_name(tri_plan_objective objective);

#endif
