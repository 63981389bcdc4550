#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "net/address.h"

static struct kf_address address; /* each test has a process of its own */
static int64_t now = 100 * KF_NS_PER_S;

Test(address, a_name_that_is_found_is_looked_up)
{
    kf_address_found(&address, "192.0.2.1");
    cr_expect_null(kf_address_to_use(&address, now));
}

Test(address, one_that_never_was_has_no_address)
{
    cr_expect_not(kf_address_lost(&address, now));
    cr_expect_null(kf_address_to_use(&address, now));
}

Test(address, a_lost_name_is_where_it_was_for_a_while)
{
    kf_address_found(&address, "192.0.2.1");
    kf_address_found(&address, "192.0.2.2");
    cr_expect(kf_address_lost(&address, now));
    cr_expect_not(kf_address_lost(&address, now), "no news");
    cr_expect_str_eq(kf_address_to_use(&address, now), "192.0.2.2");
    now += KF_ADDRESS_USE_NS - 1;
    cr_expect_str_eq(kf_address_to_use(&address, now), "192.0.2.2");
    now += 1;
    cr_expect_null(kf_address_to_use(&address, now));
    cr_expect(kf_address_lost(&address, now), "lost again");
}

Test(address, one_that_is_dead_is_looked_up_at_once)
{
    kf_address_found(&address, "192.0.2.1");
    (void)kf_address_lost(&address, now);
    kf_address_dead(&address);
    cr_expect_null(kf_address_to_use(&address, now));
    cr_expect(kf_address_lost(&address, now), "better than none");
}

Test(address, no_text_that_is_not_an_address)
{
    kf_address_found(&address, "192.0.2.1");
    kf_address_found(&address, "");
    kf_address_found(&address, "a text that is longer than any address can ever be");
    (void)kf_address_lost(&address, now);
    cr_expect_str_eq(kf_address_to_use(&address, now), "192.0.2.1");
}

Test(address, a_host_that_is_an_address_has_no_name)
{
    cr_expect(kf_address_is_literal("http://127.0.0.1:5000"));
    cr_expect(kf_address_is_literal("https://192.0.2.1"));
    cr_expect(kf_address_is_literal("https://[2001:db8::1]:5000"));
    cr_expect_not(kf_address_is_literal("http://kit.test:5000"));
    cr_expect_not(kf_address_is_literal("https://192.0.2.1.kit.test"));
}

Test(address, what_curl_is_told)
{
    static const struct {
        const char *origin, *text, *line;
    } rows[] = {
        {"http://kit.test:5000", "192.0.2.1", "+kit.test:5000:192.0.2.1"},
        {"http://kit.test", "192.0.2.1", "+kit.test:80:192.0.2.1"},
        {"https://kit.test", "2001:db8::1", "+kit.test:443:[2001:db8::1]"},
        {"https://kit.test", NULL, "-kit.test:443"},
        {"http://[::1]:5000", "::1", NULL},
        {"http://127.0.0.1:5000", "127.0.0.1", NULL},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        kf_auto(kf_free) char *line = kf_address_line(rows[i].origin, rows[i].text);

        if (rows[i].line)
            cr_expect_str_eq(line, rows[i].line);
        else
            cr_expect_null(line);
    }
}
