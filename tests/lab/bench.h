/* SPDX-License-Identifier: MIT */
#ifndef TRI_TESTS_LAB_BENCH_H
#define TRI_TESTS_LAB_BENCH_H

/* `trireme-lab bench`: a coordinator in a lab's first node, workers in the others, and what they do and cost. */
#define LAB_BENCH_SUMMARY "Run a coordinator and workers in a lab of their own, and measure what they do and cost."

/* argv[0] is the command's name. Returns the process' exit code. */
int lab_bench(int argc, char **argv);

#endif
