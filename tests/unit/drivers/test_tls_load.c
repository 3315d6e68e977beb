/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: what newcomers cost is not paid by the shard's thread, and there is a
 * bound on how many may begin.
 *
 * Method: OpenSSL's private-key operations are counted by thread: this program
 * has its own EVP_DigestSign() and EVP_PKEY_decrypt() in front of libcrypto's.
 */
#include <dlfcn.h>
#include <pthread.h>

#include "tls_rig.h"

static pthread_t shard_thread;
static uint32_t signed_here;
static uint32_t signed_elsewhere; /* by one worker */

static void
operation_count(void)
{
    if (pthread_equal(pthread_self(), shard_thread)) {
        signed_here++;
    } else {
        (void)__atomic_add_fetch(&signed_elsewhere, 1, __ATOMIC_RELAXED);
    }
}

typedef int sign_fn(EVP_MD_CTX *, unsigned char *, size_t *, const unsigned char *, size_t);
typedef int decrypt_fn(EVP_PKEY_CTX *, unsigned char *, size_t *, const unsigned char *, size_t);

int
EVP_DigestSign(EVP_MD_CTX *context, unsigned char *signature, size_t *bytes,
               const unsigned char *text, size_t text_bytes)
{
    void *found = dlsym(RTLD_NEXT, "EVP_DigestSign");
    sign_fn *theirs;
    memcpy(&theirs, &found, sizeof(theirs));
    if (signature != NULL) { /* or it asks how long one is */
        operation_count();
    }
    return theirs(context, signature, bytes, text, text_bytes);
}

int
EVP_PKEY_decrypt(EVP_PKEY_CTX *context, unsigned char *out, size_t *bytes,
                 const unsigned char *text, size_t text_bytes)
{
    void *found = dlsym(RTLD_NEXT, "EVP_PKEY_decrypt");
    decrypt_fn *theirs;
    memcpy(&theirs, &found, sizeof(theirs));
    operation_count();
    return theirs(context, out, bytes, text, text_bytes);
}

static void
handshakes_do(uint32_t workers, uint32_t *ret_here, uint32_t *ret_elsewhere)
{
    static struct client clients[20];
    const struct lp_sim_net_config config = calm();
    world.start.settings.workers = workers;
    world.start.settings.handshake_timeout_ms = 3600000; /* of the network's time, which flies */
    world_start(&config);
    signed_here = 0;
    signed_elsewhere = 0;
    clients_handshake(clients, LP_COUNT_OF(clients), 40);
    for (uint32_t i = 0; i < LP_COUNT_OF(clients); i++) {
        client_echo(&clients[i], 10);
        client_close(&clients[i]);
    }
    *ret_here = signed_here;
    *ret_elsewhere = __atomic_load_n(&signed_elsewhere, __ATOMIC_RELAXED);
}

static void
with_workers_the_shard_s_thread_never_uses_the_private_key(void **state)
{
    (void)state;
    uint32_t here;
    uint32_t elsewhere;
    struct lp_tls_counters counters;
    shard_thread = pthread_self();
    handshakes_do(1, &here, &elsewhere);
    lp_tls_counters(&world.transport, &counters);
    assert_int_equal(here, 0);
    assert_int_equal(elsewhere, 20);
    assert_int_equal(counters.steps_here, 0);
    assert_int_equal(counters.handshakes, 20);
    world_stop();
    /* Otherwise it does: the counting works. */
    handshakes_do(0, &here, &elsewhere);
    lp_tls_counters(&world.transport, &counters);
    assert_int_equal(here, 20);
    assert_int_equal(elsewhere, 0);
    assert_true(counters.steps_here >= 20);
}

/* Each begins and does not go on. */
static void
a_flood_of_beginnings_is_bounded_told_and_over_in_time(void **state)
{
    (void)state;
    enum { FLOOD = 200 };
    static lp_handle far[FLOOD];
    static const uint8_t beginning[] = {22, 3, 1, 2, 0, 1, 0};
    struct lp_tls_counters counters;
    const struct lp_sim_net_config config = calm();
    world_start(&config);
    for (uint32_t i = 0; i < FLOOD; i++) {
        far[i] = lp_sim_net_connect(world.net, 0, 1);
        world_step();
        (void)lp_sim_net_far_send(world.net, far[i], beginning, sizeof(beginning));
        world_step();
        lp_tls_counters(&world.transport, &counters);
        assert_true(counters.handshaking <= STREAMS_MAX);
    }
    assert_int_equal(counters.handshaking, STREAMS_MAX);
    assert_int_equal(counters.refused, FLOOD - STREAMS_MAX);
    assert_non_null(strstr(world.log, "failed: there are too many streams or handshakes already"));
    assert_in_range(world.log_lines, 1, 20); /* of 136 */
    world.now_ns += UINT64_C(5001000000);
    world_empty();
    lp_tls_counters(&world.transport, &counters);
    assert_int_equal(counters.failed_timeout, STREAMS_MAX);
    for (uint32_t i = 0; i < FLOOD; i++) {
        lp_sim_net_far_close(world.net, far[i]);
    }
    /* Then there is room again. */
    struct client client;
    client_connect(&client);
    client_echo(&client, 100);
    client_close(&client);
    world_empty();
}

int
main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, world_open, world_close)
    const struct CMUnitTest tests[] = {
        WITH(with_workers_the_shard_s_thread_never_uses_the_private_key),
        WITH(a_flood_of_beginnings_is_bounded_told_and_over_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
