/* A PAM application that does what applications should not. In C, because what it does to itself (fork, close
 * descriptors, take signals) Rust does not let a test do.
 *
 * Usage: host CONFDIR ACT... Does one act after the other and prints what came of each; see `act` below for all of them.
 * Answers are lines of standard input, read byte by byte and wiped as soon as libpam has them: what is found in the
 * memory of this process later was left by somebody else. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <locale.h>
#include <pthread.h>
#include <security/pam_appl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* high numbers, so that 0 to 2 can be closed and 3 and more be given to whoever opens files */
enum { ANSWERS = 200, OUT = 201 };

static const char *confdir, *service = "otp", *user = "alice", *mode = "script";

struct login {
	pam_handle_t *pam;
	char *given; /* the one answer of a thread */
	int last;
};
static struct login logins[2], *login = logins;

static void say(const char *format, ...)
{
	static __thread char line[1 << 16];
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(line, sizeof line - 1, format, arguments);
	va_end(arguments);
	if (length < 0 || (size_t)length > sizeof line - 2)
		_exit(3);
	line[length] = '\n';
	if (write(OUT, line, (size_t)length + 1) != length + 1)
		_exit(3);
}

static void wrong(const char *what)
{
	say("wrong %s: %s", what, strerror(errno));
	_exit(3);
}

/* one line of the answers, without its end; NULL where there is none */
static char *next_line(char *line, size_t size)
{
	size_t length = 0;

	while (length < size - 1 && read(ANSWERS, line + length, 1) == 1) {
		if (line[length] == '\n') {
			line[length] = 0;
			return line;
		}
		length++;
	}
	return NULL;
}

static int give(struct pam_response **responses, int count, const char *text, size_t length)
{
	struct pam_response *all = calloc((size_t)count, sizeof *all);

	for (int i = 0; all && i < count; i++)
		if ((all[i].resp = malloc(length + 1)))
			memcpy(all[i].resp, text, length + 1);
	*responses = all;
	return all ? PAM_SUCCESS : PAM_BUF_ERR;
}

static int other_conv(int count, const struct pam_message **messages, struct pam_response **responses, void *data)
{
	(void)count, (void)messages, (void)responses, (void)data;
	return PAM_CONV_ERR;
}

static int converse(int count, const struct pam_message **messages, struct pam_response **responses, void *data)
{
	struct login *self = data;
	static __thread char line[1 << 12];
	int code;

	(void)messages;
	if (self->given)
		return give(responses, count, self->given, strlen(self->given));
	if (!strcmp(mode, "untouched"))
		return PAM_SUCCESS;
	*responses = NULL;
	if (!strcmp(mode, "nothing"))
		return PAM_SUCCESS;
	if (!strcmp(mode, "error"))
		return PAM_CONV_ERR;
	if (!strcmp(mode, "again"))
		return PAM_CONV_AGAIN;
	if (!strcmp(mode, "ignore"))
		return PAM_IGNORE;
	if (!strcmp(mode, "weird"))
		return 12345;
	if (!strcmp(mode, "negative"))
		return -1;
	if (!strcmp(mode, "same"))
		return give(responses, count, "guess", 5);
	if (!strcmp(mode, "empty"))
		return give(responses, count, "", 0);
	if (!strcmp(mode, "null-text")) {
		*responses = calloc((size_t)count, sizeof **responses);
		return PAM_SUCCESS;
	}
	if (!strcmp(mode, "large")) {
		char *large = malloc((1 << 20) + 1);
		memset(large, 'c', 1 << 20);
		large[1 << 20] = 0;
		code = give(responses, count, large, 1 << 20);
		free(large);
		return code;
	}
	if (!next_line(line, sizeof line))
		return PAM_CONV_ERR;
	if (!strcmp(mode, "nul-first")) { /* what stands behind it is not there */
		memmove(line + 1, line, strlen(line) + 1);
		line[0] = 0;
		code = give(responses, count, line, strlen(line + 1) + 1);
	} else if (!strcmp(mode, "late-nul")) {
		line[strlen(line) - 1] = 0;
		code = give(responses, count, line, strlen(line) + 1);
	} else {
		code = give(responses, count, line, strlen(line));
	}
	explicit_bzero(line, sizeof line);
	if (!strcmp(mode, "user"))
		pam_set_item(self->pam, PAM_USER, "root");
	if (!strcmp(mode, "no-user"))
		pam_set_item(self->pam, PAM_USER, NULL);
	if (!strcmp(mode, "same-user"))
		pam_set_item(self->pam, PAM_USER, user);
	if (!strcmp(mode, "service"))
		pam_set_item(self->pam, PAM_SERVICE, "other");
	if (!strcmp(mode, "conv")) {
		struct pam_conv other = {other_conv, NULL};
		pam_set_item(self->pam, PAM_CONV, &other);
	}
	if (!strcmp(mode, "reenter"))
		say("reenter %d", pam_authenticate(self->pam, 0));
	if (!strcmp(mode, "closes"))
		for (int fd = 3; fd < ANSWERS; fd++)
			close(fd);
	return code;
}

