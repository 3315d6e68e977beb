/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What exists and how it may change: RabbitMQ's checks in RabbitMQ's order,
 * with its codes and texts (without the code's name, which the shard adds).
 *
 * Method: a row is a request and the answer to it; rows run in order against
 * one catalog over a store in memory, which is checked and loaded anew at the
 * end: what was stored must be what memory held.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "control/auth/auth.h"
#include "control/auth/password.h"
#include "control/auth/permission.h"
#include "control/topology/catalog.h"

#define LOCKED(name)                                                                          \
    "cannot obtain exclusive access to locked queue '" name                                   \
    "' in vhost '/'. It could be originally declared on another connection or the exclusive " \
    "property value does not match that of the original declaration."

enum {
    D = LP_OBJECT_DURABLE,
    A = LP_OBJECT_AUTO_DELETE,
    E = LP_OBJECT_EXCLUSIVE,
    I = LP_OBJECT_INTERNAL,
    P = LP_OBJECT_PASSIVE,
    S = LP_OBJECT_SERVER_NAMED,
};

static void
fill(void *self, void *data, size_t bytes)
{
    uint8_t *next = self;
    for (size_t i = 0; i < bytes; i++) {
        ((uint8_t *)data)[i] = (*next)++;
    }
}

static uint8_t entropy_state;
static const struct lp_entropy entropy = {fill, &entropy_state};

struct fixture {
    struct lp_store_memory *memory;
    struct lp_store store;
    struct lp_catalog *catalog;
};

static void
commit(struct fixture *f)
{
    if (lp_catalog_changed(f->catalog)) {
        assert_int_equal(lp_catalog_commit(f->catalog, &f->store), LP_OK);
        lp_catalog_changes_clear(f->catalog);
    }
    lp_catalog_check(f->catalog);
}

static void
user_add(struct fixture *f, const char *name, const char *const patterns[3])
{
    struct lp_bytes pattern[3];
    uint8_t hash[LP_PASSWORD_HASH_BYTES];
    for (size_t i = 0; i < 3; i++) {
        pattern[i] = lp_bytes_of_text(patterns[i]);
    }
    lp_password_hash(&entropy, lp_bytes_of_text("secret"), hash);
    lp_catalog_user_put(f->catalog, lp_bytes_of_text(name), lp_bytes_of(hash, sizeof(hash)),
                        lp_bytes_of_text(""));
    lp_catalog_permission_put(f->catalog, lp_catalog_user(f->catalog, lp_bytes_of_text(name)),
                              lp_catalog_vhost(f->catalog, lp_bytes_of_text("/")), pattern);
}

static void
fixture_open(struct fixture *f)
{
    static const char *const all[3] = {".*", ".*", ".*"};
    static const char *const some[3] = {"^mine", "^mine|^amq\\.default$", ""};
    f->memory = lp_store_memory_open();
    f->store = lp_store_memory_store(f->memory);
    assert_int_equal(lp_catalog_open(&f->store, &entropy, 4, &f->catalog), LP_OK);
    assert_int_equal(lp_catalog_vhost_add(f->catalog, lp_bytes_of_text("/")), LP_OK);
    user_add(f, "guest", all);
    user_add(f, "limited", some);
    commit(f);
}

/* Everything that exists, as the deltas of a sync. */
static struct lp_bytebuf
picture(struct fixture *f)
{
    struct lp_bytebuf deltas = {0};
    lp_catalog_sync(f->catalog, &deltas);
    return deltas;
}

static void
fixture_close(struct fixture *f)
{
    commit(f);
    struct lp_bytebuf before = picture(f);
    lp_catalog_close(&f->catalog);
    assert_int_equal(lp_catalog_open(&f->store, &entropy, 4, &f->catalog), LP_OK);
    lp_catalog_check(f->catalog);
    struct lp_bytebuf after = picture(f);
    assert_int_equal(before.size, after.size);
    lp_bytebuf_fini(&before);
    lp_bytebuf_fini(&after);
    lp_catalog_close(&f->catalog);
    lp_store_memory_close(&f->memory);
}

static struct lp_catalog_actor
actor(struct fixture *f, const char *user, uint64_t connection)
{
    const struct lp_catalog_actor made = {.user = lp_bytes_of_text(user ? user : "guest"),
                                          .connection = connection ? connection : 1,
                                          .vhost =
                                              lp_catalog_vhost(f->catalog, lp_bytes_of_text("/"))};
    return made;
}

static void
expect(const struct lp_fault *fault, uint16_t code, const char *text)
{
    char got[LP_FAULT_TEXT_BYTES + 1];
    memcpy(got, fault->text, fault->text_bytes);
    got[fault->text_bytes] = '\0';
    assert_string_equal(got, text ? text : "");
    assert_int_equal(fault->code, code);
}

/* ---- argument tables: "key:type:value,..." with types i (int32), l, t, S ---- */

static struct lp_bytes
table(const char *text, uint8_t *room, size_t bytes)
{
    struct lp_writer w = lp_writer_of(room, bytes);
    char copy[512];
    char *rest = NULL;
    if (!text) {
        return lp_bytes_of(NULL, 0);
    }
    (void)snprintf(copy, sizeof(copy), "%s", text);
    for (char *item = strtok_r(copy, ",", &rest); item; item = strtok_r(NULL, ",", &rest)) {
        char *type = strchr(item, ':');
        assert_non_null(type);
        *type++ = '\0';
        const char *value = type + 2;
        lp_writer_short(&w, lp_bytes_of_text(item));
        lp_writer_u8(&w, (uint8_t)*type);
        if (*type == 'I') {
            lp_writer_u32be(&w, (uint32_t)atoi(value));
        } else if (*type == 'l') {
            lp_writer_u64be(&w, (uint64_t)atoll(value));
        } else if (*type == 'd') {
            const double real = atof(value);
            uint64_t bits;
            memcpy(&bits, &real, 8);
            lp_writer_u64be(&w, bits);
        } else if (*type == 't') {
            lp_writer_u8(&w, *value == '1');
        } else {
            assert_int_equal(*type, 'S');
            lp_writer_long_be(&w, lp_bytes_of_text(value));
        }
    }
    assert_false(w.failed);
    return lp_writer_bytes(&w);
}

/* ---- exchanges ---- */

static const struct {
    const char *name, *kind; /* kind NULL: delete */
    uint8_t flags;           /* of a delete: if-unused */
    uint16_t code;
    const char *text, *arguments, *user;
} exchange_rows[] = {
    {"x", "direct", D, 0, NULL, NULL, NULL},
    {"x", "direct", D, 0, NULL, NULL, NULL},
    {"x\r\n", "direct", D, 0, NULL, NULL, NULL},
    {"x", "nonsense", P, 0, NULL, NULL, NULL}, /* passive ignores the type */
    {"x", "fanout", D, 406,
     "inequivalent arg 'type' for exchange 'x' in vhost '/': received 'fanout' but current is "
     "'direct'",
     NULL, NULL},
    {"x", "direct", 0, 406,
     "inequivalent arg 'durable' for exchange 'x' in vhost '/': received 'false' but current "
     "is 'true'",
     NULL, NULL},
    {"x", "direct", D | A, 406,
     "inequivalent arg 'auto_delete' for exchange 'x' in vhost '/': received 'true' but "
     "current is 'false'",
     NULL, NULL},
    {"x", "direct", D | I, 406,
     "inequivalent arg 'internal' for exchange 'x' in vhost '/': received 'true' but current "
     "is 'false'",
     NULL, NULL},
    {"x", "direct", D, 406,
     "inequivalent arg 'alternate-exchange' for exchange 'x' in vhost '/': received the value "
     "'y' of type 'longstr' but current is none",
     "alternate-exchange:S:y", NULL},
    {"x", "direct", D, 0, NULL, "anything:S:y", NULL}, /* not compared */
    {"y", "nonsense", 0, 406, "unknown exchange type 'nonsense'", NULL, NULL},
    {"y", "direct", P, 404, "no exchange 'y' in vhost '/'", NULL, NULL},
    {"", "direct", 0, 403, "operation not permitted on the default exchange", NULL, NULL},
    {"", "direct", P, 403, "operation not permitted on the default exchange", NULL, NULL},
    {"", NULL, 0, 403, "operation not permitted on the default exchange", NULL, NULL},
    {"amq.new", "direct", 0, 403, "exchange name 'amq.new' contains reserved prefix 'amq.*'", NULL,
     NULL},
    {"amq.direct", "direct", D, 0, NULL, NULL, NULL},
    {"amq.direct", "direct", 0, 406,
     "inequivalent arg 'durable' for exchange 'amq.direct' in vhost '/': received 'false' but "
     "current is 'true'",
     NULL, NULL},
    {"amq.direct", NULL, 0, 403,
     "deletion of system exchange 'amq.direct' in vhost '/' not allowed", NULL, NULL},
    {"amq.none", NULL, 0, 403, "deletion of system exchange 'amq.none' in vhost '/' not allowed",
     NULL, NULL},
    {"ae", "topic", 0, 0, NULL, "alternate-exchange:S:x", NULL},
    {"ae2", "topic", 0, 406,
     "invalid type 'signedint' for arg 'alternate-exchange' in exchange 'ae2' in vhost '/'",
     "alternate-exchange:I:1", NULL},
    {"other", "direct", 0, 403,
     "configure access to exchange 'other' in vhost '/' refused for user 'limited'", NULL,
     "limited"},
    {"mine", "direct", 0, 0, NULL, NULL, "limited"},
    {"mine2", "direct", 0, 403,
     "read access to exchange 'mine2' in vhost '/' refused for user 'limited'",
     "alternate-exchange:S:mine", "limited"},
    {"x", "direct", P, 0, NULL, NULL, "limited"}, /* passive needs no right */
    {"x", NULL, 0, 403, "configure access to exchange 'x' in vhost '/' refused for user 'limited'",
     NULL, "limited"},
    {"x", NULL, 1, 0, NULL, NULL, NULL},
    {"x", NULL, 0, 0, NULL, NULL, NULL}, /* absent: fine */
};

static void
exchanges_are_declared_and_deleted_by_the_rules(void **unused)
{
    (void)unused;
    struct fixture f;
    uint8_t room[512];
    fixture_open(&f);
    for (size_t i = 0; i < LP_COUNT_OF(exchange_rows); i++) {
        struct lp_fault fault = {0};
        const struct lp_catalog_actor who = actor(&f, exchange_rows[i].user, 0);
        struct lp_catalog_exchange *exchange;
        const struct lp_exchange_declare request = {
            .name = lp_bytes_of_text(exchange_rows[i].name),
            .kind_name = lp_bytes_of_text(exchange_rows[i].kind ? exchange_rows[i].kind : ""),
            .flags = exchange_rows[i].flags,
            .arguments = table(exchange_rows[i].arguments, room, sizeof(room))};
        const bool good =
            exchange_rows[i].kind
                ? lp_catalog_exchange_declare(f.catalog, &who, &request, &exchange, &fault)
                : lp_catalog_exchange_delete(f.catalog, &who, request.name, exchange_rows[i].flags,
                                             &fault);
        assert_int_equal(good, exchange_rows[i].code == 0);
        expect(&fault, exchange_rows[i].code, exchange_rows[i].text);
        commit(&f);
    }
    fixture_close(&f);
}

/* ---- queues ---- */

static const struct {
    const char *name;
    uint8_t flags;
    uint64_t connection;
    uint16_t code;
    const char *text, *arguments, *user;
} queue_rows[] = {
    {"q", D, 0, 0, NULL, NULL, NULL},
    {"q", D, 0, 0, NULL, NULL, NULL},
    {"q\n", D, 0, 0, NULL, NULL, NULL},
    {"q", P | A, 7, 0, NULL, NULL, "limited"},
    {"none", P, 0, 404, "no queue 'none' in vhost '/'", NULL, NULL},
    {"q", 0, 0, 406,
     "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is "
     "'true'",
     NULL, NULL},
    {"q", D | A, 0, 406,
     "inequivalent arg 'auto_delete' for queue 'q' in vhost '/': received 'true' but current "
     "is 'false'",
     NULL, NULL},
    {"q", D | E, 0, 405, LOCKED("q"), NULL, NULL}, /* the owner is compared first */
    {"q", D, 0, 406,
     "inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received the value '1000' "
     "of type 'signedint' but current is none",
     "x-message-ttl:I:1000", NULL},
    {"q", D, 0, 0, NULL, "x-queue-type:S:classic", NULL},
    {"q", D, 0, 406,
     "inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received 'quorum' but "
     "current is 'classic'",
     "x-queue-type:S:quorum", NULL},
    {"q", D, 0, 0, NULL, "x-unknown:S:v", NULL},
    {"mode", 0, 0, 0, NULL, "x-queue-mode:S:lazy", NULL},
    {"mode", 0, 0, 406,
     "inequivalent arg 'x-queue-mode' for queue 'mode' in vhost '/': received none but current "
     "is the value 'lazy' of type 'longstr'",
     NULL, NULL},
    {"mode", 0, 0, 406,
     "inequivalent arg 'x-queue-mode' for queue 'mode' in vhost '/': received 'default' but "
     "current is 'lazy'",
     "x-queue-mode:S:default", NULL},
    {"m2", 0, 0, 406,
     "invalid arg 'x-queue-mode' for queue 'm2' in vhost '/': \"unsupported queue mode 'foo'\"",
     "x-queue-mode:S:foo", NULL},
    {"ver", 0, 0, 0, NULL, "x-queue-version:I:2", NULL},
    {"ver", 0, 0, 0, NULL, "x-queue-version:l:2", NULL}, /* widths are one class (C51) */
    {"ver", 0, 0, 406,
     "inequivalent arg 'x-queue-version' for queue 'ver' in vhost '/': received '2.0' but "
     "current is '2'",
     "x-queue-version:d:2", NULL},
    {"ver", 0, 0, 406,
     "inequivalent arg 'x-queue-version' for queue 'ver' in vhost '/': received '1' but "
     "current is '2'",
     "x-queue-version:I:1", NULL},
    {"ttl", 0, 0, 540, "queue argument 'x-message-ttl' is not implemented yet",
     "x-message-ttl:I:1000", NULL},
    {"dlx", 0, 0, 540, "queue argument 'x-dead-letter-exchange' is not implemented yet",
     "x-dead-letter-exchange:S:x", NULL},
    {"type", 0, 0, 540, "queue argument 'x-queue-type' is not implemented yet",
     "x-queue-type:S:stream", NULL},
    {"sac", 0, 0, 0, NULL, "x-single-active-consumer:t:0", NULL},
    {"sac1", 0, 0, 540, "queue argument 'x-single-active-consumer' is not implemented yet",
     "x-single-active-consumer:t:1", NULL},
    {"loc", 0, 0, 0, NULL, "x-queue-master-locator:S:min-masters,own:S:v", NULL},
    {"amq.mine", 0, 0, 403, "queue name 'amq.mine' contains reserved prefix 'amq.*'", NULL, NULL},
    {"amq.gen-1", S | E, 0, 0, NULL, NULL, NULL},
    {"amq.gen-1", E, 0, 0, NULL, NULL, NULL}, /* the prefix matters to new ones only */
    {"amq.gen-2", S, 0, 406, "Cannot declare a server-named queue for type rabbit_quorum_queue",
     "x-queue-type:S:quorum", NULL},
    {"ex", E | D, 1, 0, NULL, NULL, NULL},
    {"ex", E | D, 1, 0, NULL, NULL, NULL}, /* durable is dropped on both sides (C57) */
    {"ex", E, 2, 405, LOCKED("ex"), NULL, NULL},
    {"ex", 0, 1, 405, LOCKED("ex"), NULL, NULL},
    {"ex", P, 2, 405, LOCKED("ex"), NULL, NULL},
    {"ex", P, 1, 0, NULL, NULL, NULL},
    {"other", 0, 0, 403,
     "configure access to queue 'other' in vhost '/' refused for user 'limited'", NULL, "limited"},
    {"mine", 0, 0, 0, NULL, NULL, "limited"},
};

static void
queues_are_declared_by_the_rules(void **unused)
{
    (void)unused;
    struct fixture f;
    uint8_t room[512];
    fixture_open(&f);
    for (size_t i = 0; i < LP_COUNT_OF(queue_rows); i++) {
        struct lp_fault fault = {0};
        struct lp_queue_declared declared;
        const struct lp_catalog_actor who = actor(&f, queue_rows[i].user, queue_rows[i].connection);
        const struct lp_queue_declare request = {
            .name = lp_bytes_of_text(queue_rows[i].name),
            .flags = queue_rows[i].flags,
            .home_shard = 2,
            .arguments = table(queue_rows[i].arguments, room, sizeof(room))};
        const bool good = lp_catalog_queue_declare(f.catalog, &who, &request, &declared, &fault);
        assert_int_equal(good, queue_rows[i].code == 0);
        expect(&fault, queue_rows[i].code, queue_rows[i].text);
        commit(&f);
    }
    assert_int_equal(lp_catalog_connection_gone(f.catalog, 1), 2);
    fixture_close(&f);
}

static void
malformed_argument_tables_are_refused(void **unused)
{
    (void)unused;
    static const uint8_t bad[] = {3, 'k', 'e', 'y', 'S', 0, 0, 1, 0, 'x'};
    struct fixture f;
    fixture_open(&f);
    for (uint32_t bytes = 1; bytes <= sizeof(bad); bytes++) {
        struct lp_fault fault = {0};
        struct lp_queue_declared declared;
        const struct lp_catalog_actor who = actor(&f, NULL, 0);
        const struct lp_queue_declare request = {.name = lp_bytes_of_text("q"),
                                                 .arguments = lp_bytes_of(bad, bytes)};
        assert_false(lp_catalog_queue_declare(f.catalog, &who, &request, &declared, &fault));
        assert_int_equal(fault.code, 406);
    }
    fixture_close(&f);
}

/* ---- bindings ---- */

static void
make(struct fixture *f, const char *name, const char *kind, uint8_t flags)
{
    struct lp_fault fault = {0};
    const struct lp_catalog_actor who = actor(f, NULL, 0);
    if (kind) {
        struct lp_catalog_exchange *exchange;
        const struct lp_exchange_declare request = {
            .name = lp_bytes_of_text(name), .kind_name = lp_bytes_of_text(kind), .flags = flags};
        assert_true(lp_catalog_exchange_declare(f->catalog, &who, &request, &exchange, &fault));
    } else {
        struct lp_queue_declared declared;
        const struct lp_queue_declare request = {.name = lp_bytes_of_text(name), .flags = flags};
        assert_true(lp_catalog_queue_declare(f->catalog, &who, &request, &declared, &fault));
    }
}

static bool
bind(struct fixture *f, const char *source, const char *destination, bool to_queue)
{
    struct lp_fault fault = {0};
    const struct lp_catalog_actor who = actor(f, NULL, 0);
    const struct lp_bind request = {.source = lp_bytes_of_text(source),
                                    .destination = lp_bytes_of_text(destination),
                                    .destination_resource =
                                        to_queue ? LP_RESOURCE_QUEUE : LP_RESOURCE_EXCHANGE,
                                    .key = lp_bytes_of_text("k")};
    return lp_catalog_bind(f->catalog, &who, &request, &fault);
}

static const struct {
    const char *source, *destination, *key;
    bool to_queue, unbind;
    uint16_t code;
    const char *text, *arguments, *user;
    uint64_t connection;
    uint32_t count; /* of bindings afterwards */
} binding_rows[] = {
    {"x", "q", "k", true, false, 0, NULL, NULL, NULL, 0, 1},
    {"x", "q", "k", true, false, 0, NULL, NULL, NULL, 0, 1}, /* a duplicate */
    {"x", "q", "k2", true, false, 0, NULL, NULL, NULL, 0, 2},
    {"x", "q", "k", true, false, 0, NULL, "a:I:1,b:I:2", NULL, 0, 3},
    {"x", "q", "k", true, false, 0, NULL, "b:I:2,a:I:1", NULL, 0, 3}, /* order is nothing */
    {"x\r", "q\n", "k3", true, false, 0, NULL, NULL, NULL, 0, 4},
    {"x", "y", "k", false, false, 0, NULL, NULL, NULL, 0, 5},
    {"none", "q", "k", true, false, 404, "no exchange 'none' in vhost '/'", NULL, NULL, 0, 5},
    {"x", "none", "k", true, false, 404, "no queue 'none' in vhost '/'", NULL, NULL, 0, 5},
    {"x", "none", "k", false, false, 404, "no exchange 'none' in vhost '/'", NULL, NULL, 0, 5},
    {"none", "none", "k", true, false, 404, "no exchange 'none' in vhost '/'", NULL, NULL, 0, 5},
    {"", "q", "k", true, false, 403, "operation not permitted on the default exchange", NULL, NULL,
     0, 5},
    {"x", "", "k", false, false, 403, "operation not permitted on the default exchange", NULL, NULL,
     0, 5},
    {"", "q", "k", true, true, 403, "operation not permitted on the default exchange", NULL, NULL,
     0, 5},
    {"x", "ex", "k", true, false, 405, LOCKED("ex"), NULL, NULL, 2, 5},
    {"x", "ex", "k", true, false, 0, NULL, NULL, NULL, 1, 6},
    {"x", "ex", "k", true, true, 405, LOCKED("ex"), NULL, NULL, 2, 6},
    {"x", "q", "k", true, false, 403,
     "write access to queue 'q' in vhost '/' refused for user 'limited'", NULL, "limited", 0, 6},
    {"x", "mine", "k", true, false, 403,
     "read access to exchange 'x' in vhost '/' refused for user 'limited'", NULL, "limited", 0, 6},
    {"h", "q", "", true, false, 406,
     "Invalid x-match field value <<\"some\">>; expected all, any, all-with-x, or any-with-x",
     "x-match:S:some", NULL, 0, 6},
    {"h", "q", "", true, false, 406,
     "Invalid x-match field type signedint (value 1); expected longstr", "x-match:I:1", NULL, 0, 6},
    {"h", "q", "", true, false, 0, NULL, "x-match:S:any", NULL, 0, 7},
    {"x", "q", "absent", true, true, 0, NULL, NULL, NULL, 0, 7},
    {"x", "none", "k", true, true, 0, NULL, NULL, NULL, 0, 7},
    {"none", "q", "k", true, true, 0, NULL, NULL, NULL, 0, 7},
    {"x", "q", "k", true, true, 0, NULL, "b:I:2,a:I:1", NULL, 0, 6},
    {"x", "q", "k", true, true, 0, NULL, NULL, NULL, 0, 5},
};

static void
bindings_follow_the_rules(void **unused)
{
    (void)unused;
    struct fixture f;
    uint8_t room[512];
    fixture_open(&f);
    make(&f, "x", "direct", D);
    make(&f, "y", "topic", D);
    make(&f, "h", "headers", 0);
    make(&f, "q", NULL, D);
    make(&f, "ex", NULL, E);
    make(&f, "mine", NULL, 0);
    for (size_t i = 0; i < LP_COUNT_OF(binding_rows); i++) {
        struct lp_fault fault = {0};
        const struct lp_catalog_actor who =
            actor(&f, binding_rows[i].user, binding_rows[i].connection);
        const struct lp_bind request = {
            .source = lp_bytes_of_text(binding_rows[i].source),
            .destination = lp_bytes_of_text(binding_rows[i].destination),
            .key = lp_bytes_of_text(binding_rows[i].key),
            .arguments = table(binding_rows[i].arguments, room, sizeof(room)),
            .destination_resource =
                binding_rows[i].to_queue ? LP_RESOURCE_QUEUE : LP_RESOURCE_EXCHANGE};
        const bool good = binding_rows[i].unbind
                              ? lp_catalog_unbind(f.catalog, &who, &request, &fault)
                              : lp_catalog_bind(f.catalog, &who, &request, &fault);
        assert_int_equal(good, binding_rows[i].code == 0);
        expect(&fault, binding_rows[i].code, binding_rows[i].text);
        assert_int_equal(f.catalog->binding_count, binding_rows[i].count);
        commit(&f);
    }
    fixture_close(&f);
}

static struct lp_catalog_exchange *
exchange_of(struct fixture *f, const char *name)
{
    return lp_catalog_exchange(f->catalog, lp_catalog_vhost(f->catalog, lp_bytes_of_text("/")),
                               lp_bytes_of_text(name));
}

static struct lp_catalog_queue *
queue_of(struct fixture *f, const char *name)
{
    return lp_catalog_queue(f->catalog, lp_catalog_vhost(f->catalog, lp_bytes_of_text("/")),
                            lp_bytes_of_text(name));
}

static void
auto_delete_exchanges_go_with_their_last_binding_and_upstream(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_open(&f);
    make(&f, "a", "fanout", A);
    make(&f, "b", "fanout", A | D);
    make(&f, "c", "fanout", A);
    make(&f, "kept", "fanout", 0);
    make(&f, "q", NULL, 0);
    make(&f, "q2", NULL, 0);
    /* a -> b -> c -> q, kept -> c, a -> a; a has a second way out. */
    assert_true(bind(&f, "a", "b", false));
    assert_true(bind(&f, "b", "c", false));
    assert_true(bind(&f, "c", "q", true));
    assert_true(bind(&f, "kept", "c", false));
    assert_true(bind(&f, "a", "q2", true));
    assert_true(bind(&f, "a", "a", false));
    commit(&f);
    lp_catalog_queue_drop(f.catalog, queue_of(&f, "q"));
    assert_null(exchange_of(&f, "c"));
    assert_null(exchange_of(&f, "b"));
    assert_non_null(exchange_of(&f, "a"));
    assert_non_null(exchange_of(&f, "kept"));
    assert_int_equal(f.catalog->binding_count, 2);
    commit(&f);
    fixture_close(&f);
}

static void
in_use_means_bindings_that_start_here(void **unused)
{
    (void)unused;
    struct fixture f;
    struct lp_fault fault = {0};
    fixture_open(&f);
    const struct lp_catalog_actor who = actor(&f, NULL, 0);
    make(&f, "x", "direct", 0);
    make(&f, "y", "direct", 0);
    assert_true(bind(&f, "x", "y", false));
    assert_false(lp_catalog_exchange_delete(f.catalog, &who, lp_bytes_of_text("x"), true, &fault));
    expect(&fault, 406, "exchange 'x' in vhost '/' in use");
    assert_true(lp_catalog_exchange_delete(f.catalog, &who, lp_bytes_of_text("y"), true, &fault));
    assert_int_equal(f.catalog->binding_count, 0);
    fixture_close(&f);
}

static void
a_binding_is_as_durable_as_both_its_ends(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_open(&f);
    make(&f, "xd", "direct", D);
    make(&f, "xt", "direct", 0);
    make(&f, "qd", NULL, D);
    make(&f, "qt", NULL, 0);
    assert_true(bind(&f, "xd", "qd", true));
    assert_true(bind(&f, "xd", "qt", true));
    assert_true(bind(&f, "xt", "qd", true));
    commit(&f);
    /* The broker starts anew: what is transient is gone, and only that. */
    lp_catalog_close(&f.catalog);
    lp_store_memory_crash(f.memory);
    assert_int_equal(lp_catalog_open(&f.store, &entropy, 4, &f.catalog), LP_OK);
    assert_int_equal(f.catalog->binding_count, 1);
    assert_non_null(queue_of(&f, "qd"));
    assert_null(queue_of(&f, "qt"));
    assert_null(exchange_of(&f, "xt"));
    fixture_close(&f);
}

static void
identifiers_are_never_given_twice_while_the_broker_runs(void **unused)
{
    (void)unused;
    struct fixture f;
    uint32_t last = 0;
    fixture_open(&f);
    for (uint32_t i = 0; i < 8; i++) {
        make(&f, "q", NULL, i % 2 ? D : 0);
        commit(&f);
        assert_true(queue_of(&f, "q")->id > last);
        last = queue_of(&f, "q")->id;
        lp_catalog_queue_drop(f.catalog, queue_of(&f, "q"));
        commit(&f);
        /* The process is replaced. */
        lp_catalog_close(&f.catalog);
        assert_int_equal(lp_catalog_open(&f.store, &entropy, 4, &f.catalog), LP_OK);
    }
    fixture_close(&f);
}

static void
durable_queues_are_spread_anew_over_another_number_of_shards(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_open(&f);
    make(&f, "q", NULL, D);
    commit(&f);
    lp_catalog_close(&f.catalog);
    assert_int_equal(lp_catalog_open(&f.store, &entropy, 3, &f.catalog), LP_OK);
    assert_int_equal(queue_of(&f, "q")->home_shard, queue_of(&f, "q")->id % 3);
    lp_catalog_check(f.catalog);
    fixture_close(&f);
}

static void
a_hundred_thousand_queues_are_fine(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_open(&f);
    for (uint32_t i = 0; i < 100000; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "queue-%u", i);
        make(&f, name, NULL, 0);
        assert_true(bind(&f, "amq.direct", name, true));
    }
    for (uint32_t i = 0; i < 100000; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "queue-%u", i);
        lp_catalog_queue_drop(f.catalog, queue_of(&f, name));
    }
    assert_int_equal(f.catalog->queue_count, 0);
    assert_int_equal(f.catalog->binding_count, 0);
    fixture_close(&f);
}

