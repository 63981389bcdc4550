/* Layers without a table of contents, checked as a whole. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cache/store.h"
#include "fake_source.h"
#include "plain_world.h"

/* All of its chunks hold bytes of a file: readers alone bring it in. */
static const struct plain_file dense[] = {
    {"small", 5000}, {"large", MIB(20)}, {"tail", 100}};
/* Between the large files, and at the end, lies what nobody reads. */
static const struct plain_file gappy[] = {
    {"small", 5000}, {"large", MIB(17)}, {"larger", MIB(18)}};

static void begin(struct plain_world *world)
{
    plain_world_begin(world, dense, KF_ARRAY_LEN(dense), false);
}

static void read_dense(struct plain_world *world)
{
    for (size_t i = 0; i < KF_ARRAY_LEN(dense); i++)
        cr_assert_eq(plain_world_read_all(world, dense[i].name), KF_E_NONE);
}

static enum kf_trust trust(struct plain_world *world)
{
    struct kf_err why;

    return kf_layer_trust(world->layer, &why);
}

/* ---- deferred ---- */

Test(whole, what_was_read_to_its_end_is_checked_and_stays_so)
{
    struct plain_world world;
    uint64_t requests;

    begin(&world);
    plain_world_expect_open(&world, KF_CHECK_DEFERRED);
    kf_layer_watch(world.layer, false);
    cr_assert_eq(trust(&world), KF_TRUST_UNVERIFIED);
    cr_assert_eq(plain_world_read_all(&world, "small"), KF_E_NONE);
    cr_assert_eq(plain_world_read_all(&world, "large"), KF_E_NONE);
    (void)usleep(50000);
    cr_assert_eq(trust(&world), KF_TRUST_UNVERIFIED); /* the tail is not here */
    cr_assert_eq(plain_world_read_all(&world, "tail"), KF_E_NONE);
    requests = kf_fake_source_requests(world.fake);
    cr_assert(plain_world_wait(&world, KF_TRUST_VERIFIED));
    cr_assert_eq(kf_fake_source_requests(world.fake), requests);
    read_dense(&world);
    plain_world_stop(&world);

    /* Another mount need not be watched, and asks for nothing. */
    plain_world_expect_open(&world, KF_CHECK_DEFERRED);
    cr_assert_eq(trust(&world), KF_TRUST_VERIFIED);
    read_dense(&world);
    plain_world_stop(&world);
    plain_world_expect_open(&world, KF_CHECK_FULL);
    cr_assert_eq(trust(&world), KF_TRUST_VERIFIED);
    cr_assert_eq(kf_fake_source_requests(world.fake), 0);
    plain_world_end(&world);
}

/* Without watching nothing is looked at; what an earlier mount left is seen at once. */
Test(whole, what_an_earlier_mount_left_is_checked)
{
    struct plain_world world;

    begin(&world);
    plain_world_expect_open(&world, KF_CHECK_DEFERRED);
    read_dense(&world);
    (void)usleep(20000);
    cr_assert_eq(trust(&world), KF_TRUST_UNVERIFIED);
    plain_world_stop(&world);

    plain_world_expect_open(&world, KF_CHECK_DEFERRED);
    kf_layer_watch(world.layer, false);
    cr_assert(plain_world_wait(&world, KF_TRUST_VERIFIED));
    cr_assert_eq(kf_fake_source_requests(world.fake), 0);
    plain_world_end(&world);
}

