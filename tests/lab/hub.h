/* SPDX-License-Identifier: MIT */
#ifndef TRI_TESTS_LAB_HUB_H
#define TRI_TESTS_LAB_HUB_H
#include <stdbool.h>
#include "tests/lab/topology.h"

/* The network of a lab: a namespace with a bridge, and one for each node, which is called NAME on the hub's side and eth0 on its
 * own. All of it lives as long as descriptors and processes inside refer to it; nothing of the host's network is touched. */

/* The node's namespace is this descriptor of the lab's first process, and so /proc/PID/fd/NUMBER for others. */
enum { LAB_FIRST_FD = 200 };

/* In the lab's first process, which is already in the namespace that becomes the hub. Starts a relay for each link with a delay;
 * these end with the first process, whose pid namespace they are in. */
TRI_MUST_CHECK tri_status lab_hub_build(const lab_topology *t, tri_error *err);

/* In the calling thread's namespace, which is a hub: pull or plug a node's cable. */
TRI_MUST_CHECK tri_status lab_hub_plug(const char *node, bool in, tri_error *err);
/* A link's rate in bit/s as its queues keep it, towards the node (its name) or from it (eth0); 0: no limit. */
TRI_MUST_CHECK tri_status lab_hub_shape(int ns_fd, const char *link, int64_t rate, tri_error *err);

/* Bytes that went over a node's link since it was made, with the Ethernet headers, as the hub counts them. */
typedef struct lab_traffic {
  int64_t sent, received; /* by the node */
  bool cut;
} lab_traffic;
/* In the calling thread's namespace, which is a hub. */
lab_traffic lab_hub_read(const char *node);

/* Carry Ethernet frames between two TAP devices, each `delay_ms` late, until a device goes. */
_Noreturn void lab_relay(int a_fd, int b_fd, double delay_ms);

#endif
