/* SPDX-License-Identifier: Apache-2.0 */
/*
 * catalog_rig.h - a catalog over a store in memory, and short words for what
 * tests ask of it.  Include it after cmocka.h.
 */
#pragma once

#include "control/auth/auth.h"
#include "control/auth/password.h"
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

static inline void
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

static inline void
commit(struct fixture *f)
{
    if (lp_catalog_changed(f->catalog)) {
        assert_int_equal(lp_catalog_commit(f->catalog, &f->store), LP_OK);
        lp_catalog_changes_clear(f->catalog);
    }
    lp_catalog_check(f->catalog);
}

static inline void
user_add(struct fixture *f, const char *name, const char *const patterns[3])
{
    struct lp_bytes pattern[3];
    struct lp_password_hash hash;
    for (size_t i = 0; i < 3; i++) {
        pattern[i] = lp_bytes_of_text(patterns[i]);
    }
    lp_password_hash(&entropy, LP_PASSWORD_SHA256, lp_bytes_of_text("secret"), &hash);
    const struct lp_catalog_user user = {.name = lp_bytes_of_text(name),
                                         .hash = lp_bytes_of(hash.data, hash.bytes)};
    lp_catalog_user_put(f->catalog, &user);
    lp_catalog_permission_put(f->catalog, lp_catalog_user(f->catalog, lp_bytes_of_text(name)),
                              lp_catalog_vhost(f->catalog, lp_bytes_of_text("/")), pattern);
}

static inline void
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
static inline struct lp_bytebuf
picture(struct fixture *f)
{
    struct lp_bytebuf deltas = {0};
    lp_catalog_sync(f->catalog, &deltas);
    return deltas;
}

static inline void
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

static inline struct lp_catalog_actor
actor(struct fixture *f, const char *user, uint64_t connection)
{
    const struct lp_catalog_actor made = {.user = lp_bytes_of_text(user ? user : "guest"),
                                          .connection = connection ? connection : 1,
                                          .vhost =
                                              lp_catalog_vhost(f->catalog, lp_bytes_of_text("/"))};
    return made;
}

static inline void
expect(const struct lp_fault *fault, uint16_t code, const char *text)
{
    char got[LP_FAULT_TEXT_BYTES + 1];
    memcpy(got, fault->text, fault->text_bytes);
    got[fault->text_bytes] = '\0';
    assert_string_equal(got, text ? text : "");
    assert_int_equal(fault->code, code);
}

/* ---- argument tables: "key:type:value,..." with types s, I, l, T, d, t, S ---- */

static inline struct lp_bytes
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
        } else if (*type == 's') {
            lp_writer_u16be(&w, (uint16_t)atoi(value));
        } else if (*type == 'l' || *type == 'T') {
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

static inline void
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

static inline bool
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

static inline struct lp_catalog_exchange *
exchange_of(struct fixture *f, const char *name)
{
    return lp_catalog_exchange(f->catalog, lp_catalog_vhost(f->catalog, lp_bytes_of_text("/")),
                               lp_bytes_of_text(name));
}

static inline struct lp_catalog_queue *
queue_of(struct fixture *f, const char *name)
{
    return lp_catalog_queue(f->catalog, lp_catalog_vhost(f->catalog, lp_bytes_of_text("/")),
                            lp_bytes_of_text(name));
}