/* nobody is kept waiting after a no */
static void no_delay(int code, unsigned microseconds, void *data)
{
	(void)code, (void)microseconds, (void)data;
}

static pam_handle_t *begin(const char *whose, struct login *self)
{
	struct pam_conv conv = {strcmp(mode, "none") ? converse : NULL, self};
	int code = pam_start_confdir(service, whose, &conv, confdir, &self->pam);

	self->last = 0;
	if (code != PAM_SUCCESS) {
		say("start %d", code);
		return NULL;
	}
	pam_set_item(self->pam, PAM_FAIL_DELAY, (const void *)no_delay);
	return self->pam;
}

static void start(void)
{
	begin(user, login);
}

static void end(void)
{
	pam_end(login->pam, login->last);
	login->pam = NULL;
}

static int call(struct login *self, const char *name)
{
	if (!strcmp(name, "authenticate"))
		return self->last = pam_authenticate(self->pam, 0);
	if (!strcmp(name, "acct_mgmt"))
		return self->last = pam_acct_mgmt(self->pam, 0);
	if (!strcmp(name, "setcred"))
		return self->last = pam_setcred(self->pam, PAM_ESTABLISH_CRED);
	return -1;
}

static unsigned long hash(const void *bytes, size_t length, unsigned long sum)
{
	for (const unsigned char *byte = bytes; length--; byte++)
		sum = (sum ^ *byte) * 1099511628211UL;
	return sum;
}

/* everything that a module shares with its application and could change */
static void state(void)
{
	static char text[1 << 15];
	char *to = text, *limit = text + sizeof text, path[320], target[256];
	unsigned long sum = 14695981039346656037UL;
	int tasks = 0;
	DIR *dir;
	struct dirent *entry;

#define ADD(...) do { to += snprintf(to, (size_t)(limit - to), __VA_ARGS__); if (to >= limit) _exit(3); } while (0)
	/* by number, not by what /proc lists: listing takes a descriptor */
	for (int fd = 0; fd < 256; fd++) {
		int flags = fcntl(fd, F_GETFL);
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		ssize_t length = readlink(path, target, sizeof target - 1);
		if (length >= 0)
			ADD("fd%d=%.*s:%x:%x ", fd, (int)length, target, flags, fcntl(fd, F_GETFD));
	}
	if ((dir = opendir("/proc/self/task"))) {
		while ((entry = readdir(dir))) {
			FILE *children;
			int child;
			if (entry->d_name[0] == '.')
				continue;
			tasks++;
			snprintf(path, sizeof path, "/proc/self/task/%s/children", entry->d_name);
			if ((children = fopen(path, "re"))) {
				while (fscanf(children, "%d", &child) == 1)
					ADD("child=%d ", child);
				fclose(children);
			}
		}
		closedir(dir);
	}
	ADD("threads=%d ", tasks);
	for (int signal = 1; signal < NSIG; signal++) {
		struct sigaction action = {0};
		if (sigaction(signal, NULL, &action) == 0) {
			sum = hash(&action.sa_handler, sizeof action.sa_handler, sum);
			sum = hash(&action.sa_flags, sizeof action.sa_flags, sum);
			for (int other = 1; other < NSIG; other++)
				sum += (unsigned long)sigismember(&action.sa_mask, other) * (unsigned long)(signal * 100 + other);
		}
	}
	ADD("handlers=%lx mask=", sum);
	sigset_t mask, pending;
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	sigpending(&pending);
	for (int signal = 1; signal < NSIG; signal++)
		ADD("%d", sigismember(&mask, signal) + 2 * sigismember(&pending, signal));
	stack_t stack;
	sigaltstack(NULL, &stack);
	ADD(" altstack=%d:%zu", stack.ss_flags, stack.ss_size);
	mode_t old = umask(077);
	umask(old);
	struct stat here = {0};
	stat(".", &here);
	ADD(" umask=%o folder=%s:%lu locale=%s", old, getcwd(target, sizeof target), here.st_ino, setlocale(LC_ALL, NULL));
	sum = 14695981039346656037UL;
	for (char **variable = environ; variable && *variable; variable++)
		sum = hash(*variable, strlen(*variable) + 1, sum);
	ADD(" environment=%lx", sum);
	uid_t uids[3];
	gid_t gids[3], groups[1024];
	getresuid(uids, uids + 1, uids + 2);
	getresgid(gids, gids + 1, gids + 2);
	int count = getgroups(1024, groups);
	ADD(" uids=%u,%u,%u gids=%u,%u,%u groups=%d:%lx", uids[0], uids[1], uids[2], gids[0], gids[1], gids[2], count,
	    hash(groups, count > 0 ? (size_t)count * sizeof *groups : 0, 1));
	ADD(" session=%d:%d limits=", getsid(0), getpgrp());
	for (int resource = 0; resource < RLIM_NLIMITS; resource++) {
		struct rlimit value = {0};
		getrlimit(resource, &value);
		ADD("%ld:%ld,", (long)value.rlim_cur, (long)value.rlim_max);
	}
	for (int timer = 0; timer < 3; timer++) {
		struct itimerval value = {0};
		getitimer(timer, &value);
		ADD(" timer=%ld", value.it_value.tv_sec + value.it_interval.tv_sec);
	}
	int deathsig = 0;
	char name[17] = "";
	prctl(PR_GET_PDEATHSIG, &deathsig);
	prctl(PR_GET_NAME, name);
	ADD(" prctl=%d:%d:%d:%d:%d:%d:%d name=%s nice=%d", deathsig, prctl(PR_GET_DUMPABLE), prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0),
	    prctl(PR_GET_SECCOMP), prctl(PR_GET_KEEPCAPS), prctl(PR_GET_SECUREBITS), prctl(PR_GET_TIMERSLACK), name,
	    getpriority(PRIO_PROCESS, 0));
	say("state %s", text);
