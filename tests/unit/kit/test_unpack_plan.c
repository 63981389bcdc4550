/* What is in the way of a kit, and what is done about it. */
#include "kit/unpack_plan.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/err.h"
#include "kit/tree.h"

/* Nodes: 0 root, 1 Kitfile, 2 a/, 3 b, 4 a/c, 5 a/d/, 6 a/d/e. */
enum { KITFILE = 1, A = 2, B = 3, C = 4, D = 5, E = 6, COUNT = 7 };

static struct kf_tree tree;
static uint8_t there[COUNT], actions[COUNT];
static struct kf_err err;

static void setup(void)
{
    static const char *const names[] = {"a/c", "a/d/e", "b", "Kitfile"};
    struct kf_table_entry file = {.size = 1, .mode = 0644, .type = KF_TYPE_FILE};
    struct kf_table table;
    struct kf_tree_layer layer = {&table, ""};

    kf_table_init(&table);
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(kf_table_add(&table, &file, names[i], strlen(names[i]), NULL), 0);
    cr_assert_eq(kf_tree_build(&tree, &layer, 1, 0, NULL), 0);
    kf_table_fini(&table);
    cr_assert_eq(tree.count, COUNT);
    memset(there, KF_THERE_NOTHING, sizeof(there));
    there[0] = KF_THERE_DIR;
}

static void teardown(void)
{
    kf_tree_fini(&tree);
}

TestSuite(unpack_plan, .init = setup, .fini = teardown);

static int plan(bool overwrite, bool keep)
{
    const struct kf_unpack_rules rules = {overwrite, keep, KITFILE};

    return kf_unpack_plan(&tree, there, &rules, actions, &err);
}

static void refused(const char *message)
{
    cr_assert_eq(err.kind, KF_E_REFUSED);
    cr_assert_str_eq(err.message, message);
}

Test(unpack_plan, an_empty_folder)
{
    cr_assert_eq(plan(false, false), 0);
    cr_assert_eq(actions[0], KF_UNPACK_LEAVE);
    for (int i = 1; i < COUNT; i++)
        cr_assert_eq(actions[i], KF_UNPACK_MAKE);
}

Test(unpack_plan, folders_that_are_there_stay)
{
    there[A] = there[D] = KF_THERE_DIR;
    cr_assert_eq(plan(false, false), 0);
    cr_assert_eq(actions[A], KF_UNPACK_LEAVE);
    cr_assert_eq(actions[D], KF_UNPACK_LEAVE);
    cr_assert_eq(actions[E], KF_UNPACK_MAKE);
}

Test(unpack_plan, files_that_are_there)
{
    there[A] = KF_THERE_DIR;
    there[B] = KF_THERE_FILE;
    cr_assert_eq(plan(false, false), -1);
    refused("'b' is there already (-o overwrites what is there, -i keeps it)");
    there[C] = KF_THERE_FILE;
    cr_assert_eq(plan(false, false), -1);
    refused("'b' is there already, and 1 more are in the way (-o overwrites what is "
            "there, -i keeps it)");
    cr_assert_eq(plan(true, false), 0);
    cr_assert_eq(actions[B], KF_UNPACK_REPLACE);
    cr_assert_eq(actions[C], KF_UNPACK_REPLACE);
    cr_assert_eq(actions[E], KF_UNPACK_MAKE);
    for (int overwrite = 0; overwrite < 2; overwrite++) {
        cr_assert_eq(plan(overwrite, true), 0);
        cr_assert_eq(actions[B], KF_UNPACK_LEAVE);
        cr_assert_eq(actions[C], KF_UNPACK_LEAVE);
        cr_assert_eq(actions[E], KF_UNPACK_MAKE);
    }
}

Test(unpack_plan, the_kitfile)
{
    there[KITFILE] = KF_THERE_SAME;
    cr_assert_eq(plan(false, false), 0);
    cr_assert_eq(actions[KITFILE], KF_UNPACK_LEAVE);
    there[KITFILE] = KF_THERE_FILE;
    cr_assert_eq(plan(false, false), -1);
    refused("'Kitfile' is there already, and is another one (-o overwrites it)");
    cr_assert_eq(plan(false, true), -1);
    cr_assert_eq(plan(true, false), 0);
    cr_assert_eq(actions[KITFILE], KF_UNPACK_REPLACE);
    cr_assert_eq(plan(true, true), 0);
    cr_assert_eq(actions[KITFILE], KF_UNPACK_REPLACE);
}

Test(unpack_plan, what_an_earlier_run_moved)
{
    there[A] = KF_THERE_DIR;
    there[C] = KF_THERE_SAME;
    cr_assert_eq(plan(false, false), 0);
    cr_assert_eq(actions[C], KF_UNPACK_LEAVE);
    cr_assert_eq(plan(true, false), 0);
    cr_assert_eq(actions[C], KF_UNPACK_LEAVE);
}

/* Nothing helps against these, but that -i keeps whatever is in a file's place. */
Test(unpack_plan, other_things_in_the_place_of_a_file)
{
    static const uint8_t kinds[] = {KF_THERE_LINK, KF_THERE_DIR, KF_THERE_OTHER,
                                    KF_THERE_DEVICE};

    for (size_t i = 0; i < sizeof(kinds); i++) {
        there[B] = kinds[i];
        for (int overwrite = 0; overwrite < 2; overwrite++) {
            cr_assert_eq(plan(overwrite, false), -1);
            refused(kinds[i] == KF_THERE_LINK
                        ? "'b' is a symbolic link, and is not followed"
                        : "'b' is there already, and is no regular file");
        }
        cr_assert_eq(plan(false, true), 0);
        cr_assert_eq(actions[B], KF_UNPACK_LEAVE);
    }
}

Test(unpack_plan, other_things_in_the_place_of_a_folder)
{
    static const struct {
        uint8_t kind;
        const char *message;
    } rows[] = {
        {KF_THERE_FILE, "'a' is there already, and is no folder"},
        {KF_THERE_OTHER, "'a' is there already, and is no folder"},
        {KF_THERE_LINK, "'a' is a symbolic link, and is not followed"},
        {KF_THERE_DEVICE, "'a' is on another file system than the folder it is in"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        there[A] = rows[i].kind;
        for (int how = 0; how < 4; how++) {
            cr_assert_eq(plan(how & 1, how & 2), -1);
            refused(rows[i].message);
        }
    }
}
