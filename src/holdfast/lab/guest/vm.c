/* The program of the lab's virtual machines: it is /init of a Linux kernel with nothing else in user space, or only the QEMU
 * guest agent, which it starts where it is there.
 *
 * On its disk it journals a counter (O_DIRECT, each write on stable storage before the next): sector 0 holds the last record,
 * the sectors after it the journal. A record that another machine has written since ours is a second writer: `split`.
 * It answers its state as JSON on TCP port 80, writes a line to the virtio-serial port org.holdfast.heartbeat.0 each second,
 * and powers off at the ACPI button, at GET /off and at the console line "off". GET /reboot boots it again, GET /hang stops
 * all work (also the agent's), GET /crash the kernel.
 *
 * Settings come from the kernel's command line, hvm.<name>=<value>: name ip (address/prefix length) period_ms
 * late_s (its heart begins to beat, and its agent to answer, so long after its boot).
 */
#define SETTING_PREFIX "hvm."
#include "machine.h"

#include <dirent.h>
#include <linux/input.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/reboot.h>

#define SECTOR 512
#define JOURNAL 8000
#define AGENT "/usr/sbin/qemu-ga"

struct state {
	char boot[9], previous[64];
	long first, count, split, errors;
};

static struct state state;
static const char *name;
static pthread_mutex_t state_lock = PTHREAD_MUTEX_INITIALIZER;
static volatile int hung, disk_known;
static volatile pid_t agent;

static void end(int how)
{
	printf(how == RB_POWER_OFF ? "HVM-OFF\n" : "HVM-REBOOT\n");
	hung = 1; /* the disk goes away under a write that begins now, which is no error */
	pause_s(0.1);
	sync();
	reboot(how);
}

/* --- the disk ---------------------------------------------------------------------------------------------------- */

static char sector[SECTOR] __attribute__((aligned(4096)));

/* The boot whose record is the last one; its counter in *count. */
static const char *last_record(int disk, long *count)
{
	static char boot[64];

	boot[0] = 0;
	*count = 0;
	if (pread(disk, sector, SECTOR, 0) == SECTOR) {
		sector[SECTOR - 1] = 0;
		if (sscanf(sector, "%ld %63s", count, boot) < 1)
			*count = 0;
	}
	return boot;
}

static int write_record(int disk, long number)
{
	memset(sector, ' ', SECTOR);
	int length = snprintf(sector, SECTOR, "%ld %s %s %.3f", number, state.boot, name, now());
	sector[length] = ' ';
	sector[SECTOR - 1] = '\n';
	return pwrite(disk, sector, SECTOR, (number % JOURNAL + 1) * SECTOR) == SECTOR &&
	       pwrite(disk, sector, SECTOR, 0) == SECTOR && fdatasync(disk) == 0;
}

static void *keep_journal(void *unused)
{
	int disk = open("/dev/vda", O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC), written = 0;
	double period = atoi(setting("period_ms", "200")) / 1e3;
	long found;

	if (disk < 0) {
		disk_known = 1;
		return NULL;
	}
	const char *before = last_record(disk, &found);
	pthread_mutex_lock(&state_lock);
	state.first = state.count = found;
	snprintf(state.previous, sizeof state.previous, "%s", before);
	pthread_mutex_unlock(&state_lock);
	disk_known = 1;
	for (;; pause_s(period)) {
		if (hung)
			continue;
		int foreign = written && strcmp(last_record(disk, &found), state.boot) != 0;
		int done = write_record(disk, state.count + 1);
		pthread_mutex_lock(&state_lock);
		state.split |= foreign;
		state.count += done;
		state.errors += !done && !hung;
		pthread_mutex_unlock(&state_lock);
		written |= done;
	}
}

/* --- heartbeat, power button, console ---------------------------------------------------------------------------- */

/* Whether there is a virtio-serial port of that name; its device in `path`. */
static int find_port(const char *wanted, char path[300])
{
	char port[64];
	int found = 0;
	struct dirent *entry;
	DIR *ports = opendir("/sys/class/virtio-ports");

	while (ports && !found && (entry = readdir(ports))) {
		snprintf(path, 300, "/sys/class/virtio-ports/%.200s/name", entry->d_name);
		int file = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t length = file < 0 ? -1 : read(file, port, sizeof port - 1);
		close(file);
		found = length > 0 && strncmp(port, wanted, strlen(wanted)) == 0;
		snprintf(path, 300, "/dev/%.200s", entry->d_name);
	}
	if (ports)
		closedir(ports);
	return found;
}

static void *beat(void *late_s)
{
	char line[64], path[300];

	pause_s(atof(late_s));
	int port = find_port("org.holdfast.heartbeat.0", path) ? open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC) : -1;

	for (long n = 1; port >= 0; n++, pause_s(1)) {
		int length = snprintf(line, sizeof line, "beat %ld\n", n);

		/* Nobody may listen just now; the next line tells as much as this one. */
		if (!hung && write(port, line, length) != length)
			continue;
	}
	return NULL;
}