#undef ADD
}

static long from_status(const char *field)
{
	char line[256];
	long value = -1;
	FILE *status = fopen("/proc/self/status", "re");

	while (status && fgets(line, sizeof line, status))
		if (!strncmp(line, field, strlen(field)))
			value = atol(line + strlen(field) + 1);
	if (status)
		fclose(status);
	return value;
}

static void reap(int signal)
{
	int saved = errno;

	(void)signal;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	errno = saved;
}

/* what is loaded of a library, as lines of the memory map */
static int mapped(const char *path)
{
	char line[1024];
	int count = 0;
	FILE *maps = fopen("/proc/self/maps", "re");

	while (maps && fgets(line, sizeof line, maps))
		count += strstr(line, path) != NULL;
	if (maps)
		fclose(maps);
	return count;
}

static void load(const char *path, int times)
{
	int first = 0;

	for (int i = 0; i < times; i++) {
		void *library = dlopen(path, RTLD_NOW);
		if (!library || !dlsym(library, "pam_sm_authenticate")) {
			say("load %s", dlerror());
			return;
		}
		dlclose(library);
		if (i == 0)
			first = mapped(path);
	}
	say("load %d %d", first, mapped(path));
}

struct worker {
	pthread_t thread;
	const char *user;
	int count, good;
	char answers[64][128];
};

/* one thread's logins: each on a handle of its own */
static void *work(void *data)
{
	struct worker *self = data;

	for (int i = 0; i < self->count; i++) {
		struct login own = {.given = self->answers[i]};
		if (!begin(self->user, &own))
			break;
		self->good += call(&own, "authenticate") == PAM_SUCCESS && call(&own, "acct_mgmt") == PAM_SUCCESS;
		pam_end(own.pam, own.last);
	}
	return NULL;
}

