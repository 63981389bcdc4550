/*
 * Memory that runs out: allocations of our own code (not of libraries it is linked with
 * at run time) fail once so many have succeeded. Linked with --wrap, see meson.build. One
 * thread.
 */
#ifndef TESTS_LAYER_FAIL_ALLOC_H
#define TESTS_LAYER_FAIL_ALLOC_H

/* `count` allocations succeed from now on, the next fails, and those after it succeed; -1
 * ends that. */
void fail_alloc_after(long count);
/* Whether one has failed since. */
int fail_alloc_happened(void);

#endif
