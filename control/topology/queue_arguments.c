/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue_arguments.c - the arguments of queue.declare: which type knows which,
 * and what each may be (C73-C76).
 *
 * RabbitMQ prints the reason for a refusal as an Erlang term; the texts below
 * are those terms.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "control/topology/catalog_internal.h"

/* Sets of types: bit n is enum lp_queue_kind n. */
enum {
    CLASSIC = 1 << LP_QUEUE_CLASSIC,
    QUORUM = 1 << LP_QUEUE_QUORUM,
    STREAM = 1 << LP_QUEUE_STREAM,
};

#define EXPIRY_MAX_MS     INT64_C(315360000000) /* ten years */
#define PRIORITY_MAX      255
#define SEGMENT_MAX_BYTES INT64_C(3000000000)
#define WHY_BYTES         400
#define AGE_UNITS         "YMDhms"

/* Why a value is refused, as an Erlang term. */
struct why {
    char text[WHY_BYTES];
};

typedef bool check_fn(const struct lp_field *field, struct lp_bytes arguments, struct why *ret_why);

static bool __attribute__((format(printf, 2, 3))) refuse(struct why *why, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(why->text, sizeof(why->text), format,
                    arguments); /* cut, as the fault will be */
    va_end(arguments);
    return false;
}

/* ---- kinds of values ---- */

static bool
of_type_longstr(const struct lp_field *field, struct why *ret_why)
{
    return field->type == 'S' ||
           refuse(ret_why, "{unacceptable_type,%s}", lp_field_type_name(field->type));
}

static bool
check_integer(const struct lp_field *field, struct why *ret_why)
{
    /* A timestamp is no number here. */
    const bool good = lp_field_is_integer(field->type) && field->type != 'T';
    return good || refuse(ret_why, "\"expected integer, got %s\"", lp_field_type_name(field->type));
}

static bool
check_not_negative(const struct lp_field *field, struct lp_bytes arguments, struct why *ret_why)
{
    (void)arguments;
    if (!check_integer(field, ret_why)) {
        return false;
    }
    const int64_t value = lp_field_integer(field);
    return value >= 0 || refuse(ret_why, "{value_negative,%" PRId64 "}", value);
}

static bool
check_ttl(const struct lp_field *field, struct lp_bytes arguments, struct why *ret_why)
{
    if (!check_not_negative(field, arguments, ret_why)) {
        return false;
    }
    const int64_t value = lp_field_integer(field);
    return value <= EXPIRY_MAX_MS || refuse(ret_why, "{value_too_large,%" PRId64 "}", value);
}

static bool
check_expires(const struct lp_field *field, struct lp_bytes arguments, struct why *ret_why)
{
    if (check_integer(field, ret_why) && lp_field_integer(field) == 0) {
        return refuse(ret_why, "{value_zero,0}");
    }
    return check_ttl(field, arguments, ret_why);
}

static bool
check_size(const struct lp_field *field, struct lp_bytes arguments, struct why *ret_why)
{
    return check_not_negative(field, arguments, ret_why) &&
           (lp_field_integer(field) > 0 || refuse(ret_why, "{value_zero,0}"));
}

static bool
check_priority(const struct lp_field *field, struct lp_bytes arguments, struct why *ret_why)
{
    if (!check_not_negative(field, arguments, ret_why)) {
        return false;
    }
    const int64_t value = lp_field_integer(field);
    return value <= PRIORITY_MAX || refuse(ret_why, "{max_value_exceeded,%" PRId64 "}", value);
}

static bool
check_bool(const struct lp_field *field, struct lp_bytes arguments, struct why *ret_why)
{
    (void)arguments;
    return field->type == 't' ||
           refuse(ret_why, "{unacceptable_type,%s}", lp_field_type_name(field->type));
}

/* ---- names and words ---- */

static bool
check_exchange(const struct lp_field *field, struct lp_bytes arguments, struct why *ret_why)
{
    (void)arguments;
    /* A longer one cannot exist; RabbitMQ takes it and drops what goes there. */
    return of_type_longstr(field, ret_why) &&
           (field->raw.size <= UINT8_MAX || refuse(ret_why, "name_too_long"));
}

