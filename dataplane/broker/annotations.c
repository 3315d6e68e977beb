/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/broker/annotations.h"

#include <string.h>

#include "dataplane/broker/deaths.h"
#include "dataplane/broker/message.h"

struct found {
    struct lp_bytes keys;
    struct lp_bytes hidden;
};

bool
lp_annotation_texts_are(struct lp_bytes texts)
{
    struct lp_reader reader = lp_reader_of_bytes(texts);
    while (lp_reader_left(&reader) > 0) {
        (void)lp_reader_long_le(&reader);
        if (reader.failed) {
            return false;
        }
    }
    return true;
}

static bool
section_is(uint8_t tag, struct lp_bytes section, struct found *found)
{
    switch (tag) {
    case LP_ANNOTATION_KEYS:
        found->keys = section;
        return lp_annotation_texts_are(section);
    case LP_ANNOTATION_HIDDEN:
        found->hidden = section;
        return lp_annotation_texts_are(section);
    case LP_ANNOTATION_DEATHS:
        return lp_deaths_are(section);
    case LP_ANNOTATION_START:
        return section.size <= UINT8_MAX;
    case LP_ANNOTATION_VHOST:
        return section.size == sizeof(uint32_t);
    default:
        return false;
    }
}

/* The last of all keys are the hidden ones, unless there are only these. */
static bool
hidden_is_last(const struct found *found)
{
    const struct lp_bytes keys = found->keys;
    if (keys.size == 0 || found->hidden.size == 0) {
        return true;
    }
    if (found->hidden.size > keys.size) {
        return false;
    }
    const uint32_t told = keys.size - found->hidden.size;
    return memcmp(keys.data + told, found->hidden.data, found->hidden.size) == 0 &&
           lp_annotation_texts_are(lp_bytes_of(keys.data, told));
}

bool
lp_annotations_are(struct lp_bytes annotations)
{
    struct lp_reader reader = lp_reader_of_bytes(annotations);
    struct found found = {0};
    while (lp_reader_left(&reader) > 0) {
        const uint8_t tag = lp_reader_u8(&reader);
        const struct lp_bytes section = lp_reader_long_le(&reader);
        if (reader.failed || !section_is(tag, section, &found)) {
            return false;
        }
    }
    return hidden_is_last(&found);
}