/* ---- vhosts, users, rights ---- */

static void
deleting_a_vhost_takes_everything_in_it(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_open(&f);
    make(&f, "x", "direct", D);
    make(&f, "y", "direct", A);
    make(&f, "q", NULL, D);
    assert_true(bind(&f, "x", "q", true));
    assert_true(bind(&f, "y", "x", false));
    const struct lp_catalog_setting policy = {
        .kind = LP_SETTING_POLICY,
        .vhost_id = lp_catalog_vhost(f.catalog, lp_bytes_of_text("/"))->id,
        .name = lp_bytes_of_text("p"),
        .value = lp_bytes_of_text("{}")};
    lp_catalog_setting_put(f.catalog, &policy);
    commit(&f);
    assert_int_equal(lp_catalog_vhost_add(f.catalog, lp_bytes_of_text("/")), LP_ERR_EXISTS);
    assert_int_equal(lp_catalog_vhost_delete(f.catalog, lp_bytes_of_text("/")), LP_OK);
    assert_int_equal(lp_catalog_vhost_delete(f.catalog, lp_bytes_of_text("/")), LP_ERR_NOT_FOUND);
    commit(&f);
    assert_int_equal(f.catalog->exchange_count, 0);
    assert_int_equal(f.catalog->queue_count, 0);
    assert_int_equal(f.catalog->binding_count, 0);
    assert_true(lp_chain_is_empty(&f.catalog->settings));
    assert_true(
        lp_chain_is_empty(&lp_catalog_user(f.catalog, lp_bytes_of_text("guest"))->permissions));
    fixture_close(&f);
}

