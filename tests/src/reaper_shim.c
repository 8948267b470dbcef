// Preloaded into a program, makes it one that reaps every child it has, as daemons and shells do with a handler of SIGCHLD.
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

static void reap(int signal)
{
	int saved = errno;
	(void)signal;
	while (waitpid(-1, 0, WNOHANG) > 0)
		;
	errno = saved;
}

__attribute__((constructor)) static void start(void)
{
	struct sigaction action = {.sa_handler = reap};
	sigaction(SIGCHLD, &action, 0);
}
