/* SPDX-License-Identifier: Apache-2.0 */
#include <drivers/common/thread.h>

#include <signal.h>
#include <stddef.h>

bool
lp_thread_start_boot(pthread_t *ret_thread, void *(*run)(void *), void *argument)
{
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all); /* cannot fail for a set that is ours */
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0) {
        return false;
    }
    const int error = pthread_create(ret_thread, NULL, run, argument);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL); /* as it was just now */
    return error == 0;
}