Test(whole, other_bytes_fail_every_read_and_leave_the_cache)
{
    struct plain_world world;
    struct kf_err why;
    uint8_t now[16];
    struct kf_file *file;
    uint64_t at;

    begin(&world);
    plain_world_start(&world);
    cr_assert_eq(plain_world_open(&world, KF_CHECK_DEFERRED), 0);
    at = plain_world_at(&world, "large") + MIB(3);
    world.blob.data[at] ^= 1;
    kf_layer_watch(world.layer, false);
    read_dense(&world); /* nothing is known yet */
    cr_assert(plain_world_wait(&world, KF_TRUST_FAILED));
    cr_assert_eq(kf_layer_trust(world.layer, &why), KF_TRUST_FAILED);
    cr_assert_not_null(strstr(why.message, "has the digest sha256:"), "%s", why.message);
    cr_assert_eq(plain_world_read(&world, "small", 0, 10), KF_E_CORRUPT);
    cr_assert_eq(plain_world_read(&world, "large", MIB(9), 10), KF_E_CORRUPT);
    file = kf_layer_file(world.layer, 0, NULL);
    cr_assert_eq(kf_file_read_now(file, now, sizeof(now), 0), -1);
    kf_file_put(file);
    plain_world_stop(&world);
    cr_assert_eq(plain_world_count(&world, "objects"), 0);
    cr_assert_eq(plain_world_count(&world, "small"), 0);

    /* Another mount fetches all of it again. */
    world.blob.data[at] ^= 1;
    plain_world_expect_open(&world, KF_CHECK_DEFERRED);
    kf_layer_watch(world.layer, false);
    read_dense(&world);
    cr_assert_geq(kf_fake_source_bytes(world.fake), MIB(20));
    cr_assert(plain_world_wait(&world, KF_TRUST_VERIFIED));
    plain_world_end(&world);
}

/* What is on its way when the layer fails does not come to rest in the cache. */
Test(whole, chunks_that_land_later_are_not_kept)
{
    struct plain_world world;
    struct kf_file *file;

    begin(&world);
    plain_world_expect_open(&world, KF_CHECK_DEFERRED);
    world.blob.data[plain_world_at(&world, "large")] ^= 1;
    kf_layer_watch(world.layer, false);
    file = kf_layer_file(world.layer, 1, NULL); /* its object stays open */
    read_dense(&world);
    cr_assert(plain_world_wait(&world, KF_TRUST_FAILED));
    for (unsigned i = 0; i < 5000 && kf_layer_local_bytes(world.layer, 1) > 0; i++)
        (void)usleep(1000);
    cr_assert_eq(kf_layer_local_bytes(world.layer, 1), 0);
    kf_file_put(file);
    plain_world_end(&world);
}

/* Once checked as a whole it is checked by chunks: also what is fetched again. */
Test(whole, what_is_fetched_again_is_checked)
{
    struct plain_world world;
    char name[96], hex[65];

    begin(&world);
    plain_world_expect_open(&world, KF_CHECK_DEFERRED);
    kf_layer_watch(world.layer, false);
    read_dense(&world);
    cr_assert(plain_world_wait(&world, KF_TRUST_VERIFIED));
    plain_world_stop(&world);

    plain_world_expect_open(&world, KF_CHECK_DEFERRED);
    (void)snprintf(name, sizeof(name), "%s-%016llx", kf_digest_hex(&world.digest, hex),
                   (unsigned long long)plain_world_at(&world, "large"));
    kf_store_delete(world.store, name);
    (void)snprintf(name, sizeof(name), "%s-r", hex);
    kf_store_delete(world.store, name);
    world.blob.data[plain_world_at(&world, "large") + MIB(3)] ^= 1;
    world.blob.data[plain_world_at(&world, "tail")] ^= 1;
    cr_assert_eq(plain_world_read(&world, "large", MIB(3), 10), KF_E_CORRUPT);
    cr_assert_eq(plain_world_read(&world, "large", MIB(4), 10), KF_E_NONE);
    cr_assert_eq(plain_world_read(&world, "tail", 0, 10), KF_E_CORRUPT);
    cr_assert_eq(plain_world_read(&world, "small", 0, 10), KF_E_NONE);
    cr_assert_eq(trust(&world), KF_TRUST_VERIFIED);
    plain_world_end(&world);
}

/* The table came from other bytes than the files: the right one is there next time. */
Test(whole, headers_that_came_otherwise_fail_the_layer)
{
    struct plain_world world;
    struct kf_err why;
    char *name;
    uint64_t at;

    begin(&world);
    at = 512 + 5120 + 512 + MIB(20); /* tail's header */
    name = (char *)world.blob.data + at;
    cr_assert_str_eq(name, "tail");
    memcpy(name, "tial", 4); /* of the same sum */
    plain_world_expect_open(&world, KF_CHECK_DEFERRED);
    memcpy(name, "tail", 4);
    kf_layer_watch(world.layer, false);
    cr_assert_eq(plain_world_read_all(&world, "small"), KF_E_NONE);
    cr_assert_eq(plain_world_read_all(&world, "large"), KF_E_NONE);
    cr_assert_eq(plain_world_read_all(&world, "tial"), KF_E_NONE);
    cr_assert(plain_world_wait(&world, KF_TRUST_FAILED));
    (void)kf_layer_trust(world.layer, &why);
    cr_assert_not_null(strstr(why.message, "headers"), "%s", why.message);
    cr_assert_eq(plain_world_read(&world, "tial", 0, 10), KF_E_CORRUPT);
    plain_world_stop(&world);

    plain_world_expect_open(&world, KF_CHECK_DEFERRED);
    cr_assert_eq(plain_world_read_all(&world, "tail"), KF_E_NONE);
    cr_assert_eq(trust(&world), KF_TRUST_VERIFIED);
    plain_world_end(&world);
}