static void
every_change_of_rights_makes_a_new_epoch(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_open(&f);
    uint32_t epoch = f.catalog->permission_epoch;
    make(&f, "q", NULL, D);
    commit(&f);
    assert_int_equal(f.catalog->permission_epoch, epoch);
    struct lp_catalog_user *user = lp_catalog_user(f.catalog, lp_bytes_of_text("limited"));
    lp_catalog_permission_delete(f.catalog, user,
                                 lp_catalog_vhost(f.catalog, lp_bytes_of_text("/")));
    assert_int_equal(lp_catalog_commit(f.catalog, &f.store), LP_OK);
    assert_int_equal(f.catalog->permission_epoch, epoch + 1);
    size_t at = 0;
    uint16_t type = 0;
    struct lp_bytes payload;
    assert_true(lp_catalog_delta_next(&f.catalog->deltas, &at, &type, &payload));
    assert_int_equal(type, LP_CONTROL_PERMISSION_EPOCH);
    lp_catalog_changes_clear(f.catalog);
    assert_int_equal(lp_catalog_user_delete(f.catalog, lp_bytes_of_text("limited")), LP_OK);
    assert_int_equal(lp_catalog_user_delete(f.catalog, lp_bytes_of_text("limited")),
                     LP_ERR_NOT_FOUND);
    commit(&f);
    assert_int_equal(f.catalog->permission_epoch, epoch + 2);
    lp_catalog_close(&f.catalog);
    assert_int_equal(lp_catalog_open(&f.store, &entropy, 4, &f.catalog), LP_OK);
    assert_int_equal(f.catalog->permission_epoch, epoch + 2);
    fixture_close(&f);
}

