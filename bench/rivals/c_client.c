/*
 * A C program on libvotequorum, written to do what our client does. It stays connected and takes commands, one
 * per line of standard input, so that its rounds can alternate with another side's:
 *
 *     getinfo N      N calls one after another      N times, nanoseconds each
 *     total N        the same                       one time for all of them
 *     open K         K more connections             one number, K
 *     threads N      a thread for each connection,  one time for all of them
 *                    each makes N calls
 *     session N      initialize and finalize        N times
 *     trackstart N   trackstart to the first event  N times
 *     subscribe      trackstart, and take the current state
 *     unsubscribe    trackstop
 *     events N       wait in dispatch for N events  N instants, CLOCK_MONOTONIC
 *     prepare        give the node enough votes for `cause` to change the expected votes
 *     cause N        change expected votes N times  N pairs of instants: the change, and its notification;
 *                                                   0 for a notification whose instant is uncertain
 *
 * The answer to each is a uint64 count followed by that many int64 numbers. Any failure ends the program.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <corosync/corotypes.h>
#include <corosync/votequorum.h>

enum {
	MAX_CONNECTIONS = 256,
	MANY_VOTES = 100,	/* one node stays quorate with expected votes from this to almost twice this */
	PAUSE_NS = 1000000,	/* before each change, so that a waiting side is asleep by then */
	LARGEST_GAP_NS = 5000,	/* between two polls of `cause`: beyond it, the instant is uncertain */
};

static votequorum_handle_t handles[MAX_CONNECTIONS];
static int connections;
static long events_seen;	/* of any kind */
static int64_t last_change;	/* when the last expected votes notification was delivered */

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static void check(cs_error_t error, const char *call)
{
	if (error != CS_OK) {
		fprintf(stderr, "%s: cs_error_t %d\n", call, (int)error);
		exit(1);
	}
}

static void answer(const int64_t *numbers, uint64_t count)
{
	fwrite(&count, sizeof count, 1, stdout);
	fwrite(numbers, sizeof *numbers, count, stdout);
	fflush(stdout);
}

/* --- callbacks --- */

static void on_quorum(votequorum_handle_t handle, uint64_t context, uint32_t quorate, uint32_t entries,
		      votequorum_node_t nodes[])
{
	(void)handle, (void)context, (void)quorate, (void)entries, (void)nodes;
	events_seen++;
}

static void on_nodelist(votequorum_handle_t handle, uint64_t context, votequorum_ring_id_t ring_id,
			uint32_t entries, uint32_t nodes[])
{
	(void)handle, (void)context, (void)ring_id, (void)entries, (void)nodes;
	events_seen++;
}

static void on_expectedvotes(votequorum_handle_t handle, uint64_t context, uint32_t expected_votes)
{
	(void)handle, (void)context, (void)expected_votes;
	last_change = now();
	events_seen++;
}

static votequorum_callbacks_t callbacks = {
	.votequorum_quorum_notify_fn = on_quorum,
	.votequorum_expectedvotes_notify_fn = on_expectedvotes,
	.votequorum_nodelist_notify_fn = on_nodelist,
};

/* --- commands --- */

static long open_connections(int64_t *numbers, long count)
{
	numbers[0] = count;
	if (connections + count > MAX_CONNECTIONS) {
		fprintf(stderr, "at most %d connections\n", MAX_CONNECTIONS);
		exit(1);
	}
	while (count-- > 0)
		check(votequorum_initialize(&handles[connections++], &callbacks), "initialize");
	return 1;
}

static void call(votequorum_handle_t handle)
{
	struct votequorum_info info;

	check(votequorum_getinfo(handle, 0, &info), "getinfo");
}

static long getinfo(int64_t *numbers, long count)
{
	for (long i = 0; i < count; i++) {
		int64_t start = now();
		call(handles[0]);
		numbers[i] = now() - start;
	}
	return count;
}

static long total(int64_t *numbers, long count)
{
	int64_t start = now();

	for (long i = 0; i < count; i++)
		call(handles[0]);
	numbers[0] = now() - start;
	return 1;
}

static pthread_barrier_t start_line;
static long calls_of_a_thread;

static void *calls(void *handle)
{
	pthread_barrier_wait(&start_line);
	for (long i = 0; i < calls_of_a_thread; i++)
		call(*(votequorum_handle_t *)handle);
	return NULL;
}

static long threads(int64_t *numbers, long count)
{
	pthread_t running[MAX_CONNECTIONS];
	int64_t start;

	calls_of_a_thread = count;
	pthread_barrier_init(&start_line, NULL, connections + 1);
	for (int i = 0; i < connections; i++)
		pthread_create(&running[i], NULL, calls, &handles[i]);
	start = now();
	pthread_barrier_wait(&start_line);
	for (int i = 0; i < connections; i++)
		pthread_join(running[i], NULL);
	numbers[0] = now() - start;
	pthread_barrier_destroy(&start_line);
	return 1;
}