static void threads(int count)
{
	static struct worker workers[2] = {{.user = "alice"}, {.user = "bob"}};

	for (int i = 0; i < 2 * count; i++)
		if (!next_line(workers[i % 2].answers[i / 2], 128))
			wrong("answers");
	for (int i = 0; i < 2; i++) {
		workers[i].count = count;
		pthread_create(&workers[i].thread, NULL, work, workers + i);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(workers[i].thread, NULL);
	say("threads %d %d", workers[0].good, workers[1].good);
}

/* never part of its caller: what it has on the stack is left there */
__attribute__((noinline)) static void leave_on_stack(void)
{
	char copy[16384];

	next_line(copy, 2048);
}

static int number_of(const char *name)
{
	static const struct { const char *name; int number; } all[] = {
		{"NOFILE", RLIMIT_NOFILE}, {"FSIZE", RLIMIT_FSIZE}, {"AS", RLIMIT_AS}, {"DATA", RLIMIT_DATA},
		{"CPU", RLIMIT_CPU}, {"NPROC", RLIMIT_NPROC}, {"STACK", RLIMIT_STACK}, {"CHLD", SIGCHLD}, {"PIPE", SIGPIPE}, {"XFSZ", SIGXFSZ}, {"ALRM", SIGALRM}};

	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (!strcmp(all[i].name, name))
			return all[i].number;
	errno = EINVAL;
	wrong(name);
	return -1;
}

static void act(const char *what)
{
	char name[512];
	const char *value = strchr(what, ':');

	snprintf(name, sizeof name, "%.*s", (int)(value ? value - what : (long)strlen(what)), what);
	value = value ? value + 1 : "";
	if (!strcmp(name, "service"))
		service = value;
	else if (!strcmp(name, "user"))
		user = value;
	else if (!strcmp(name, "conv")) /* what the conversation does: see converse */
		mode = value;
	else if (!strcmp(name, "use")) /* which of two handles */
		login = logins + atoi(value);
	else if (!strcmp(name, "start"))
		start();
	else if (!strcmp(name, "end"))
		end();
	else if (!strcmp(name, "state"))
		state();
	else if (!strcmp(name, "peak"))
		say("peak %ld", from_status("VmHWM"));
	else if (!strcmp(name, "size"))
		say("size %ld", from_status("VmSize"));
	else if (!strcmp(name, "rounds")) /* so many logins, each on a new handle, nobody answers by more than a guess */
		for (int i = atoi(value); i > 0; i--) {
			start();
			call(login, "authenticate");
			call(login, "acct_mgmt");
			end();
		}
	else if (!strcmp(name, "child")) { /* the act in a forked child */
		pid_t child = fork();
		int status;
		if (child == 0) {
			act(value);
			_exit(0);
		}
		if (waitpid(child, &status, 0) != child || status != 0)
			say("child died %d", status);
	} else if (!strcmp(name, "close"))
		close(atoi(value));
	else if (!strcmp(name, "ignore"))
		signal(number_of(value), SIG_IGN);
	else if (!strcmp(name, "reap")) {
		struct sigaction action = {.sa_handler = reap};
		sigaction(SIGCHLD, &action, NULL);
	} else if (!strcmp(name, "block")) {
		sigset_t all;
		sigfillset(&all);
		sigprocmask(SIG_BLOCK, &all, NULL);
	} else if (!strcmp(name, "limit")) { /* RESOURCE:SOFT */
		char resource[16] = "";
		struct rlimit limit;
		snprintf(resource, sizeof resource, "%.*s", (int)strcspn(value, ":"), value);
		getrlimit(number_of(resource), &limit);
		limit.rlim_cur = strtoul(value + strlen(resource) + 1, NULL, 10);
		if (setrlimit(number_of(resource), &limit) != 0)
			wrong(what);
	} else if (!strcmp(name, "load")) { /* TIMES:PATH */
		load(strchr(value, ':') + 1, atoi(value));
	} else if (!strcmp(name, "threads"))
		threads(atoi(value));
	else if (!strcmp(name, "plant")) { /* what a test of memory must find: the next answer, left on the heap or stack */
		if (!strcmp(value, "heap")) {
			char *copy = malloc(4096);
			next_line(copy + 1024, 2048);
			free(copy);
		} else {
			leave_on_stack();
		}
	} else if (!strcmp(name, "pause")) {
		say("paused");
		for (;;)
			pause();
	} else {
		int code = call(login, name);
		if (code < 0) {
			errno = EINVAL;
			wrong(what);
		}
		say("%s %d", name, code);
	}
}

int main(int count, char **arguments)
{
	if (count < 2 || dup3(0, ANSWERS, O_CLOEXEC) < 0 || dup3(1, OUT, O_CLOEXEC) < 0)
		return 2;
	signal(SIGXFSZ, SIG_DFL);
	confdir = arguments[1];
	for (int i = 2; i < count; i++)
		act(arguments[i]);
	return 0;
}