static bool
check_key(const struct lp_field *field, struct lp_bytes arguments, struct why *ret_why)
{
    struct lp_field exchange;
    if (!of_type_longstr(field, ret_why)) {
        return false;
    }
    if (!lp_field_find(arguments, "x-dead-letter-exchange", &exchange)) {
        return refuse(ret_why, "routing_key_but_no_dlx_defined");
    }
    return field->raw.size <= UINT8_MAX || refuse(ret_why, "routing_key_too_long");
}

static bool
is_one_of(struct lp_bytes word, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (lp_bytes_equal_text(word, words[i])) {
            return true;
        }
    }
    return false;
}

static bool
check_strategy(const struct lp_field *field, struct lp_bytes arguments, struct why *ret_why)
{
    static const char *const known[] = {"at-most-once", "at-least-once"};
    (void)arguments;
    return of_type_longstr(field, ret_why) && (is_one_of(field->raw, known, LP_COUNT_OF(known)) ||
                                               refuse(ret_why, "invalid_dlx_strategy"));
}

static bool
check_overflow(const struct lp_field *field, struct lp_bytes arguments, struct why *ret_why)
{
    static const char *const known[] = {"drop-head", "reject-publish", "reject-publish-dlx"};
    (void)arguments;
    return of_type_longstr(field, ret_why) && (is_one_of(field->raw, known, LP_COUNT_OF(known)) ||
                                               refuse(ret_why, "invalid_overflow"));
}

static bool
check_locator(const struct lp_field *field, struct lp_bytes arguments, struct why *ret_why)
{
    static const char *const known[] = {"client-local", "balanced", "random", "least-leaders",
                                        "min-masters"};
    (void)arguments;
    return of_type_longstr(field, ret_why) && (is_one_of(field->raw, known, LP_COUNT_OF(known)) ||
                                               refuse(ret_why, "invalid_queue_locator_arg"));
}

static bool
check_mode(const struct lp_field *field, struct lp_bytes arguments, struct why *ret_why)
{
    static const char *const known[] = {"default", "lazy"};
    (void)arguments;
    return of_type_longstr(field, ret_why) &&
           (is_one_of(field->raw, known, LP_COUNT_OF(known)) ||
            refuse(ret_why, "\"unsupported queue mode '%.*s'\"", (int)field->raw.size,
                   (const char *)field->raw.data));
}

static bool
check_version(const struct lp_field *field, struct lp_bytes arguments, struct why *ret_why)
{
    if (!check_not_negative(field, arguments, ret_why)) {
        return false;
    }
    const int64_t value = lp_field_integer(field);
    return value == 1 || value == 2 ||
           refuse(ret_why, "\"unsupported queue version '%" PRId64 "'\"", value);
}

static bool
check_type(const struct lp_field *field, struct lp_bytes arguments, struct why *ret_why)
{
    enum lp_queue_kind kind;
    (void)arguments;
    return of_type_longstr(field, ret_why) &&
           (lp_queue_kind_find(field->raw, &kind) ||
            refuse(ret_why, "\"unsupported queue type '%.*s'\"", (int)field->raw.size,
                   (const char *)field->raw.data));
}

/* A number above 0 and a unit: "7D". */
bool
catalog_max_age_is_good(struct lp_bytes text)
{
    uint32_t digits = 0;
    bool positive = false;
    while (digits < text.size && text.data[digits] >= '0' && text.data[digits] <= '9') {
        positive = positive || text.data[digits] != '0';
        digits++;
    }
    return positive && digits + 1 == text.size && text.data[digits] != '\0' &&
           strchr(AGE_UNITS, text.data[digits]) != NULL;
}

static bool
check_age(const struct lp_field *field, struct lp_bytes arguments, struct why *ret_why)
{
    (void)arguments;
    return of_type_longstr(field, ret_why) &&
           (catalog_max_age_is_good(field->raw) || refuse(ret_why, "invalid_max_age"));
}

/* ---- the table ---- */

struct rule {
    const char *name;
    uint8_t types;
    check_fn *check; /* NULL: anything goes */
};

