/* Threads that do one task together: the caller, and others that wait for the next one in between.
 *
 * Who waits spins for some microseconds, as batches follow one another, and sleeps then; it sleeps at once where there are fewer processors than
 * members. Who opens what others wait for takes the lock only if one of them sleeps.
 */
#ifndef NATFAST_TEAM_H
#define NATFAST_TEAM_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

enum { NATFAST_MEMBERS = 64, NATFAST_SPINS = 1000 };

typedef void (*natfast_task)(void *job, uint32_t member);

typedef struct natfast_team {
    uint32_t members;
    uint32_t others;                    /* threads that run */
    uint32_t spins;
    uint32_t over;                      /* 1: the others end */
    natfast_task task;
    void *job;
    pthread_t thread[NATFAST_MEMBERS];
    pthread_mutex_t lock;
    pthread_cond_t opened;
    uint32_t sleepers __attribute__((aligned(64)));
    uint32_t gate __attribute__((aligned(64)));         /* grows when all have arrived */
    uint32_t arrived __attribute__((aligned(64)));
} natfast_team;

typedef struct {
    natfast_team *team;
    uint32_t member;
} natfast_recruit;

static inline void natfast_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Wait for all members to call this. */
static void natfast_team_meet(natfast_team *t)
{
    uint32_t gate = __atomic_load_n(&t->gate, __ATOMIC_ACQUIRE), i;
    if (__atomic_add_fetch(&t->arrived, 1, __ATOMIC_ACQ_REL) == __atomic_load_n(&t->members, __ATOMIC_RELAXED)) {
        __atomic_store_n(&t->arrived, 0, __ATOMIC_RELAXED);
        /* either this sees who has gone to sleep, or who is about to sees this */
        __atomic_store_n(&t->gate, gate + 1, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&t->sleepers, __ATOMIC_SEQ_CST)) {
            pthread_mutex_lock(&t->lock);
            pthread_cond_broadcast(&t->opened);
            pthread_mutex_unlock(&t->lock);
        }
        return;
    }
    for (i = 0; i < t->spins; i++) {
        if (__atomic_load_n(&t->gate, __ATOMIC_ACQUIRE) != gate)
            return;
        natfast_pause();
    }
    pthread_mutex_lock(&t->lock);
    __atomic_add_fetch(&t->sleepers, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&t->gate, __ATOMIC_SEQ_CST) == gate)
        pthread_cond_wait(&t->opened, &t->lock);
    __atomic_sub_fetch(&t->sleepers, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&t->lock);
}

/* Have all members do a task, the caller as member 0; returns when all have done it. */
static void natfast_team_do(natfast_team *t, natfast_task task, void *job)
{
    t->task = task;
    t->job = job;
    natfast_team_meet(t);
    task(job, 0);
    natfast_team_meet(t);
}

static void *natfast_team_member(void *recruit)
{
    natfast_recruit r = *(natfast_recruit *)recruit;
    free(recruit);
    for (;;) {
        natfast_team_meet(r.team);
        if (r.team->over)
            return NULL;
        r.team->task(r.team->job, r.member);
        natfast_team_meet(r.team);
    }
}

static uint32_t natfast_processors(void)
{
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return (uint32_t)CPU_COUNT(&set);
#endif
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (uint32_t)n : 1;
}

/* End the threads and free the team. */
static void natfast_team_free(natfast_team *t)
{
    uint32_t i;
    if (t->others) {
        t->over = 1;
        __atomic_store_n(&t->members, t->others + 1, __ATOMIC_RELAXED);        /* fewer than wanted, if they could not all be made */
        natfast_team_meet(t);
        for (i = 0; i < t->others; i++)
            pthread_join(t->thread[i], NULL);
    }
    pthread_cond_destroy(&t->opened);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

/* A team of `members`, 1 to NATFAST_MEMBERS; NULL if there is no memory or no thread for it. */
static natfast_team *natfast_team_new(uint32_t members)
{
    natfast_team *t;
    sigset_t all, before;
    if (posix_memalign((void **)&t, 64, sizeof *t))
        return NULL;
    *t = (natfast_team){.members = members, .spins = members <= natfast_processors() ? NATFAST_SPINS : 0};
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->opened, NULL);
    sigfillset(&all);                   /* signals are for the threads that Python knows */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (t->others + 1 < members) {
        natfast_recruit *r = malloc(sizeof *r);
        if (r == NULL)
            break;
        *r = (natfast_recruit){t, t->others + 1};
        if (pthread_create(&t->thread[t->others], NULL, natfast_team_member, r)) {
            free(r);
            break;
        }
        t->others++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (t->others + 1 < members) {
        natfast_team_free(t);
        return NULL;
    }
    return t;
}
#endif