Test(whole, gaps_are_fetched_last_and_only_if_that_may_be)
{
    struct plain_world world;
    uint64_t requests;

    plain_world_begin(&world, gappy, KF_ARRAY_LEN(gappy), false);
    plain_world_expect_open(&world, KF_CHECK_DEFERRED);
    kf_layer_watch(world.layer, false);
    for (size_t i = 0; i < KF_ARRAY_LEN(gappy); i++)
        cr_assert_eq(plain_world_read_all(&world, gappy[i].name), KF_E_NONE);
    requests = kf_fake_source_requests(world.fake);
    (void)usleep(100000);
    cr_assert_eq(trust(&world), KF_TRUST_UNVERIFIED);
    cr_assert_eq(kf_fake_source_requests(world.fake), requests);
    plain_world_stop(&world);

    plain_world_expect_open(&world, KF_CHECK_DEFERRED);
    kf_layer_watch(world.layer, true);
    cr_assert(plain_world_wait(&world, KF_TRUST_VERIFIED));
    cr_assert_leq(kf_fake_source_bytes(world.fake), MIB(2)); /* between, and the end */
    plain_world_end(&world);
}

/* What readers have not asked for is never fetched for the check. */
Test(whole, a_part_of_a_layer_stays_unverified)
{
    struct plain_world world;
    uint64_t bytes;

    begin(&world);
    plain_world_expect_open(&world, KF_CHECK_DEFERRED);
    kf_layer_watch(world.layer, true);
    cr_assert_eq(plain_world_read_all(&world, "large"), KF_E_NONE);
    bytes = kf_fake_source_bytes(world.fake);
    (void)usleep(100000);
    cr_assert_eq(trust(&world), KF_TRUST_UNVERIFIED);
    cr_assert_eq(kf_fake_source_bytes(world.fake), bytes);
    plain_world_end(&world);
}

/* Two that share a cache, each of which fetches a part: who is asked looks again. */
Test(whole, what_others_fetched_counts)
{
    struct plain_world world;
    struct kf_layer *other;

    begin(&world);
    plain_world_expect_open(&world, KF_CHECK_DEFERRED);
    other = world.layer;
    kf_layer_watch(other, false);
    cr_assert_eq(plain_world_read_all(&world, "large"), KF_E_NONE);
    cr_assert_eq(plain_world_open(&world, KF_CHECK_DEFERRED), 0);
    cr_assert_eq(plain_world_read_all(&world, "small"), KF_E_NONE);
    cr_assert_eq(plain_world_read_all(&world, "tail"), KF_E_NONE);
    kf_layer_close(world.layer);
    world.layer = other;
    cr_assert(plain_world_wait(&world, KF_TRUST_VERIFIED));
    plain_world_end(&world);
}

Test(whole, raw_layers_large_small_and_empty)
{
    static const size_t sizes[] = {MIB(17) + 5, MIB(2) + 5, 700, 0};

    for (size_t i = 0; i < KF_ARRAY_LEN(sizes); i++) {
        const struct plain_file file = {"raw", sizes[i]};
        struct plain_world world;

        plain_world_begin(&world, &file, 1, true);
        plain_world_expect_open(&world, KF_CHECK_DEFERRED);
        kf_layer_watch(world.layer, false);
        cr_assert_eq(plain_world_read_all(&world, "raw"), KF_E_NONE);
        cr_assert(plain_world_wait(&world, KF_TRUST_VERIFIED), "%zu", sizes[i]);
        plain_world_stop(&world);
        plain_world_expect_open(&world, KF_CHECK_FULL);
        cr_assert_eq(kf_fake_source_requests(world.fake), 0);
        plain_world_end(&world);
    }
}

