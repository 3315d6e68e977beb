/* SPDX-License-Identifier: Apache-2.0 */
#include "drivers/common/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

bool
lp_folder_sync(const char *path)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    const bool good = fsync(fd) == 0 || errno == EINVAL; /* a file system without such a thing */
    const int error = errno;
    (void)close(fd); /* only synced */
    errno = error;
    return good;
}
