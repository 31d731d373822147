/* The date of a process, as it would be after somebody has set it: CLOCK_REALTIME plus what the file CLOCK_STEP_FILE holds (int64 ns).
 *
 *     cc -shared -fPIC -O1 -o clock_step.so clock_step.c -ldl
 *     CLOCK_STEP_FILE=... LD_PRELOAD=./clock_step.so python ...
 *
 * No other process and no clock of the computer is touched. Waits with a date as their end (condition variables) end by the
 * stepped date, also when the step comes while they wait, as the kernel does it. CLOCK_MONOTONIC is left alone: no step moves it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NS 1000000000LL
#define SLICE (100 * 1000000LL)
#define A_DATE 1000000000LL /* s: a later second is a date, an earlier one is time since the start of the computer */

static volatile int64_t *step;
static int64_t none;
static int (*real_gettime)(clockid_t, struct timespec *);
static int (*real_cond)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
static int (*real_mutex)(pthread_mutex_t *, const struct timespec *);
static int (*real_sem)(sem_t *, const struct timespec *);

static void *found(const char *name, const char *version) {
    void *symbol = version ? dlvsym(RTLD_NEXT, name, version) : NULL;
    return symbol ? symbol : dlsym(RTLD_NEXT, name);
}

static void begin(void) {
    if (step) return;
    real_gettime = found("clock_gettime", NULL);
    real_cond = found("pthread_cond_timedwait", "GLIBC_2.3.2");
    real_mutex = found("pthread_mutex_timedlock", NULL);
    real_sem = found("sem_timedwait", NULL);
    const char *name = getenv("CLOCK_STEP_FILE");
    int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    void *memory = file < 0 ? MAP_FAILED : mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    if (file >= 0) close(file);
    step = memory == MAP_FAILED ? &none : memory;
}

__attribute__((constructor)) static void early(void) { begin(); }

static int64_t ns_of(const struct timespec *t) { return (int64_t)t->tv_sec * NS + t->tv_nsec; }

static struct timespec of_ns(int64_t ns) {
    struct timespec t = {ns / NS, ns % NS};
    return t;
}

static int64_t true_date(void) {
    struct timespec t;
    real_gettime(CLOCK_REALTIME, &t);
    return ns_of(&t);
}

int clock_gettime(clockid_t clock, struct timespec *t) {
    begin();
    int error = real_gettime(clock, t);
    if (!error && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) *t = of_ns(ns_of(t) + *step);
    return error;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
    begin();
    int64_t ns = true_date() + *step;
    t->tv_sec = ns / NS;
    t->tv_usec = ns % NS / 1000;
    (void)zone;
    return 0;
}

time_t time(time_t *t) {
    begin();
    time_t s = (true_date() + *step) / NS;
    if (t) *t = s;
    return s;
}

int pthread_cond_timedwait(pthread_cond_t *restrict c, pthread_mutex_t *restrict m, const struct timespec *restrict end) {
    begin();
    if (end->tv_sec < A_DATE) return real_cond(c, m, end);
    for (;;) {
        int64_t now = true_date(), left = ns_of(end) - now - *step;
        if (left <= 0) return ETIMEDOUT;
        struct timespec slice = of_ns(now + (left < SLICE ? left : SLICE));
        int error = real_cond(c, m, &slice);
        if (error != ETIMEDOUT) return error;
    }
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict m, const struct timespec *restrict end) {
    begin();
    struct timespec truly = of_ns(ns_of(end) - *step);
    return real_mutex(m, &truly);
}

int sem_timedwait(sem_t *restrict s, const struct timespec *restrict end) {
    begin();
    struct timespec truly = of_ns(ns_of(end) - *step);
    return real_sem(s, &truly);
}
