/* A writer that proves what it says: `stamps NAME DEVICE BLOCKS PERIOD_MS` writes a stamped block of 4 KiB each period, round
 * and round over the first BLOCKS of the device, past every cache and through to the medium (O_DIRECT, O_DSYNC), and after
 * each fifth reads one back, the newest and an old one in turn. At SIGTERM it reads everything back. It says lines of JSON:
 * what was acknowledged, at most five times a second; each finding; at the end a summary. Words as in services/iscsi/journal.py.
 * Times are seconds of CLOCK_BOOTTIME.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 4096
#define SECTOR 512
#define SECTORS (BLOCK / SECTOR)
#define MAX_BLOCKS 65536
#define READ_EACH 5
#define SAY_EACH_S 0.2

struct stamp {
	uint64_t run, block, sequence, index;
};

enum { KEPT, LOST, TORN, STALE };

static const char *const names[] = { "kept", "lost", "torn", "stale" };
static const char *name;
static uint64_t run_number;
static int disk;
static long blocks, found[4], read_back, errors;
static uint64_t acked[MAX_BLOCKS], issued[MAX_BLOCKS]; /* block → the last write to it, counted from 1 */
static char wanted[SECTOR], data[BLOCK] __attribute__((aligned(4096)));
static volatile sig_atomic_t stopping;

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

/* A sector's content: its head, and a body computed from it, so that no part of another write can pass for it. */
static void make_sector(char *sector, uint64_t block, uint64_t sequence, uint64_t index)
{
	struct stamp head = { run_number, block, sequence, index };
	uint64_t state = run_number ^ block << 40 ^ sequence << 8 ^ index, word;

	memcpy(sector, &head, sizeof head);
	for (size_t at = sizeof head; at < SECTOR; at += sizeof word) { /* splitmix64 */
		word = state += 0x9e3779b97f4a7c15u;
		word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9u;
		word = (word ^ word >> 27) * 0x94d049bb133111ebu;
		word ^= word >> 31;
		memcpy(sector + at, &word, sizeof word);
	}
}

/* Of a write that was sent and never acknowledged, all, parts or nothing may be there. */
static int judge(const char *block, uint64_t number)
{
	uint64_t first = 0;
	int foreign = 0, wrong = 0, mixed = 0;

	for (int index = 0; index < SECTORS; index++) {
		struct stamp head;

		memcpy(&head, block + index * SECTOR, sizeof head);
		make_sector(wanted, number, head.sequence, index);
		if (memcmp(block + index * SECTOR, wanted, SECTOR) != 0) {
			foreign++;
			continue;
		}
		wrong |= head.sequence != acked[number] && head.sequence != issued[number];
		mixed |= first && head.sequence != first;
		first = head.sequence;
	}
	if (!foreign && !wrong)
		return KEPT;
	if (foreign == SECTORS)
		return LOST;
	return foreign || mixed ? TORN : STALE;
}

static void failed(const char *what, uint64_t block)
{
	if (errors++ < 50)
		printf("{\"run\":\"%s\",\"event\":\"error\",\"what\":\"%s\",\"block\":%ju,\"errno\":%d,\"text\":\"%s\",\"t\":%.3f}\n",
		       name, what, block, errno, strerror(errno), now());
}

static void check(uint64_t block)
{
	int verdict;

	while (pread(disk, data, BLOCK, block * BLOCK) != BLOCK) {
		failed("read", block);
		pause_s(0.1);
	}
	read_back++;
	verdict = acked[block] ? judge(data, block) : KEPT;
	found[verdict]++;
	if (verdict != KEPT) {
		struct stamp head;

		memcpy(&head, data, sizeof head);
		printf("{\"run\":\"%s\",\"event\":\"wrong\",\"wrong\":\"%s\",\"block\":%ju,\"acked\":%ju,\"issued\":%ju,\"there\":%ju,"
		       "\"t\":%.3f}\n",
		       name, names[verdict], block, acked[block], issued[block], head.sequence, now());
	}
}

static int write_block(uint64_t sequence)
{
	uint64_t block = sequence % blocks;

	for (int index = 0; index < SECTORS; index++)
		make_sector(data + index * SECTOR, block, sequence, index);
	issued[block] = sequence;
	if (pwrite(disk, data, BLOCK, block * BLOCK) != BLOCK) {
		failed("write", block);
		pause_s(0.1);
		return 0;
	}
	acked[block] = sequence;
	return 1;
}

static void stop(int signal)
{
	stopping = signal;
}

int main(int count, char **arguments)
{
	uint64_t sequence = 0, back;
	double last, due, period, said = 0, stall = 0, longest = 0, longest_at = 0;

	if (count != 5)
		return 2;
	name = arguments[1];
	disk = open(arguments[2], O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);
	blocks = atol(arguments[3]);
	period = atof(arguments[4]) / 1e3;
	setvbuf(stdout, NULL, _IOLBF, BLOCK);
	if (disk < 0 || blocks < 1 || blocks > MAX_BLOCKS) {
		failed("open", 0);
		return 1;
	}
	signal(SIGTERM, stop);
	last = due = now();
	run_number = (uint64_t)(last * 1e9) * 2654435761u ^ getpid();
	while (!stopping) {
		double done;

		if (!write_block(sequence + 1))
			continue;
		sequence++;
		done = now();
		if (done - last > stall)
			stall = done - last;
		if (done - last > longest) {
			longest = done - last;
			longest_at = last;
		}
		last = done;
		if (done - said >= SAY_EACH_S || stall >= SAY_EACH_S) {
			printf("{\"run\":\"%s\",\"acked\":%ju,\"stall\":%.3f,\"t\":%.3f}\n", name, sequence, stall, done);
			said = done;
			stall = 0;
		}
		if (sequence % READ_EACH == 0) {
			back = sequence / READ_EACH % 2 ? 0 : sequence * 7919 % (sequence < blocks ? sequence : blocks);
			check((sequence - back) % blocks);
		}
		due += period;
		if (due < done - period)
			due = done - period;
		pause_s(due - now());
	}
	for (long block = 0; block < blocks; block++)
		check(block);
	printf("{\"run\":\"%s\",\"event\":\"summary\",\"acked\":%ju,\"read_back\":%ld,\"lost\":%ld,\"torn\":%ld,\"stale\":%ld,"
	       "\"errors\":%ld,\"max_stall_s\":%.3f,\"max_stall_t\":%.3f}\n",
	       name, sequence, read_back, found[LOST], found[TORN], found[STALE], errors, longest, longest_at);
	return found[LOST] || found[TORN] || found[STALE] ? 3 : 0;
}