Test(whole, without_a_cache_it_stays_unverified)
{
    struct plain_world world;

    begin(&world);
    world.uncached = true;
    plain_world_expect_open(&world, KF_CHECK_DEFERRED);
    kf_layer_watch(world.layer, true);
    read_dense(&world);
    (void)usleep(20000);
    cr_assert_eq(trust(&world), KF_TRUST_UNVERIFIED);
    plain_world_end(&world);
}

/* What is remembered is damaged, or of another layer: as if there were nothing. */
Test(whole, damaged_sums_count_as_none)
{
    static const char *const texts[] = {"", "KITFSSUM", "something else"};
    struct plain_world world;

    begin(&world);
    for (size_t i = 0; i < KF_ARRAY_LEN(texts); i++) {
        plain_world_start(&world);
        cr_assert_eq(kf_store_save(world.store, KF_SMALL_SUMS, &world.digest, texts[i],
                                   strlen(texts[i]), NULL),
                     0);
        cr_assert_eq(plain_world_open(&world, KF_CHECK_DEFERRED), 0);
        cr_assert_eq(trust(&world), KF_TRUST_UNVERIFIED);
        cr_assert_eq(plain_world_read_all(&world, "small"), KF_E_NONE);
        plain_world_stop(&world);
    }
    plain_world_start(&world);
    plain_world_end(&world);
}

/* The layer may go at any moment of the work. */
Test(whole, closing_while_it_is_hashed)
{
    struct plain_world world;

    begin(&world);
    plain_world_expect_open(&world, KF_CHECK_DEFERRED);
    read_dense(&world);
    plain_world_stop(&world);
    for (unsigned i = 0; i < 20; i++) {
        plain_world_expect_open(&world, KF_CHECK_DEFERRED);
        kf_layer_watch(world.layer, false);
        (void)usleep(i * 1500);
        plain_world_stop(&world);
    }
    plain_world_start(&world);
    plain_world_end(&world);
}

/* ---- full ---- */

Test(whole, full_fetches_each_byte_once_and_nothing_afterwards)
{
    struct plain_world world;

    plain_world_begin(&world, gappy, KF_ARRAY_LEN(gappy), false);
    plain_world_expect_open(&world, KF_CHECK_FULL);
    cr_assert_eq(trust(&world), KF_TRUST_VERIFIED);
    cr_assert_eq(kf_fake_source_bytes(world.fake), world.blob.length);
    for (size_t i = 0; i < KF_ARRAY_LEN(gappy); i++)
        cr_assert_eq(plain_world_read_all(&world, gappy[i].name), KF_E_NONE);
    cr_assert_eq(kf_fake_source_bytes(world.fake), world.blob.length);
    plain_world_stop(&world);

    plain_world_expect_open(&world, KF_CHECK_FULL);
    for (size_t i = 0; i < KF_ARRAY_LEN(gappy); i++)
        cr_assert_eq(plain_world_read_all(&world, gappy[i].name), KF_E_NONE);
    cr_assert_eq(kf_fake_source_requests(world.fake), 0);
    plain_world_end(&world);
}

/* One wrong byte anywhere: in a large file, in a header, in the end mark. */
Test(whole, full_refuses_other_bytes_and_keeps_nothing)
{
    struct plain_world world;
    size_t places[] = {MIB(3), 0, 600, 0};

    begin(&world);
    places[3] = world.blob.length - 1;
    for (size_t i = 0; i < KF_ARRAY_LEN(places); i++) {
        world.blob.data[places[i]] ^= 1;
        plain_world_start(&world);
        cr_assert_eq(plain_world_open(&world, KF_CHECK_FULL), -1);
        cr_assert(world.err.kind == KF_E_CORRUPT || world.err.kind == KF_E_MALFORMED);
        cr_assert_eq(strncmp(world.err.message, "layer 'sha256:", 14), 0, "%s",
                     world.err.message);
        world.layer = NULL;
        world.blob.data[places[i]] ^= 1;
        plain_world_stop(&world);
        cr_assert_eq(plain_world_count(&world, "objects"), 0);
        cr_assert_eq(plain_world_count(&world, "small"), 0);
    }
    plain_world_start(&world);
    plain_world_end(&world);
}

