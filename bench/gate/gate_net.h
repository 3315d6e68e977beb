/* SPDX-License-Identifier: Apache-2.0 */
/* gate_net.h - operations of gate.c that need the network. */
#pragma once

#include <lepus/base.h>

/* `count` segments of one connection, so many a turn. */
void gate_segments(uint32_t count, uint32_t burst, uint32_t payload_bytes);
