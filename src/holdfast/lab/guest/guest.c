/* The only program of the lab's NFS client guest: it is /init of a Linux kernel with nothing else in user space.
 *
 * It mounts an NFSv4.2 volume with the kernel's own client, takes a POSIX lock on a file, appends a numbered record and
 * fsyncs it at a fixed period, opens new files at another, and reports each step as a line of JSON on a virtio-serial port.
 * At the line "stop" it drops all caches, reads everything back from the server, and reports a summary.
 *
 * Settings come from the kernel's command line, hf.<name>=<value>: ip plen server export file interval_ms opens_ms.
 * Times are seconds of CLOCK_BOOTTIME in the guest.
 */
#include "machine.h"

#include <linux/ipv6.h>
#include <net/route.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/reboot.h>

#define RECORD 64
#define MAX_RECORDS 1000000

static int port = -1;
static pthread_mutex_t port_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int stopping;
static atomic_int errors;
static double *sent_at; /* of each acknowledged record: it is part of the record's text */

/* One whole line at a time; the host reads all the time, so this does not block for long. */
static void say(const char *format, ...)
{
	char line[512];
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(line, sizeof line - 1, format, arguments);
	va_end(arguments);
	line[length++] = '\n';
	pthread_mutex_lock(&port_lock);
	if (write(port >= 0 ? port : 1, line, length) != length)
		atomic_fetch_add(&errors, 1);
	pthread_mutex_unlock(&port_lock);
}

static void failed(const char *what)
{
	int number = errno;

	if (atomic_fetch_add(&errors, 1) < 100)
		say("{\"event\":\"error\",\"what\":\"%s\",\"errno\":%d,\"text\":\"%s\",\"t\":%.6f}", what, number,
		    strerror(number), now());
}

/* --- from an empty machine to a mounted volume ---------------------------------------------------------------- */

/* The number in the device's name is that of the virtio device, which depends on the machine's other devices. */
static int open_port(void)
{
	char path[32];

	for (int i = 0; i < 1000; i++) {
		snprintf(path, sizeof path, "/dev/vport%dp1", i % 4);
		int file = open(path, O_RDWR | O_CLOEXEC);
		if (file >= 0)
			return file;
		pause_s(0.005);
	}
	return -1;
}

static int set_address_v6(const char *ip, int prefix)
{
	struct in6_ifreq request = { .ifr6_prefixlen = prefix, .ifr6_ifindex = if_nametoindex("eth0") };
	int control = socket(AF_INET6, SOCK_DGRAM, 0), bad;
	int file = open("/proc/sys/net/ipv6/conf/eth0/accept_dad", O_WRONLY);

	if (file >= 0 && write(file, "0", 1) == 1)
		close(file);
	inet_pton(AF_INET6, ip, &request.ifr6_addr);
	bad = ioctl(control, SIOCSIFADDR, &request);
	close(control);
	return bad;
}

static void boot(void)
{
	begin();
	port = open_port();
	sethostname(setting("name", "hf-guest"), strlen(setting("name", "hf-guest")));
	interface_up("lo");
	interface_up("eth0");
}

static int mount_volume(const char *ip, const char *server, const char *export)
{
	char source[300], options[400];
	int v6 = strchr(server, ':') != NULL;
	double began = now();

	if (v6 ? set_address_v6(ip, atoi(setting("plen", "64"))) : set_address_v4(ip, atoi(setting("plen", "24"))))
		failed("set address");
	snprintf(source, sizeof source, v6 ? "[%s]:%s" : "%s:%s", server, export);
	snprintf(options, sizeof options, "vers=4.2,hard,proto=%s,addr=%s,clientaddr=%s", v6 ? "tcp6" : "tcp", server, ip);
	mkdir("/mnt", 0755);
	for (int i = 0; i < 50; i++) {
		if (mount(source, "/mnt", "nfs4", 0, options) == 0) {
			say("{\"event\":\"mounted\",\"t\":%.6f,\"took\":%.6f}", now(), now() - began);
			return 0;
		}
		if (i == 0 || i == 49)
			failed("mount");
		pause_s(0.2);
	}
	return -1;
}

/* --- the journal ------------------------------------------------------------------------------------------------- */

static void make_record(char *record, long number, double at)
{
	char text[RECORD + 1];
	unsigned sum = 0;
	int length = snprintf(text, sizeof text, "%010ld %.6f", number, at);

	memset(record, ' ', RECORD);
	memcpy(record, text, length);
	for (int i = 0; i < RECORD - 10; i++)
		sum = sum * 31 + (unsigned char)record[i];
	snprintf(text, sizeof text, "%08x", sum);
	memcpy(record + RECORD - 9, text, 8);
	record[RECORD - 1] = '\n';
}

struct journal {
	int file;
	long acked;
	double max_stall;
	double period;
};

