/* SPDX-License-Identifier: Apache-2.0 */
/*
 * annotations.h - are these what the broker would note about a message
 * (enum lp_annotation)?  For bytes that come from a disk.
 */
#pragma once

#include <lepus/bytes.h>

bool lp_annotations_are(struct lp_bytes annotations);
/* A list of texts, long_le each: keys. */
bool lp_annotation_texts_are(struct lp_bytes texts);
