/*
 * Chunks that are stored as they are and checked when they come; and reads that are
 * cancelled before they begin, or used again.
 */
#include <criterion/criterion.h>
#include <semaphore.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "rig.h"

static struct rig rig;

static void open_checked(void)
{
    rig_open(&rig, &(struct rig_opts){.checked = true});
}

static void open_cached(void)
{
    rig_open(&rig, &(struct rig_opts){.checked = true, .cached = true});
}

static void close_rig(void)
{
    rig_close(&rig);
}

static void answer_all(void)
{
    rig.held->automatic = true;
}

TestSuite(feed_check, .init = open_checked, .fini = close_rig);
TestSuite(feed_check_cached, .init = open_cached, .fini = close_rig);

Test(feed_check, right_bytes_pass)
{
    answer_all();
    cr_assert_eq(read_whole(&rig, 100, 3 * CHUNK), KF_E_NONE);
    cr_assert_eq(rig_stat(&rig, KF_STAT_VERIFY_FAILURES), 0);
}

Test(feed_check, a_damaged_chunk_is_fetched_once_more)
{
    rig.held->damage_first = rig.held->damage_last = 1;
    answer_all();
    cr_assert_eq(read_whole(&rig, 0, CHUNK), KF_E_NONE);
    cr_assert_eq(held_count(rig.held), 2);
    cr_expect_not(rig.held->requests[0].fresh);
    cr_expect(rig.held->requests[1].fresh);
    cr_assert_eq(rig_stat(&rig, KF_STAT_VERIFY_FAILURES), 1);
}

Test(feed_check_cached, a_chunk_damaged_twice_is_an_error_and_not_kept)
{
    rig.held->damage_first = 1;
    rig.held->damage_last = 2;
    answer_all();
    cr_assert_eq(read_whole(&rig, 0, CHUNK), KF_E_CORRUPT);
    cr_assert_eq(held_count(rig.held), 2);
    rig_wait_quiet(&rig);
    cr_assert_not(kf_object_has(rig.object, 0));
    cr_assert_eq(read_whole(&rig, 0, CHUNK), KF_E_NONE);
    cr_assert_eq(held_count(rig.held), 3);
}

/* Only the chunk that is damaged: its neighbours came in the same request. */
Test(feed_check, damage_is_the_matter_of_one_chunk)
{
    rig.held->damage_first = rig.held->damage_last = 1;
    answer_all();
    cr_assert_eq(read_whole(&rig, 0, 4 * CHUNK), KF_E_NONE);
    cr_assert_eq(held_count(rig.held), 2);
    cr_assert_eq(rig.held->requests[1].length, CHUNK);
    cr_assert_eq(rig_stat(&rig, KF_STAT_VERIFY_FAILURES), 1);
}

/* The cache keeps the digest that the check gave. */
Test(feed_check_cached, digest_is_kept)
{
    struct kf_digest kept, expected;
    uint8_t bytes[CHUNK];

    answer_all();
    rig_cache(&rig, 2);
    for (size_t i = 0; i < CHUNK; i++)
        bytes[i] = held_byte(2 * (uint64_t)CHUNK + i);
    cr_assert_eq(kf_digest_of(&expected, bytes, CHUNK, NULL), 0);
    cr_assert(kf_object_digest(rig.object, 2, &kept));
    cr_assert(kf_digest_equal(&kept, &expected));
}

/* ---- cancelled before it begins; used again ---- */

struct again {
    struct kf_read read;
    sem_t done;
    enum kf_err_kind kind;
};

static void again_done(struct kf_read *read, const void *data, const struct kf_err *err)
{
    struct again *again = kf_container_of(read, struct again, read);

    again->kind = data ? KF_E_NONE : err->kind;
    if (data && memcmp(data, &(uint8_t){held_byte(read->offset)}, 1) != 0)
        again->kind = KF_E_CORRUPT;
    (void)sem_post(&again->done);
}

static enum kf_err_kind read_again(struct again *again, uint64_t offset, size_t length)
{
    again->read.offset = offset;
    again->read.length = length;
    kf_feed_read(rig.feed, &again->read);
    while (sem_wait(&again->done) != 0)
        ;
    return again->kind;
}

static void again_init(struct again *again)
{
    memset(again, 0, sizeof(*again));
    again->read.done = again_done;
    (void)sem_init(&again->done, 0, 0);
}

Test(feed_check, cancelled_before_it_begins)
{
    struct again again;

    again_init(&again);
    cr_assert_not(kf_read_is_cancelled(&again.read));
    kf_feed_cancel(rig.feed, &again.read);
    cr_assert(kf_read_is_cancelled(&again.read));
    cr_assert_eq(read_again(&again, 0, CHUNK), KF_E_CANCELLED);
    cr_assert_eq(read_again(&again, 0, 3 * CHUNK), KF_E_CANCELLED); /* it stays so */
    cr_assert_eq(held_count(rig.held), 0);
    (void)sem_destroy(&again.done);
}

Test(feed_check_cached, cancelled_before_it_begins_and_cached)
{
    struct again again;

    answer_all();
    rig_cache(&rig, 0);
    again_init(&again);
    kf_feed_cancel(rig.feed, &again.read);
    cr_assert_eq(read_again(&again, 0, CHUNK), KF_E_CANCELLED);
    (void)sem_destroy(&again.done);
}

Test(feed_check_cached, one_read_used_again_and_again)
{
    struct again again;

    answer_all();
    again_init(&again);
    for (uint64_t chunk = 0; chunk < 10; chunk++) {
        cr_assert_eq(read_again(&again, chunk * CHUNK + 5, 2 * CHUNK), KF_E_NONE);
        cr_assert_eq(read_again(&again, chunk * CHUNK + 7, 10), KF_E_NONE);
    }
    kf_feed_cancel(rig.feed, &again.read); /* between two reads */
    cr_assert_eq(read_again(&again, 0, 10), KF_E_CANCELLED);
    (void)sem_destroy(&again.done);
}
