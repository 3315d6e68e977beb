/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passwords in a configuration file that are encrypted as RabbitMQ does it.
 */
#include "config_rig.h"

#include "control/config/secret.h"

/* What rabbitmqctl 4.0.5 made of "secret" with the passphrase "pass". */
#define SECRET_TEXT "encrypted:F1cRSjOhbIpiJ1vC5gUIVX9EUV/EC6XvgYFiXIcXBp8omOt+t26FUn21dD6C/EDe"

static void
an_encrypted_secret_is_what_it_says(void **unused)
{
    (void)unused;
    char why[WHY_BYTES] = "";
    struct lp_config *config =
        good_text("default_pass = " SECRET_TEXT "\ndefault_users.app.password = " SECRET_TEXT
                  "\ncluster_name = encrypted:abc\nssl_options.password = some:thing\n"
                  "lepus.config_entry_decoder.passphrase = pass\n");
    assert_int_equal(lp_config_decrypt(config, why, sizeof(why)), LP_OK);
    assert_string_equal(lp_config_text(config, "default_pass"), "secret");
    assert_string_equal(lp_config_text_named(config, "default_users.$name.password", "app"),
                        "secret");
    /* No secret; and a secret that only looks like one. */
    assert_string_equal(lp_config_text(config, "cluster_name"), "encrypted:abc");
    assert_string_equal(lp_config_text(config, "ssl_options.password"), "some:thing");
    assert_string_equal(lp_config_text(config, "lepus.config_entry_decoder.passphrase"), "");
    lp_config_close(&config);
}

static void
an_encrypted_secret_that_cannot_be_read_is_refused_in_words(void **unused)
{
    (void)unused;
    static const char *const cases[][2] = {
        {"", "default_pass: it is encrypted, and neither lepus.config_entry_decoder.passphrase nor "
             "passphrase_file says with what"},
        {"lepus.config_entry_decoder.passphrase = other\n",
         "default_pass: it cannot be decrypted: are passphrase, cipher, hash and iterations those "
         "that it was encrypted with?"},
        {"lepus.config_entry_decoder.passphrase = pass\n"
         "lepus.config_entry_decoder.cipher = nonsense\n",
         "default_pass: no such cipher as lepus.config_entry_decoder.cipher says; lepusctl "
         "list_ciphers lists them"},
        {"lepus.config_entry_decoder.passphrase_file = /nowhere/x\n",
         "default_pass: /nowhere/x cannot be read: No such file or directory"},
    };
    for (size_t i = 0; i < LP_COUNT_OF(cases); i++) {
        char text[WHY_BYTES];
        char why[WHY_BYTES] = "";
        (void)snprintf(text, sizeof(text), "default_pass = %s\n%s", SECRET_TEXT, cases[i][0]);
        struct lp_config *config = good_text(text);
        assert_int_equal(lp_config_decrypt(config, why, sizeof(why)), LP_ERR_BAD_CONFIG);
        assert_string_equal(why, cases[i][1]);
        lp_config_close(&config);
    }
}

/* Any bytes are an answer, never more. */
static void
what_is_no_secret_is_refused(void **unused)
{
    (void)unused;
    static const char *const texts[] = {"",
                                        "AAAA",
                                        "====",
                                        "AAA",
                                        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                                        "\xff\xff\xff\xff",
                                        "AA==",
                                        "A==="};
    struct lp_secret_how how = lp_secret_defaults;
    struct lp_secret secret = {0};
    how.passphrase = lp_bytes_of_text("pass");
    for (size_t i = 0; i < LP_COUNT_OF(texts); i++) {
        struct lp_secret bytes = {0};
        const bool good =
            lp_secret_decrypt(&how, lp_bytes_of_text(texts[i]), &secret) &&
            lp_secret_term_bytes(lp_bytes_of(secret.data, (uint32_t)secret.size), &bytes);
        assert_false(good);
        lp_secret_fini(&secret);
    }
    static const char *const terms[] = {"",    "{",    "[1", "\"",   "<<",
                                        "<<1", "{a,}", "'",  "$",    "\"\\x{1",
                                        "-",   "1.5",  "A",  "{a}b", "[[[[[[[[[[[[[[[[[[[[[[[[[["};
    for (size_t i = 0; i < LP_COUNT_OF(terms); i++) {
        assert_false(lp_secret_term_parse(terms[i], &secret));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_encrypted_secret_is_what_it_says),
        cmocka_unit_test(an_encrypted_secret_that_cannot_be_read_is_refused_in_words),
        cmocka_unit_test(what_is_no_secret_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