/* Part of it is here already, and a chunk of that is wrong. */
Test(whole, full_puts_right_what_an_earlier_mount_left)
{
    struct plain_world world;
    uint64_t at;

    begin(&world);
    plain_world_expect_open(&world, KF_CHECK_DEFERRED);
    at = plain_world_at(&world, "large");
    world.blob.data[at + MIB(3)] ^= 1;
    cr_assert_eq(plain_world_read(&world, "large", MIB(3), MIB(1)), KF_E_NONE);
    world.blob.data[at + MIB(3)] ^= 1;
    plain_world_stop(&world);

    plain_world_expect_open(&world, KF_CHECK_FULL);
    cr_assert_eq(trust(&world), KF_TRUST_VERIFIED);
    read_dense(&world);
    cr_assert_eq(kf_fake_source_bytes(world.fake), world.blob.length);
    plain_world_end(&world);
}

/* All of it is here, never checked: it is read from the cache, and if that is wrong,
 * fetched again. */
Test(whole, full_begins_with_what_is_in_the_cache)
{
    struct plain_world world;

    for (int wrong = 0; wrong < 2; wrong++) {
        begin(&world);
        plain_world_expect_open(&world, KF_CHECK_DEFERRED);
        world.blob.data[plain_world_at(&world, "large")] ^= (uint8_t)wrong;
        read_dense(&world);
        world.blob.data[plain_world_at(&world, "large")] ^= (uint8_t)wrong;
        plain_world_stop(&world);
        plain_world_expect_open(&world, KF_CHECK_FULL);
        cr_assert_eq(kf_fake_source_bytes(world.fake), wrong ? world.blob.length : 0);
        read_dense(&world);
        cr_assert_eq(trust(&world), KF_TRUST_VERIFIED);
        plain_world_end(&world);
    }
}

Test(whole, full_needs_a_cache_that_can_hold_it)
{
    struct plain_world world;

    begin(&world);
    world.uncached = true;
    plain_world_start(&world);
    cr_assert_eq(plain_world_open(&world, KF_CHECK_FULL), -1);
    cr_assert_eq(world.err.kind, KF_E_LIMIT);
    world.layer = NULL;
    plain_world_stop(&world);
    world.uncached = false;
    world.cache_limit = world.blob.length - 1;
    plain_world_start(&world);
    cr_assert_eq(plain_world_open(&world, KF_CHECK_FULL), -1);
    cr_assert_eq(world.err.kind, KF_E_LIMIT);
    cr_assert_not_null(strstr(world.err.message, "cannot hold"), "%s", world.err.message);
    cr_assert_eq(kf_fake_source_requests(world.fake), 0);
    world.layer = NULL;
    plain_world_end(&world);
}

/* It fits by its size, and not with what it takes to keep it. */
Test(whole, full_ends_when_the_cache_takes_no_more)
{
    struct plain_world world;

    begin(&world);
    world.cache_limit = world.blob.length;
    plain_world_start(&world);
    cr_assert_eq(plain_world_open(&world, KF_CHECK_FULL), -1);
    cr_assert_eq(world.err.kind, KF_E_LIMIT);
    world.layer = NULL;
    plain_world_end(&world);
}

Test(whole, full_fails_with_the_source)
{
    struct plain_world world;

    begin(&world);
    plain_world_start(&world);
    kf_fake_source_fail(world.fake, 3, KF_E_UNREACHABLE, 1000);
    cr_assert_eq(plain_world_open(&world, KF_CHECK_FULL), -1);
    cr_assert_eq(world.err.kind, KF_E_UNREACHABLE);
    world.layer = NULL;
    plain_world_end(&world);
}

/* ---- require-toc ---- */

Test(whole, a_table_of_contents_may_be_required)
{
    struct plain_world world;

    begin(&world);
    plain_world_start(&world);
    cr_assert_eq(plain_world_open(&world, KF_CHECK_REQUIRE_TOC), -1);
    cr_assert_eq(world.err.kind, KF_E_REFUSED);
    cr_assert_eq(kf_fake_source_requests(world.fake), 0);
    world.layer = NULL;
    plain_world_end(&world);
}
