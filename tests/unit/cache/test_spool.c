/* Room for objects of unknown size, and work that is done once for all. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "cache/spool.h"
#include "cache/turn.h"
#include "common.h"

TestSuite(spool, .init = cache_setup, .fini = cache_teardown);
TestSuite(turn, .init = cache_setup, .fini = cache_teardown);

#define PIECE ((size_t)64 << 10)

Test(spool, gives_what_it_got)
{
    struct kf_store *store = cache_open();
    uint8_t in[PIECE], out[PIECE];
    struct kf_spool *spool;

    memset(in, 7, sizeof(in));
    cr_assert_eq(kf_spool_open(&spool, store, NULL), 0);
    cr_assert_eq(kf_spool_write(spool, in, PIECE, UINT64_C(1) << 33, NULL), 0);
    cr_assert_eq(kf_spool_write(spool, in, 100, 5, NULL), 0);
    cr_assert_eq(kf_spool_take(spool, out, PIECE, UINT64_C(1) << 33, NULL), 0);
    cr_assert_arr_eq(out, in, PIECE);
    cr_assert_eq(kf_spool_take(spool, out, 100, 5, NULL), 0);
    cr_assert_arr_eq(out, in, 100);
    kf_spool_close(spool);
    cache_close(store);
}

/* As much as the cache may hold, and one byte more; what was taken is room again. */
Test(spool, is_bounded_by_the_cache)
{
    const struct kf_store_opts opts = {.path = cache_path, .size_limit_bytes = 2 * PIECE};
    struct kf_store *store = cache_open_with(&opts);
    uint8_t data[PIECE] = {1};
    struct kf_spool *spool;
    struct kf_err err;

    cr_assert_eq(kf_spool_open(&spool, store, NULL), 0);
    cr_assert_eq(kf_spool_write(spool, data, PIECE, 0, &err), 0, "%s", err.message);
    cr_assert_eq(kf_spool_write(spool, data, PIECE, PIECE, &err), 0, "%s", err.message);
    cr_assert_eq(kf_spool_write(spool, data, 1, 2 * PIECE, &err), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
    cr_assert_eq(kf_spool_take(spool, data, PIECE, 0, &err), 0);
    cr_assert_eq(kf_spool_write(spool, data, 1, 2 * PIECE, &err), 0, "%s", err.message);
    kf_spool_close(spool);
    cache_close(store);
}

Test(spool, leaves_room_on_the_disk)
{
    const struct kf_store_opts opts = {.path = cache_path, .min_free_percent = 100};
    struct kf_store *store = cache_open_with(&opts);
    struct kf_store_space space;
    struct kf_spool *spool;
    struct kf_err err;
    int rc;

    cr_assert_eq(kf_store_space(store, &space, NULL), 0);
    cr_assert_eq(kf_spool_open(&spool, store, NULL), 0);
    rc = kf_spool_write(spool, "x", 1, 0, &err);
    /* Half of it all: on a disk that is emptier than that there is room. */
    cr_assert_eq(rc == 0, space.free_bytes > space.size_bytes / 2);
    if (rc != 0)
        cr_assert_eq(err.kind, KF_E_LIMIT);
    kf_spool_close(spool);
    cache_close(store);
}

static bool turn_exists(const struct kf_digest *name)
{
    char path[200], hex[65];

    (void)snprintf(path, sizeof(path), "%s/turn/%s", cache_path,
                   kf_digest_hex(name, hex));
    return access(path, F_OK) == 0;
}

struct taker {
    struct kf_store *store;
    int *inside, *most; /* atomic */
    pthread_t thread;
};

static const struct kf_digest name = {{1, 2, 3}};

static void *take_often(void *arg)
{
    struct taker *taker = arg;

    for (int i = 0; i < 20; i++) {
        struct kf_turn *turn;

        cr_assert_eq(
            kf_turn_take(&turn, taker->store, &name, KF_NS_PER_S * 60, NULL, NULL, NULL),
            0);
        cr_assert_not_null(turn);
        if (__atomic_add_fetch(taker->inside, 1, __ATOMIC_SEQ_CST) > 1)
            __atomic_store_n(taker->most, 2, __ATOMIC_SEQ_CST);
        (void)usleep(100);
        (void)__atomic_sub_fetch(taker->inside, 1, __ATOMIC_SEQ_CST);
        kf_turn_end(turn);
    }
    return NULL;
}

Test(turn, is_one_at_a_time, .timeout = 60)
{
    struct kf_store *store = cache_open();
    int inside = 0, most = 1;
    struct taker takers[3];

    for (unsigned i = 0; i < 3; i++) {
        takers[i] = (struct taker){.store = store, .inside = &inside, .most = &most};
        cr_assert_eq(pthread_create(&takers[i].thread, NULL, take_often, &takers[i]), 0);
    }
    for (unsigned i = 0; i < 3; i++)
        (void)pthread_join(takers[i].thread, NULL);
    cr_assert_eq(most, 1);
    cr_assert_not(turn_exists(&name));
    cache_close(store);
}

Test(turn, others_are_not_held_up)
{
    struct kf_store *store = cache_open();
    const struct kf_digest other = {{9}};
    struct kf_turn *a, *b;

    cr_assert_eq(kf_turn_take(&a, store, &name, KF_NS_PER_S, NULL, NULL, NULL), 0);
    cr_assert_eq(kf_turn_take(&b, store, &other, KF_NS_PER_S, NULL, NULL, NULL), 0);
    cr_assert(a && b);
    cr_assert(turn_exists(&name) && turn_exists(&other));
    kf_turn_end(a);
    kf_turn_end(b);
    kf_turn_end(NULL);
    cache_close(store);
}

static int give_up_soon(void *arg, struct kf_err *err)
{
    return ++*(int *)arg < 3 ? 0 : kf_fail(err, KF_E_CANCELLED, "enough");
}

Test(turn, waiting_can_be_given_up)
{
    struct kf_store *store = cache_open();
    struct kf_turn *held, *turn;
    struct kf_err err;
    int asked = 0;

    cr_assert_eq(kf_turn_take(&held, store, &name, KF_NS_PER_S, NULL, NULL, NULL), 0);
    cr_assert_eq(
        kf_turn_take(&turn, store, &name, KF_NS_PER_S, give_up_soon, &asked, &err), -1);
    cr_assert_eq(err.kind, KF_E_CANCELLED);
    cr_assert_eq(asked, 3);
    kf_turn_end(held);
    cache_close(store);
}

/* One who goes on is waited for longer than patience lasts, one who does not is not. */
static int go_on_for_a_while(void *arg, struct kf_err *err)
{
    struct kf_turn **held = arg;
    static int times;

    if (++times < 20)
        kf_turn_go_on(*held);
    return 0;
}

Test(turn, patience)
{
    struct kf_store *store = cache_open();
    struct kf_turn *held, *turn = NULL;
    int64_t began_ns = kf_now_ns();

    cr_assert_eq(kf_turn_take(&held, store, &name, KF_NS_PER_S, NULL, NULL, NULL), 0);
    cr_assert_eq(kf_turn_take(&turn, store, &name, 200 * KF_NS_PER_MS, go_on_for_a_while,
                              &held, NULL),
                 0);
    cr_assert_null(turn);
    cr_assert_geq(kf_now_ns() - began_ns, 550 * KF_NS_PER_MS);
    kf_turn_end(held);
    cache_close(store);
}

/* Without the folder the work is done without a turn. */
Test(turn, cannot_be_had)
{
    struct kf_store *store = cache_open();
    struct kf_turn *turn;
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/turn", cache_path);
    cr_assert_eq(rmdir(path), 0);
    cr_assert_eq(kf_turn_take(&turn, store, &name, KF_NS_PER_S, NULL, NULL, NULL), 0);
    cr_assert_null(turn);
    cache_close(store);
}
