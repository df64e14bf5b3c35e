/* SPDX-License-Identifier: MIT */
#ifndef TRI_TESTS_CLUSTER_FAKE_H
#define TRI_TESTS_CLUSTER_FAKE_H
#include "proto/loop.h"
#include "tests/cluster/lab.h"

/* A worker played by the test: an authenticated peer that says whatever the test wants. */

typedef struct fake {
  tri_keypair key;
  tri_net *net;
  tri_loop *loop;
  tri_link *control, *data; /* data: dialled */
  tri_incoming in;
  tri_msg msg;              /* the last one received */
  tri_status received;
} fake;

/* Connect with the key folder `node` of the cluster. */
void fake_open(fake *f, const tri_cluster *c, const char *node);
void fake_close(fake *f);
void fake_hello(fake *f, const char *name);
/* As one that says so of a layer's and the head's time, for one row and for many (0: not measured), and of its memory. */
void fake_boast(fake *f, const char *name, uint32_t us, uint32_t rows_us, uint64_t memory_bytes);
/* Run until a message of this kind has come over the control link; it is in f->msg. Others are passed over. */
void fake_await(fake *f, tri_msg_kind kind);
void fake_send(fake *f, const tri_msg *m);
/* As the stage that f->msg (an Assign) asks for: Bound, then the link to the next stage, then Ready. */
void fake_serve_first_stage(fake *f);
/* A step to the next stage. */
void fake_send_step(fake *f, const tri_msg *m, size_t payload_len);
/* Until the data link has been connected `n` times. */
void fake_await_data(fake *f, uint32_t n);

#endif
