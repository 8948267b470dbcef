/* Preloaded into a test of weeks and years: the clock of the day is ahead by as many seconds as the file says that
 * YUBIOTP_TEST_CLOCK names, eight bytes as this machine writes numbers. Clocks that measure durations run as ever. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int64_t ahead(void)
{
	static volatile int64_t *seconds;
	const char *path = getenv("YUBIOTP_TEST_CLOCK");
	int file;

	if (!seconds && path && (file = open(path, O_RDONLY | O_CLOEXEC)) >= 0) {
		void *map = mmap(NULL, sizeof *seconds, PROT_READ, MAP_SHARED, file, 0);

		close(file);
		if (map != MAP_FAILED)
			seconds = map;
	}
	return seconds ? *seconds : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	static int (*next)(clockid_t, struct timespec *);
	int result;

	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "clock_gettime");
	result = next(clock, now);
	if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		now->tv_sec += ahead();
	return result;
}

time_t time(time_t *now)
{
	struct timespec real;

	clock_gettime(CLOCK_REALTIME, &real);
	if (now)
		*now = real.tv_sec;
	return real.tv_sec;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	struct timespec real;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &real);
	now->tv_sec = real.tv_sec;
	now->tv_usec = real.tv_nsec / 1000;
	return 0;
}
