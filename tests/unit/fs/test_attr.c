#include <criterion/criterion.h>
#include <limits.h>

#include "fs/attr.h"

TestSuite(attr, .timeout = 10);

Test(attr, ids_are_even_and_the_root_is_one)
{
    cr_expect_eq(kf_id_of_node(0), 1);
    cr_expect_eq(kf_id_of_node(1), 2);
    cr_expect_eq(kf_id_of_node(7), 14);
    cr_expect_eq(kf_id_of_node(UINT32_MAX - 1), 2 * (uint64_t)(UINT32_MAX - 1));
    for (uint32_t node = 0; node < 100; node++)
        cr_expect_eq(kf_node_of_id(kf_id_of_node(node), 100), node);
}

Test(attr, other_ids_are_nobody)
{
    static const uint64_t ids[] = {
        0,
        3,
        5,
        199,
        200,
        201,
        KF_ID_HIDDEN,
        KF_ID_STATUS,
        UINT64_MAX,
        UINT64_MAX - 1,
        (UINT64_C(1) << 33) + 2, /* 2, were it cut to 32 bits */
    };

    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
        cr_expect_eq(kf_node_of_id(ids[i], 100), KF_NODE_NONE, "%llu",
                     (unsigned long long)ids[i]);
    cr_expect_eq(kf_node_of_id(198, 100), 99, "the last one");
}

static struct kf_node nodes[] = {
    {.mode = 0755, .type = KF_TYPE_DIR, .subdirs = 3, .mtime = 1700000000, .size = 9},
    {.mode = 0666, .type = KF_TYPE_FILE, .size = 513, .mtime = -5},
    {.mode = 07777, .type = KF_TYPE_FILE, .size = UINT64_C(1) << 40},
    {.mode = 0400, .type = KF_TYPE_FILE},
};
static const struct kf_tree tree = {.nodes = nodes, .count = 4};
static const struct kf_attr_rules rules = {.uid = 1000, .gid = 100, .umask = 027};

Test(attr, of_a_folder)
{
    struct stat attr;

    kf_attr_of_node(&attr, &tree, 0, &rules);
    cr_expect_eq(attr.st_ino, 1);
    cr_expect_eq(attr.st_mode, S_IFDIR | 0750);
    cr_expect_eq(attr.st_nlink, 5);
    cr_expect_eq(attr.st_size, 0);
    cr_expect_eq(attr.st_mtim.tv_sec, 1700000000);
    cr_expect_eq(attr.st_uid, 1000);
    cr_expect_eq(attr.st_gid, 100);
}

Test(attr, of_a_file)
{
    struct stat attr;

    kf_attr_of_node(&attr, &tree, 1, &rules);
    cr_expect_eq(attr.st_ino, 2);
    cr_expect_eq(attr.st_mode, S_IFREG | 0640);
    cr_expect_eq(attr.st_nlink, 1);
    cr_expect_eq(attr.st_size, 513);
    cr_expect_eq(attr.st_blocks, 2);
    cr_expect_eq(attr.st_blksize, 4096);
    cr_expect_eq(attr.st_mtim.tv_sec, -5);
    cr_expect_eq(attr.st_ctim.tv_sec, -5);
    kf_attr_of_node(&attr, &tree, 2, &rules);
    cr_expect_eq(attr.st_mode, S_IFREG | 0750, "set-id bits never show");
    cr_expect_eq(attr.st_size, (off_t)1 << 40);
    cr_expect_eq(attr.st_blocks, (blkcnt_t)1 << 31);
    kf_attr_of_node(&attr, &tree, 3, &rules);
    cr_expect_eq(attr.st_blocks, 0);
}

Test(attr, of_the_hidden)
{
    struct stat attr;

    kf_attr_of_hidden(&attr, KF_ID_HIDDEN, &rules);
    cr_expect_eq(attr.st_mode, S_IFDIR | 0550);
    cr_expect_eq(attr.st_ino, KF_ID_HIDDEN);
    kf_attr_of_hidden(&attr, KF_ID_STATUS, &rules);
    cr_expect_eq(attr.st_mode, S_IFREG | 0440);
    cr_expect_eq(attr.st_uid, 1000);
}
