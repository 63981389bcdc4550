#include <criterion/criterion.h>
#include <string.h>

#include "fs/wire.h"

TestSuite(wire, .timeout = 10);

/* An INIT as Linux 6.18 sends it: header of 40 bytes, body of 64. */
static void make_init(uint8_t out[104])
{
    static const uint32_t head[] = {104, 26};
    static const uint64_t unique = 0x1122334455667788;

    memset(out, 0, 104);
    memcpy(out, head, sizeof(head));
    memcpy(out + 8, &unique, sizeof(unique));
}

Test(wire, knows_an_init_request)
{
    uint8_t request[104];
    uint64_t unique = 0;

    make_init(request);
    cr_assert(kf_wire_init_request(request, sizeof(request), &unique));
    cr_assert_eq(unique, 0x1122334455667788u);
}

Test(wire, refuses_what_is_no_init_request)
{
    uint8_t request[104];
    uint64_t unique = 42;

    make_init(request);
    request[4] = 15; /* READ */
    cr_expect_not(kf_wire_init_request(request, sizeof(request), &unique));
    make_init(request);
    cr_expect_not(kf_wire_init_request(request, 103, &unique), "length differs");
    make_init(request);
    request[0] = 47;
    cr_expect_not(kf_wire_init_request(request, 47, &unique), "one byte too short");
    request[0] = 48;
    cr_expect(kf_wire_init_request(request, 48, &unique), "major and minor suffice");
    cr_expect_eq(unique, 0x1122334455667788u);
    unique = 42;
    cr_expect_not(kf_wire_init_request(request, 0, &unique));
    cr_expect_eq(unique, 42, "untouched");
}

Test(wire, knows_a_good_reply)
{
    uint8_t header[16] = {80, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0};

    cr_expect(kf_wire_reply_ok(header, 16, 7));
    cr_expect_not(kf_wire_reply_ok(header, 16, 8), "of another request");
    cr_expect_not(kf_wire_reply_ok(header, 15, 7));
    cr_expect_not(kf_wire_reply_ok(header, 17, 7));
    header[4] = 0xb8; /* an error */
    cr_expect_not(kf_wire_reply_ok(header, 16, 7));
}

Test(wire, sets_readahead_and_nothing_else)
{
    uint8_t body[64], before[64];
    uint32_t readahead;

    for (size_t i = 0; i < sizeof(body); i++)
        body[i] = before[i] = (uint8_t)(i + 1);
    cr_assert(kf_wire_init_set_readahead(body, sizeof(body), 1 << 20));
    memcpy(&readahead, body + 8, sizeof(readahead));
    cr_expect_eq(readahead, 1 << 20);
    memcpy(before + 8, body + 8, 4);
    cr_expect_arr_eq(body, before, sizeof(body));
}

Test(wire, a_body_without_the_field_stays)
{
    uint8_t body[12] = {0};

    cr_expect_not(kf_wire_init_set_readahead(body, 11, UINT32_MAX));
    for (size_t i = 0; i < sizeof(body); i++)
        cr_expect_eq(body[i], 0);
    cr_expect(kf_wire_init_set_readahead(body, 12, UINT32_MAX));
    cr_expect_eq(body[11], 0xff);
}
