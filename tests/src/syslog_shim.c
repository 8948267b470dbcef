/* Preloaded into a program under test: syslog(3) writes to the file named by YUBIOTP_TEST_SYSLOG instead of the
 * system's log. In C because stable Rust cannot define functions with variable arguments.
 * A record is "PRIORITY\tMESSAGE" and a NUL, the one byte that no message contains. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void record(int priority, const char *format, va_list arguments)
{
	int saved = errno; /* for %m */
	const char *path = getenv("YUBIOTP_TEST_SYSLOG");
	char *message = NULL, *line = NULL;
	int length = -1, file = -1;

	errno = saved;
	if (vasprintf(&message, format, arguments) < 0)
		message = NULL;
	if (message && (length = asprintf(&line, "%d\t%s", priority, message)) < 0)
		line = NULL;
	if (path && line)
		file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	/* one write, so that processes do not mix their records; a log that fails is found by its reader */
	if (file >= 0 && write(file, line, (size_t)length + 1) < 0)
		length = -1;
	if (file >= 0)
		close(file);
	free(line);
	free(message);
	errno = saved;
}

void vsyslog(int priority, const char *format, va_list arguments)
{
	record(priority, format, arguments);
}

void syslog(int priority, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	record(priority, format, arguments);
	va_end(arguments);
}

/* the names that programs built with _FORTIFY_SOURCE call */
void __vsyslog_chk(int priority, int flag, const char *format, va_list arguments)
{
	(void)flag;
	record(priority, format, arguments);
}

void __syslog_chk(int priority, int flag, const char *format, ...)
{
	va_list arguments;

	(void)flag;
	va_start(arguments, format);
	record(priority, format, arguments);
	va_end(arguments);
}