static void
patterns_are_unanchored_and_the_empty_one_admits_the_empty_name(void **unused)
{
    (void)unused;
    static const struct {
        const char *pattern, *name;
        bool admits;
    } rows[] = {
        {".*", "anything", true},
        {".*", "", true},
        {"", "", true},
        {"", "a", false},
        {"b", "abc", true},
        {"^b", "abc", false},
        {"^(a|b)$", "b", true},
        {"^(a|b)$", "bb", false},
        {"^$", "", true},
        {"\\.default$", "amq.default", true},
        {"(a+)+$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", false}, /* gives up */
    };
    struct fixture f;
    fixture_open(&f);
    struct lp_catalog_user *user = lp_catalog_user(f.catalog, lp_bytes_of_text("guest"));
    const struct lp_catalog_vhost *vhost = lp_catalog_vhost(f.catalog, lp_bytes_of_text("/"));
    for (size_t i = 0; i < LP_COUNT_OF(rows); i++) {
        const struct lp_bytes pattern[3] = {lp_bytes_of_text(".*"), lp_bytes_of_text("x"),
                                            lp_bytes_of_text(rows[i].pattern)};
        lp_catalog_permission_put(f.catalog, user, vhost, pattern);
        struct lp_catalog_permission *permission = lp_catalog_permission(user, vhost->id);
        assert_int_equal(
            lp_permission_admits(permission, LP_PERMISSION_READ, lp_bytes_of_text(rows[i].name)),
            rows[i].admits);
        const bool all = strcmp(rows[i].pattern, ".*") == 0;
        assert_int_equal(lp_permission_unrestricted(permission),
                         LP_PERMISSION_CONFIGURE | (all ? LP_PERMISSION_READ : 0));
    }
    char why[128];
    assert_false(lp_permission_pattern_is_good(lp_bytes_of_text("a["), why, sizeof(why)));
    assert_true(lp_permission_pattern_is_good(lp_bytes_of_text("a"), why, sizeof(why)));
    fixture_close(&f);
}

