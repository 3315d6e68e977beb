/* SPDX-License-Identifier: Apache-2.0 */
/* folder.h - names in a folder that survive the machine's end. */
#pragma once

#include <lepus/base.h>

/* A name is on disk when its folder is.  False: errno says why. */
LP_MUST_CHECK bool lp_folder_sync(const char *path);