static void *write_records(void *argument)
{
	struct journal *journal = argument;
	double last = now(), due = last;
	char record[RECORD];

	while (!stopping && journal->acked < MAX_RECORDS) {
		double sent = now(), done;

		make_record(record, journal->acked, sent);
		if (pwrite(journal->file, record, RECORD, journal->acked * RECORD) != RECORD) {
			failed("write");
			pause_s(0.1);
			continue;
		}
		if (fsync(journal->file) != 0) {
			failed("fsync");
			pause_s(0.1);
			continue;
		}
		done = now();
		sent_at[journal->acked] = sent;
		say("{\"n\":%ld,\"t\":%.6f,\"took\":%.6f}", journal->acked, done, done - sent);
		journal->acked++;
		if (done - last > journal->max_stall)
			journal->max_stall = done - last;
		last = done;
		due += journal->period;
		if (due < done - journal->period)
			due = done - journal->period;
		pause_s(due - done);
	}
	return NULL;
}

struct opener {
	long opens;
	double max_open;
	double period;
	const char *name;
};

static void *open_files(void *argument)
{
	struct opener *opener = argument;
	char path[300];

	while (!stopping) {
		double began = now(), took;
		int file;

		snprintf(path, sizeof path, "/mnt/%s.%ld", opener->name, opener->opens);
		file = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
		took = now() - began;
		if (file < 0) {
			failed("open");
		} else {
			say("{\"open\":%ld,\"t\":%.6f,\"took\":%.6f}", opener->opens++, now(), took);
			if (took > opener->max_open)
				opener->max_open = took;
			close(file);
			unlink(path);
		}
		pause_s(opener->period);
	}
	return NULL;
}

static void drop_caches(int file)
{
	int control = open("/proc/sys/vm/drop_caches", O_WRONLY);

	posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
	if (control < 0 || write(control, "3", 1) != 1)
		failed("drop caches");
	close(control);
}

/* Reads past every cache (O_DIRECT: each read is one from the server). */
static void verify(const char *path, long acked, long *lost, long *torn)
{
	static char data[1 << 16] __attribute__((aligned(4096)));
	char wanted[RECORD], empty[RECORD] = { 0 };
	int file = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	long length = 0;

	/* A record that could not be read is not a lost one: try again, and say so if it stays that way. */
	for (int i = 0; file < 0 && i < 100; i++) {
		pause_s(0.3);
		file = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	}
	if (file < 0)
		failed("open for verification");
	*lost = *torn = 0;
	for (long n = 0; n < acked; n++) {
		long at = n * RECORD % (long)sizeof data;

		if (at == 0)
			length = pread(file, data, sizeof data, n * RECORD);
		for (int i = 0; at == 0 && length < 0 && i < 100; i++) {
			pause_s(0.3);
			length = pread(file, data, sizeof data, n * RECORD);
		}
		if (at == 0 && length < 0)
			failed("read for verification");
		make_record(wanted, n, sent_at[n]);
		if (length < at + RECORD || memcmp(data + at, empty, RECORD) == 0)
			++*lost;
		else if (memcmp(data + at, wanted, RECORD) != 0)
			++*torn;
	}
	close(file);
}

static void wait_for_stop(void)
{
	char input[64];
	int silent = 0;

	for (;;) {
		ssize_t length = read(port, input, sizeof input - 1);

		if (length > 0 && memmem(input, length, "stop", 4))
			return;
		if (length > 0)
			continue;
		/* Nobody holds the host's end: whoever started this machine is gone, and it must not stay behind. */
		if (++silent > 100)
			reboot(RB_AUTOBOOT);
		pause_s(0.05);
	}
}

static void run_journal(const char *name)
{
	static struct journal journal;
	static struct opener opener;
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	pthread_t writer, opening;
	char path[300];
	long lost, torn;

	snprintf(path, sizeof path, "/mnt/%s", name);
	journal.period = atoi(setting("interval_ms", "20")) / 1e3;
	journal.file = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
	if (journal.file < 0)
		failed("open journal");
	else if (fcntl(journal.file, F_SETLKW, &whole) != 0)
		failed("lock");
	else
		say("{\"event\":\"locked\",\"t\":%.6f}", now());
	sent_at = calloc(MAX_RECORDS, sizeof *sent_at);
	opener.period = atoi(setting("opens_ms", "0")) / 1e3;
	opener.name = name;
	pthread_create(&writer, NULL, write_records, &journal);
	if (opener.period > 0)
		pthread_create(&opening, NULL, open_files, &opener);
	wait_for_stop();
	stopping = 1;
	pthread_join(writer, NULL);
	if (opener.period > 0)
		pthread_join(opening, NULL);
	drop_caches(journal.file);
	verify(path, journal.acked, &lost, &torn);
	say("{\"event\":\"summary\",\"acked\":%ld,\"lost\":%ld,\"torn\":%ld,\"max_stall_s\":%.3f,\"opens\":%ld,"
	    "\"max_open_s\":%.3f,\"errors\":%d}",
	    journal.acked, lost, torn, journal.max_stall, opener.opens, opener.max_open, (int)errors);
	close(journal.file);
}

int main(void)
{
	const char *server, *export;

	boot();
	server = setting("server", "");
	export = setting("export", "/");
	say("{\"event\":\"up\",\"t\":%.6f}", now());
	if (mount_volume(setting("ip", ""), server, export) == 0) {
		run_journal(setting("file", "guest"));
		umount2("/mnt", MNT_DETACH);
	} else {
		say("{\"event\":\"summary\",\"problem\":\"the volume could not be mounted\"}");
	}
	pause_s(0.2);
	reboot(RB_AUTOBOOT); /* QEMU runs with -no-reboot and ends */
	return 0;
}