static void *start_agent(void *late_s)
{
	char path[300];

	pause_s(atof(late_s));
	while (!find_port("org.qemu.guest_agent.0", path)) /* the kernel hears of ports one by one */
		pause_s(0.1);
	agent = fork();
	if (agent == 0) {
		execl(AGENT, AGENT, "-m", "virtio-serial", "-p", path, "-t", "/run", NULL);
		_exit(127);
	}
	return NULL;
}

static void *watch_button(void *argument)
{
	struct input_event event;
	int file = open(argument, O_RDONLY | O_CLOEXEC);

	while (file >= 0 && read(file, &event, sizeof event) == sizeof event)
		if (!hung && event.type == EV_KEY && event.code == KEY_POWER && event.value == 1)
			end(RB_POWER_OFF);
	return NULL;
}

static void *watch_console(void *unused)
{
	char line[64];

	while (fgets(line, sizeof line, stdin))
		if (strncmp(line, "off", 3) == 0)
			end(RB_POWER_OFF);
	return NULL;
}

/* --- what others may ask ------------------------------------------------------------------------------------------ */

static void answer(int client)
{
	char request[512] = "", body[512], reply[800];
	ssize_t length = read(client, request, sizeof request - 1);

	if (length <= 0)
		return;
	if (strncmp(request, "GET /hang", 9) == 0) {
		hung = 1;
		if (agent > 0)
			kill(agent, SIGSTOP);
	}
	pthread_mutex_lock(&state_lock);
	snprintf(body, sizeof body,
		 "{\"name\":\"%s\",\"boot\":\"%s\",\"prev\":\"%s\",\"n0\":%ld,\"n\":%ld,\"up\":%.3f,\"split\":%ld,\"werr\":%ld}\n",
		 name, state.boot, state.previous, state.first, state.count, now(), state.split, state.errors);
	pthread_mutex_unlock(&state_lock);
	int size = snprintf(reply, sizeof reply,
			    "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
			    strlen(body), body);
	if (write(client, reply, size) != size)
		return;
	int off = strncmp(request, "GET /off", 8) == 0, again = strncmp(request, "GET /reboot", 11) == 0;
	if (off || again) {
		shutdown(client, SHUT_WR);
		pause_s(0.05);
		end(off ? RB_POWER_OFF : RB_AUTOBOOT);
	}
	if (strncmp(request, "GET /crash", 10) == 0) {
		FILE *trigger = fopen("/proc/sysrq-trigger", "w");
		fputc('c', trigger);
		fclose(trigger);
	}
}

static void serve(void)
{
	struct sockaddr_in here = { .sin_family = AF_INET, .sin_port = htons(80) };
	struct timeval patience = { .tv_sec = 2 };
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (bind(listener, (struct sockaddr *)&here, sizeof here) != 0 || listen(listener, 16) != 0)
		printf("HVM-NO-SERVER %s\n", strerror(errno));
	while (!disk_known) /* whoever asks is to hear what is on the disk */
		pause_s(0.01);
	for (;;) {
		int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (client < 0 || hung) {
			pause_s(0.01);
			continue;
		}
		setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
		answer(client);
		close(client);
	}
}

static void set_up_network(void)
{
	char address[64];
	FILE *file = fopen("/proc/sys/net/ipv4/conf/all/arp_notify", "w");

	/* Announce the address when it comes up: neighbours may still know the node where this machine was before. */
	if (file) {
		fputc('1', file);
		fclose(file);
	}
	snprintf(address, sizeof address, "%s", setting("ip", ""));
	char *slash = strchr(address, '/');
	if (slash)
		*slash = 0;
	if (address[0] && set_address_v4(address, slash ? atoi(slash + 1) : 24) != 0)
		printf("HVM-NO-ADDRESS %s\n", strerror(errno));
	interface_up("lo");
	interface_up("eth0");
}

static void spawn(void *(*task)(void *), void *argument)
{
	pthread_t thread;

	pthread_create(&thread, NULL, task, argument);
}

int main(void)
{
	static char buttons[2][20] = { "/dev/input/event0", "/dev/input/event1" };
	FILE *file;

	begin();
	mkdir("/sys", 0755);
	mount("sys", "/sys", "sysfs", 0, NULL);
	name = setting("name", "vm");
	sethostname(name, strlen(name));
	if ((file = fopen("/proc/sys/kernel/random/boot_id", "r")) && fgets(state.boot, sizeof state.boot, file))
		fclose(file);
	set_up_network();
	printf("HVM-UP name=%s boot=%s up=%.3f\n", name, state.boot, now());
	fflush(stdout);
	spawn(beat, (void *)setting("late_s", "0"));
	if (access(AGENT, X_OK) == 0) {
		mkdir("/run", 0755);
		spawn(start_agent, (void *)setting("late_s", "0"));
	}
	spawn(keep_journal, NULL);
	spawn(watch_button, buttons[0]);
	spawn(watch_button, buttons[1]);
	spawn(watch_console, NULL);
	serve();
	return 0;
}
