/* SPDX-License-Identifier: Apache-2.0 */
/*
 * err.h - the one list of what the environment can do to us.
 *
 * Peers' faults are struct lp_fault (fault.h), load is a count or a bool, our
 * own bugs are LP_ASSERT.  Zero is success; nothing else is returned as a code.
 */
#pragma once

#define LP_ERR_LIST(X)                              \
    X(LP_OK, "ok")                                  \
    X(LP_ERR_NO_MEMORY, "out of memory")            \
    X(LP_ERR_NO_SPACE, "no space")                  \
    X(LP_ERR_BAD_CONFIG, "bad configuration")       \
    X(LP_ERR_BAD_RECORD, "malformed record")        \
    X(LP_ERR_UNSUPPORTED, "not supported here")     \
    X(LP_ERR_CONFLICT, "the revision has moved on") \
    X(LP_ERR_NOT_FOUND, "not found")                \
    X(LP_ERR_EXISTS, "exists already")              \
    X(LP_ERR_IO, "input/output error")              \
    X(LP_ERR_REFUSED, "refused")

enum lp_err {
#define X(name, text) name,
    LP_ERR_LIST(X)
#undef X
        LP_ERR_COUNT
};

static inline const char *
lp_err_text(enum lp_err err)
{
    static const char *const text[] = {
#define X(name, words) words,
        LP_ERR_LIST(X)
#undef X
    };
    return (unsigned)err < (unsigned)LP_ERR_COUNT ? text[err] : "unknown error";
}
