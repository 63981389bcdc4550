#include <criterion/criterion.h>
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#include "net/easy.h"
#include "net/loop.h"

static unsigned added;

static int on_word(CURL *easy, curl_infotype type, char *data, size_t size, void *arg)
{
    static const char word[] = "Added ";

    added += type == CURLINFO_TEXT && size > strlen(word) &&
             strncmp(data, word, strlen(word)) == 0;
    return 0;
}

static void run(CURLM *multi, CURL *easy)
{
    int running = 1;

    cr_assert_eq(curl_easy_setopt(easy, CURLOPT_URL, "http://127.0.0.1:1/"), CURLE_OK);
    cr_assert_eq(curl_easy_setopt(easy, CURLOPT_VERBOSE, 1L), CURLE_OK);
    cr_assert_eq(curl_easy_setopt(easy, CURLOPT_DEBUGFUNCTION, on_word), CURLE_OK);
    cr_assert_eq(curl_multi_add_handle(multi, easy), CURLM_OK);
    while (running > 0)
        cr_assert_eq(curl_multi_perform(multi, &running), CURLM_OK);
    cr_assert_eq(curl_multi_remove_handle(multi, easy), CURLM_OK);
}

/* The list is still there while this looks whether it is read; in the loop it is not. */
Test(easy, a_place_is_forgotten_though_nothing_was_done)
{
    CURLM *multi = curl_multi_init();
    CURL *easy = curl_easy_init();
    struct curl_slist *list = kf_easy_place(easy, "http://kit.test:1", "192.0.2.1");

    cr_assert_not_null(list);
    cr_assert_eq(curl_multi_add_handle(multi, easy), CURLM_OK);
    cr_assert_eq(curl_multi_remove_handle(multi, easy), CURLM_OK);
    kf_easy_reset(easy);
    run(multi, easy);
    cr_expect_eq(added, 0, "read after its request was over");
    curl_slist_free_all(list);
    list = kf_easy_place(easy, "http://kit.test:1", "192.0.2.1");
    run(multi, easy);
    cr_expect_eq(added, 1, "else this test says nothing");
    kf_easy_reset(easy);
    curl_slist_free_all(list);
    curl_easy_cleanup(easy);
    (void)curl_multi_cleanup(multi);
}

Test(easy, who_may_use_a_proxy)
{
    static const char *const names[] = {"http_proxy", "https_proxy", "HTTPS_PROXY",
                                        "all_proxy", "ALL_PROXY"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        cr_assert_eq(unsetenv(names[i]), 0);
    cr_expect_not(kf_easy_has_proxy(&(struct kf_loop_opts){0}));
    cr_expect(kf_easy_has_proxy(&(struct kf_loop_opts){.proxy = "http://192.0.2.1:1"}));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        cr_assert_eq(setenv(names[i], "http://192.0.2.1:1", 1), 0);
        cr_expect(kf_easy_has_proxy(&(struct kf_loop_opts){0}), "%s", names[i]);
        cr_expect_not(kf_easy_has_proxy(&(struct kf_loop_opts){.proxy = ""}));
        cr_assert_eq(unsetenv(names[i]), 0);
    }
}