/* In the order in which RabbitMQ checks values. */
static const struct rule rules[] = {
    {"x-expires", CLASSIC | QUORUM, check_expires},
    {"x-message-ttl", CLASSIC | QUORUM, check_ttl},
    {"x-dead-letter-exchange", CLASSIC | QUORUM, check_exchange},
    {"x-dead-letter-routing-key", CLASSIC | QUORUM, check_key},
    {"x-dead-letter-strategy", QUORUM, check_strategy},
    {"x-max-length", CLASSIC | QUORUM, check_not_negative},
    {"x-max-length-bytes", CLASSIC | QUORUM | STREAM, check_not_negative},
    {"x-max-in-memory-length", QUORUM, check_not_negative},
    {"x-max-in-memory-bytes", QUORUM, check_not_negative},
    {"x-max-priority", CLASSIC, check_priority},
    {"x-overflow", CLASSIC | QUORUM, check_overflow},
    {"x-queue-mode", CLASSIC, check_mode},
    {"x-queue-version", CLASSIC, check_version},
    {"x-single-active-consumer", CLASSIC | QUORUM, check_bool},
    {"x-queue-type", CLASSIC | QUORUM | STREAM, check_type},
    {"x-quorum-initial-group-size", QUORUM, check_size},
    {"x-max-age", STREAM, check_age},
    {"x-stream-max-segment-size-bytes", STREAM, check_not_negative},
    {"x-initial-cluster-size", STREAM, check_size},
    {"x-queue-leader-locator", CLASSIC | QUORUM | STREAM, check_locator},
    {"x-queue-master-locator", CLASSIC, NULL},
    {"x-delivery-limit", QUORUM, NULL},
};

/* In the order in which RabbitMQ compares them on redeclaration (C52). */
static const char *const compared_classic[] = {
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-queue-version",
    "x-single-active-consumer",
    "x-queue-type",
    "x-queue-master-locator",
    "x-queue-leader-locator",
    NULL,
};
static const char *const compared_quorum[] = {
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-overflow",
    "x-single-active-consumer",
    "x-queue-type",
    "x-quorum-initial-group-size",
    "x-delivery-limit",
    "x-message-ttl",
    "x-queue-leader-locator",
    NULL,
};
static const char *const compared_stream[] = {
    "x-max-length-bytes",
    "x-queue-type",
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-initial-cluster-size",
    "x-queue-leader-locator",
    NULL,
};

bool
catalog_queue_arguments_equivalent(const struct lp_catalog_queue *queue, struct lp_bytes received,
                                   const char *resource, struct lp_fault *ret_fault)
{
    static const char *const *const compared[] = {
        [LP_QUEUE_CLASSIC] = compared_classic,
        [LP_QUEUE_QUORUM] = compared_quorum,
        [LP_QUEUE_STREAM] = compared_stream,
    };
    for (const char *const *name = compared[queue->kind]; *name; name++) {
        if (!catalog_argument_equivalent(queue->arguments, received, *name, resource, ret_fault)) {
            return false;
        }
    }
    return true;
}

static bool
value_fault(const char *name, const char *resource, const struct why *why,
            struct lp_fault *ret_fault)
{
    return lp_fault_set(ret_fault, LP_FAULT_PRECONDITION_FAILED, "invalid arg '%s' for %s: %s",
                        name, resource, why->text);
}

static bool
values_valid(enum lp_queue_kind kind, const char *resource, struct lp_bytes arguments,
             struct lp_fault *ret_fault)
{
    for (size_t i = 0; i < LP_COUNT_OF(rules); i++) {
        struct lp_field field;
        struct why why;
        const struct rule *rule = &rules[i];
        if ((rule->types & (1u << kind)) && rule->check &&
            lp_field_find(arguments, rule->name, &field) && !rule->check(&field, arguments, &why)) {
            return value_fault(rule->name, resource, &why, ret_fault);
        }
    }
    return true;
}

/* C75: known to another type only. */
static bool
keys_valid(enum lp_queue_kind kind, const char *resource, struct lp_bytes arguments,
           struct lp_fault *ret_fault)
{
    struct lp_reader reader = lp_reader_of_bytes(arguments);
    struct lp_field field;
    while (lp_field_next(&reader, &field)) {
        for (size_t i = 0; i < LP_COUNT_OF(rules); i++) {
            if (!(rules[i].types & (1u << kind)) &&
                lp_bytes_equal_text(field.name, rules[i].name)) {
                return lp_fault_set(ret_fault, LP_FAULT_PRECONDITION_FAILED,
                                    "invalid arg '%s' for %s of queue type rabbit_%s_queue",
                                    rules[i].name, resource, lp_queue_kind_name((uint8_t)kind));
            }
        }
    }
    return true;
}

