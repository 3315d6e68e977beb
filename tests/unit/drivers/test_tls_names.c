/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: names in certificates come out as RabbitMQ 4.0.5 writes them: users and
 * their permissions are called so.
 *
 * Method: the expected texts are what its rabbit_cert_info said of certificates
 * with these subjects, on Erlang/OTP 27.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include <drivers/tls/tls_private.h>

struct entry {
    const char *type;
    const char *value;
    int set; /* as X509_NAME_add_entry: 0: a new one, -1: with the one before */
};

static X509_NAME *
name_make(const struct entry *entries)
{
    X509_NAME *name = X509_NAME_new();
    assert_non_null(name);
    for (; entries->type != NULL; entries++) {
        assert_int_equal(X509_NAME_add_entry_by_txt(name, entries->type, MBSTRING_UTF8,
                                                    (const unsigned char *)entries->value, -1, -1,
                                                    entries->set),
                         1);
    }
    return name;
}

static void
distinguished(const struct entry *entries, const char *expected)
{
    struct tls_text text = {0};
    X509_NAME *name = name_make(entries);
    tls_name_distinguished(&text, name);
    tls_text_end(&text);
    assert_false(text.failed);
    assert_string_equal(text.data, expected);
    free(text.data);
    X509_NAME_free(name);
}

static void
types_have_rabbitmq_s_names_or_numbers(void **state)
{
    (void)state;
    static const struct entry all[] = {{"C", "DE", 0},
                                       {"ST", "S", 0},
                                       {"L", "L", 0},
                                       {"street", "St 1", 0},
                                       {"O", "O", 0},
                                       {"OU", "OU", 0},
                                       {"CN", "CN", 0},
                                       {"SN", "Sn", 0},
                                       {"GN", "Gn", 0},
                                       {"initials", "I", 0},
                                       {"generationQualifier", "G", 0},
                                       {"title", "T", 0},
                                       {"serialNumber", "7", 0},
                                       {"pseudonym", "P", 0},
                                       {"emailAddress", "e@x", 0},
                                       {"UID", "u", 0},
                                       {"DC", "d", 0},
                                       {NULL, NULL, 0}};
    distinguished(all, "DC=d,UID=u,EMAILADDRESS=e@x,PSEUDONYM=P,SERIALNUMBER=7,TITLE=T,"
                       "GENERATIONQUALIFIER=G,INITIALS=I,GIVENNAME=Gn,SN=Sn,CN=CN,OU=OU,O=O,"
                       "2.5.4.9=St 1,L=L,ST=S,C=DE");
    static const struct entry others[] = {{"businessCategory", "Biz", 0},
                                          {"description", "De sc", 0},
                                          {"CN", "x", 0},
                                          {NULL, NULL, 0}};
    distinguished(others, "CN=x,2.5.4.13=De sc,2.5.4.15=Biz");
}

static void
what_is_special_is_escaped(void **state)
{
    (void)state;
    static const struct entry special[] = {
        {"O", "#lead", 0}, {"OU", " sp ace ", 0}, {"CN", "a,b;c<d>e\"f\\g", 0}, {NULL, NULL, 0}};
    distinguished(special, "CN=a\\,b\\;c\\<d\\>e\\\"f\\\\g,OU=\\ sp ace\\ ,O=\\#lead");
    static const struct entry far[] = {{"CN", "J\xC3\xBCrgen \xE4\xB8\xAD~\x7F", 0},
                                       {NULL, NULL, 0}};
    distinguished(far, "CN=J\\C3\\BCrgen \\E4\\B8\\AD\\7E\\7F");
}

/* The set in its own order, the sets from last to first. */
static void
sets_of_several_are_joined_by_plus(void **state)
{
    (void)state;
    static const struct entry sets[] = {{"C", "GB", 0},        {"L", "X", 0},    {"O", "Ex", -1},
                                        {"OU", "In+side", -1}, {"CN", "a b", 0}, {NULL, NULL, 0}};
    distinguished(sets, "CN=a b,L=X+O=Ex+OU=In\\+side,C=GB");
    static const struct entry twins[] = {{"CN", "one", 0}, {"CN", "two", 0}, {NULL, NULL, 0}};
    distinguished(twins, "CN=two,CN=one");
}

static void
common(const struct entry *entries, const char *expected)
{
    struct tls_text text = {0};
    X509 *certificate = X509_new();
    X509_NAME *name = name_make(entries);
    assert_non_null(certificate);
    assert_int_equal(X509_set_subject_name(certificate, name), 1);
    assert_int_equal(tls_name_common(&text, certificate), expected != NULL);
    if (expected != NULL) {
        tls_text_end(&text);
        assert_string_equal(text.data, expected);
    }
    free(text.data);
    X509_NAME_free(name);
    X509_free(certificate);
}

static void
common_names_are_not_escaped_and_come_in_order(void **state)
{
    (void)state;
    static const struct entry twins[] = {{"CN", "one", 0}, {"CN", "t,wo", 0}, {NULL, NULL, 0}};
    common(twins, "one,t,wo");
    static const struct entry far[] = {{"CN", "J\xC3\xBCrgen", 0}, {NULL, NULL, 0}};
    common(far, "J\xC3\xBCrgen");
    static const struct entry none[] = {{"O", "x", 0}, {NULL, NULL, 0}};
    common(none, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_have_rabbitmq_s_names_or_numbers),
        cmocka_unit_test(what_is_special_is_escaped),
        cmocka_unit_test(sets_of_several_are_joined_by_plus),
        cmocka_unit_test(common_names_are_not_escaped_and_come_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
