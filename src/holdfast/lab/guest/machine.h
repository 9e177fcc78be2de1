/* What both guests of the lab begin with: /init of a Linux kernel with nothing else in user space. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef SETTING_PREFIX
#define SETTING_PREFIX "hf."
#endif

static char command_line[4096];

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void pause_s(double seconds)
{
	struct timespec t = { (time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9) };

	if (seconds > 0)
		nanosleep(&t, NULL);
}

static const char *setting(const char *name, const char *otherwise)
{
	static char values[16][256];
	static int used;
	char key[64], *found, *end;

	snprintf(key, sizeof key, SETTING_PREFIX "%s=", name);
	found = strstr(command_line, key);
	if (!found || used == 16)
		return otherwise;
	found += strlen(key);
	end = found + strcspn(found, " \n");
	snprintf(values[used], sizeof values[used], "%.*s", (int)(end - found), found);
	return values[used++];
}

static void load_modules(void)
{
	char name[128], path[160];
	FILE *order = fopen("/modules/order", "r");

	while (order && fscanf(order, "%127s", name) == 1) {
		snprintf(path, sizeof path, "/modules/%s", name);
		int file = open(path, O_RDONLY | O_CLOEXEC);
		if (file < 0 || (syscall(SYS_finit_module, file, "", 0) != 0 && errno != EEXIST))
			printf("guest: module %s: %s\n", name, strerror(errno));
		close(file);
	}
	if (order)
		fclose(order);
}

static void interface_up(const char *name)
{
	struct ifreq request = { 0 };
	int control = socket(AF_INET, SOCK_DGRAM, 0);

	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	if (ioctl(control, SIOCGIFFLAGS, &request) == 0) {
		request.ifr_flags |= IFF_UP;
		ioctl(control, SIOCSIFFLAGS, &request);
	}
	close(control);
}

static int set_address_v4(const char *ip, int prefix)
{
	struct ifreq request = { .ifr_name = "eth0" };
	struct sockaddr_in *address = (struct sockaddr_in *)&request.ifr_addr;
	int control = socket(AF_INET, SOCK_DGRAM, 0), bad;

	address->sin_family = AF_INET;
	inet_pton(AF_INET, ip, &address->sin_addr);
	bad = ioctl(control, SIOCSIFADDR, &request);
	address->sin_addr.s_addr = htonl(prefix ? ~0u << (32 - prefix) : 0);
	bad |= ioctl(control, SIOCSIFNETMASK, &request);
	close(control);
	return bad;
}

/* From an empty machine to one with its devices. */
static void begin(void)
{
	FILE *file;

	mkdir("/proc", 0755);
	mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	if ((file = fopen("/proc/cmdline", "r"))) {
		if (!fgets(command_line, sizeof command_line, file))
			command_line[0] = 0;
		fclose(file);
	}
	load_modules();
}