bool
catalog_queue_arguments_valid(struct lp_bytes arguments, const char *resource,
                              enum lp_queue_kind *ret_kind, struct lp_fault *ret_fault)
{
    struct lp_field type;
    struct why why;
    LP_ASSERT(lp_field_find(arguments, "x-queue-type", &type)); /* injected when it was absent */
    if (!check_type(&type, arguments, &why)) {
        return value_fault("x-queue-type", resource, &why, ret_fault);
    }
    *ret_kind = catalog_queue_kind_of(arguments);
    return values_valid(*ret_kind, resource, arguments, ret_fault) &&
           keys_valid(*ret_kind, resource, arguments, ret_fault);
}

/* C76, and what only streams ask. */
bool
catalog_queue_properties_valid(enum lp_queue_kind kind, const char *resource, uint8_t flags,
                               struct lp_bytes arguments, struct lp_fault *ret_fault)
{
    struct lp_field field;
    if (kind == LP_QUEUE_CLASSIC) {
        return true;
    }
    const char *wrong = flags & LP_OBJECT_AUTO_DELETE  ? "auto-delete"
                        : flags & LP_OBJECT_EXCLUSIVE  ? "exclusive-owner"
                        : !(flags & LP_OBJECT_DURABLE) ? "non-durable"
                                                       : NULL;
    if (wrong) {
        return lp_fault_set(ret_fault, LP_FAULT_PRECONDITION_FAILED, "invalid property '%s' for %s",
                            wrong, resource);
    }
    if (kind != LP_QUEUE_STREAM) {
        return true;
    }
    if (lp_field_find(arguments, "x-stream-max-segment-size-bytes", &field) &&
        lp_field_integer(&field) > SEGMENT_MAX_BYTES) {
        return lp_fault_set(ret_fault, LP_FAULT_PRECONDITION_FAILED,
                            "Exceeded max value for x-stream-max-segment-size-bytes");
    }
    if (lp_field_find(arguments, "x-stream-filter-size-bytes", &field) &&
        (!lp_field_is_integer(field.type) || lp_field_integer(&field) < 16 ||
         lp_field_integer(&field) > 255)) {
        return lp_fault_set(ret_fault, LP_FAULT_PRECONDITION_FAILED,
                            "Invalid value for  x-stream-filter-size-bytes");
    }
    return true;
}

/* ---- kinds ---- */

static const char *const kind_names[] = {
    [LP_QUEUE_CLASSIC] = "classic",
    [LP_QUEUE_QUORUM] = "quorum",
    [LP_QUEUE_STREAM] = "stream",
};

/* The data plane's types. */
bool
catalog_queue_kind_is_there(enum lp_queue_kind kind)
{
    return kind == LP_QUEUE_CLASSIC || kind == LP_QUEUE_QUORUM;
}

const char *
lp_queue_kind_name(uint8_t kind)
{
    return kind < LP_COUNT_OF(kind_names) ? kind_names[kind] : "unknown";
}

bool
lp_queue_kind_find(struct lp_bytes name, enum lp_queue_kind *ret_kind)
{
    for (size_t i = 0; i < LP_COUNT_OF(kind_names); i++) {
        if (lp_bytes_equal_text(name, kind_names[i])) {
            *ret_kind = (enum lp_queue_kind)i;
            return true;
        }
    }
    return false;
}

enum lp_queue_kind
catalog_queue_kind_of(struct lp_bytes arguments)
{
    struct lp_field type;
    enum lp_queue_kind kind = LP_QUEUE_CLASSIC;
    if (lp_field_find(arguments, "x-queue-type", &type) && type.type == 'S') {
        const bool known = lp_queue_kind_find(type.raw, &kind);
        return known ? kind : LP_QUEUE_CLASSIC; /* unknown ones are never stored */
    }
    return kind;
}