static void
the_default_exchange_has_a_name_where_rights_are_concerned(void **unused)
{
    (void)unused;
    struct fixture f;
    struct lp_fault fault = {0};
    fixture_open(&f);
    const struct lp_catalog_actor who = actor(&f, "limited", 0);
    const struct lp_auth_question write = {LP_PERMISSION_WRITE, LP_RESOURCE_EXCHANGE,
                                           lp_bytes_of_text("")};
    const struct lp_auth_question read = {LP_PERMISSION_READ, LP_RESOURCE_EXCHANGE,
                                          lp_bytes_of_text("")};
    assert_true(lp_auth_check(f.catalog, &who, &write, &fault));
    assert_false(lp_auth_check(f.catalog, &who, &read, &fault));
    expect(&fault, 403,
           "read access to exchange 'amq.default' in vhost '/' refused for user 'limited'");
    fixture_close(&f);
}

static void
passwords_are_hashed_as_rabbitmq_does(void **unused)
{
    (void)unused;
    /* The documentation's example: salt 908D C60A, password test12. */
    const struct lp_bytes known =
        lp_bytes_of_text("kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR");
    uint8_t hash[LP_PASSWORD_HASH_BYTES];
    assert_true(lp_password_matches(known, lp_bytes_of_text("test12")));
    assert_false(lp_password_matches(known, lp_bytes_of_text("test13")));
    assert_false(lp_password_matches(known, lp_bytes_of_text("")));
    assert_false(lp_password_matches(lp_bytes_of_text(""), lp_bytes_of_text("")));
    assert_false(
        lp_password_matches(lp_bytes_of_text("not base64 at all, but the same length !!!!!!!!"),
                            lp_bytes_of_text("x")));
    lp_password_hash(&entropy, lp_bytes_of_text("p"), hash);
    assert_true(lp_password_matches(lp_bytes_of(hash, sizeof(hash)), lp_bytes_of_text("p")));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exchanges_are_declared_and_deleted_by_the_rules),
        cmocka_unit_test(queues_are_declared_by_the_rules),
        cmocka_unit_test(malformed_argument_tables_are_refused),
        cmocka_unit_test(bindings_follow_the_rules),
        cmocka_unit_test(auto_delete_exchanges_go_with_their_last_binding_and_upstream),
        cmocka_unit_test(in_use_means_bindings_that_start_here),
        cmocka_unit_test(a_binding_is_as_durable_as_both_its_ends),
        cmocka_unit_test(identifiers_are_never_given_twice_while_the_broker_runs),
        cmocka_unit_test(durable_queues_are_spread_anew_over_another_number_of_shards),
        cmocka_unit_test(a_hundred_thousand_queues_are_fine),
        cmocka_unit_test(deleting_a_vhost_takes_everything_in_it),
        cmocka_unit_test(every_change_of_rights_makes_a_new_epoch),
        cmocka_unit_test(patterns_are_unanchored_and_the_empty_one_admits_the_empty_name),
        cmocka_unit_test(the_default_exchange_has_a_name_where_rights_are_concerned),
        cmocka_unit_test(passwords_are_hashed_as_rabbitmq_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