static long session(int64_t *numbers, long count)
{
	for (long i = 0; i < count; i++) {
		votequorum_handle_t handle;
		int64_t start = now();
		check(votequorum_initialize(&handle, &callbacks), "initialize");
		check(votequorum_finalize(handle), "finalize");
		numbers[i] = now() - start;
	}
	return count;
}

static void take_events(long until)
{
	while (events_seen < until)
		check(votequorum_dispatch(handles[0], CS_DISPATCH_ONE), "dispatch");
}

/* trackstart sends the current state: a node list, then a quorum notification. */
static long trackstart(int64_t *numbers, long count)
{
	for (long i = 0; i < count; i++) {
		int64_t start = now();
		events_seen = 0;
		check(votequorum_trackstart(handles[0], 0, CS_TRACK_CHANGES), "trackstart");
		take_events(1);
		numbers[i] = now() - start;
		take_events(2);
		check(votequorum_trackstop(handles[0]), "trackstop");
	}
	return count;
}

static long subscribe(int64_t *numbers, long count)
{
	(void)numbers, (void)count;
	events_seen = 0;
	check(votequorum_trackstart(handles[0], 0, CS_TRACK_CHANGES), "trackstart");
	take_events(2);
	return 0;
}

static long unsubscribe(int64_t *numbers, long count)
{
	(void)numbers, (void)count;
	check(votequorum_trackstop(handles[0]), "trackstop");
	return 0;
}

static long events(int64_t *numbers, long count)
{
	for (long i = 0; i < count; i++) {
		last_change = 0;
		while (!last_change)
			check(votequorum_dispatch(handles[0], CS_DISPATCH_ONE), "dispatch");
		numbers[i] = last_change;
	}
	return count;
}

static long prepare(int64_t *numbers, long count)
{
	struct votequorum_info info;

	(void)numbers, (void)count;
	check(votequorum_getinfo(handles[0], 1, &info), "getinfo");
	if (info.node_votes != MANY_VOTES)
		check(votequorum_setvotes(handles[0], 1, MANY_VOTES), "setvotes");
	while (info.node_votes != MANY_VOTES)
		check(votequorum_getinfo(handles[0], 1, &info), "getinfo");
	return 0;
}

/*
 * The daemon notifies the last subscriber first, and this polls without pausing: so it sees the instant of the
 * daemon's notification, within a microsecond or two. It polls only between a change and its notification.
 */
static long cause(int64_t *numbers, long count)
{
	static unsigned int expected = MANY_VOTES;
	const struct timespec pause = { .tv_nsec = PAUSE_NS };

	while (votequorum_dispatch(handles[0], CS_DISPATCH_ONE_NONBLOCKING) == CS_OK)
		;
	for (long i = 0; i < count; i++) {
		int64_t looked, gap = 0;

		nanosleep(&pause, NULL);
		expected = MANY_VOTES + (expected + 1) % (MANY_VOTES / 2);
		last_change = 0;
		numbers[2 * i] = now();
		check(votequorum_setexpected(handles[0], expected), "setexpected");
		for (looked = now(); !last_change; looked += gap) {
			votequorum_dispatch(handles[0], CS_DISPATCH_ONE_NONBLOCKING);
			gap = now() - looked;
		}
		numbers[2 * i + 1] = gap > LARGEST_GAP_NS ? 0 : last_change;
	}
	return 2 * count;
}

static const struct {
	const char *name;
	long (*run)(int64_t *numbers, long count);	/* fills in at most 2 * count numbers, returns how many */
} commands[] = {
	{ "open", open_connections }, { "getinfo", getinfo },	  { "total", total },
	{ "threads", threads },	      { "session", session },	  { "trackstart", trackstart },
	{ "subscribe", subscribe },   { "unsubscribe", unsubscribe }, { "events", events },
	{ "prepare", prepare },	      { "cause", cause },
};

static void run(const char *command, long count)
{
	int64_t *numbers = calloc(2 * count + 1, sizeof *numbers);

	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		if (!strcmp(command, commands[i].name)) {
			answer(numbers, commands[i].run(numbers, count));
			free(numbers);
			return;
		}
	}
	fprintf(stderr, "no such command: %s\n", command);
	exit(1);
}

int main(void)
{
	char line[64], command[32];

	while (fgets(line, sizeof line, stdin)) {
		long count = 0;

		if (sscanf(line, "%31s %ld", command, &count) >= 1)
			run(command, count);
	}
	while (connections > 0)
		votequorum_finalize(handles[--connections]);
	return 0;
}
