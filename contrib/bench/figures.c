/*
 * figures: the numbers of the plots that figures.sh draws of the driver itself.
 *
 *	figures batch          BATCH NS NS: forwarding, over batch sizes
 *	figures cost [BATCH]   INSTRUCTIONS NS: of this build of the driver, by default at batches of 32
 *	figures iommu          ROW INSTRUCTIONS NS: driver and NIC together, with and without address translation
 *	figures queues         QUEUES MPPS: as many threads, each with a queue pair of one device
 *	figures cycles [BATCH] CYCLES, or - where the processor's counters cannot be had
 *
 * All of them forward frames of 60 bytes (64 with CRC) as the papers' forwarder did: it changes one byte of each, so
 * that the frame's first cache line is fetched. NS are nanoseconds a frame, the best of several runs.
 *
 * Two NICs take turns as the device. One is the software 82599 (forward_rig.h), which does all that a NIC does with
 * each descriptor. The other does next to nothing: it marks descriptors complete where they lie in memory, so that what
 * remains is the driver. No NIC of silicon is involved: no bus, no cache line that comes from a device.
 */
#include <err.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "contrib/bench/forward_rig.h"
#include "contrib/bench/steps.h"
#include "driver/clock.h"
#include "driver/dma.h"
#include "netns-tests/softnic/vtd.h"

#define MAX_BATCH    256
#define FRAME        60
#define RUNS         50         /* short ones: somebody else's turn on the core spoils only a few */
#define FRAMES       (1u << 16) /* a run */
#define SLOW_FRAMES  (1u << 13) /* with the software NIC */
#define LANE_RUNS    20
#define STEP_FRAMES  2048u /* by single steps: whole rings, so that refill is counted in full */
#define MODEL_FRAMES 128u  /* the same with the software NIC, which takes thousands */
#define THREAD_NS    UINT64_C(100000000)
#define TOUCHED_BYTE 48

/* --- a NIC that does next to nothing -------------------------------------------------------------------- */

/*
 * The device's end of one queue pair. The driver's doorbells say how far it may go, as on silicon; descriptors are read
 * and written as 7.1.6.2 and 7.2.3.2.4 have it.
 */
struct instant_nic {
	volatile union ixgbe_rx_desc *rx;
	volatile union ixgbe_tx_desc *tx;
	volatile const uint32_t *rx_tail, *tx_tail;
	uint32_t rx_head, tx_head;
};

static void instant_open(struct instant_nic *nic, struct ixy_device *dev, uint16_t queue)
{
	struct ixgbe_rx_queue *rx = &ixgbe(dev)->rx[queue];
	struct ixgbe_tx_queue *tx = &ixgbe(dev)->tx[queue];

	*nic = (struct instant_nic){
		.rx = rx->descs, .tx = tx->descs, .rx_tail = rx->tail.reg, .tx_tail = tx->tail.reg};
}

/* "Receive" up to count frames. Returns how many there were descriptors for. */
static inline uint32_t instant_receive(struct instant_nic *nic, uint32_t count)
{
	uint32_t tail = *nic->rx_tail, n;

	for (n = 0; n < count && nic->rx_head != tail; n++) {
		volatile union ixgbe_rx_desc *desc = &nic->rx[nic->rx_head];

		desc->half[0] = 0;
		__atomic_store_n(
			&desc->half[1], (uint64_t)FRAME << 32 | RXD_STAT_EOP | RXD_STAT_DD, __ATOMIC_RELEASE);
		nic->rx_head = (nic->rx_head + 1) & (RIG_RING - 1);
	}
	return n;
}

/* "Send" all, and report where a report was asked for. */
static inline void instant_send(struct instant_nic *nic)
{
	for (uint32_t tail = *nic->tx_tail; nic->tx_head != tail;
		nic->tx_head = (nic->tx_head + 1) & (RIG_RING - 1)) {
		volatile union ixgbe_tx_desc *desc = &nic->tx[nic->tx_head];

		if (desc->read.cmd_type_len & TXD_CMD_RS)
			__atomic_store_n(&desc->wb.status, TXD_STAT_DD, __ATOMIC_RELEASE);
	}
}

/* --- forwarding ----------------------------------------------------------------------------------------- */

static inline uint32_t forward(struct ixy_device *dev, uint16_t queue, uint32_t batch)
{
	struct pkt_buf *bufs[MAX_BATCH];
	uint32_t n = ixy_rx_batch(dev, queue, bufs, batch), sent;

	for (uint32_t i = 0; i < n; i++)
		bufs[i]->data[TOUCHED_BYTE]++;
	sent = ixy_tx_batch(dev, queue, bufs, n);
	if (sent != n)
		errx(1, "%u of %u frames sent", sent, n);
	return n;
}

static void forward_instantly(struct rig *rig, struct instant_nic *nic, uint32_t batch, uint32_t frames)
{
	for (uint32_t done = 0; done < frames;) {
		instant_receive(nic, batch);
		done += forward(rig->dev, 0, batch);
		instant_send(nic);
	}
}

static void forward_modelled(struct rig *rig, uint32_t batch, uint32_t frames)
{
	for (uint32_t done = 0; done < frames;) {
		rig_feed(rig, FRAME, batch);
		done += forward(rig->dev, 0, batch);
		nic_tx_poll(rig->nic, 2 * MAX_BATCH);
	}
}

/* Nanoseconds a frame; nic NULL: the software 82599. */
static double time_forwarding(struct rig *rig, struct instant_nic *nic, uint32_t batch)
{
	uint32_t frames = nic ? FRAMES : SLOW_FRAMES;
	uint64_t best = UINT64_MAX;

	for (unsigned i = 0; i < RUNS; i++) {
		uint64_t start = clock_ns(), ns;

		if (nic)
			forward_instantly(rig, nic, batch, frames);
		else
			forward_modelled(rig, batch, frames);
		ns = clock_ns() - start;
		best = ns < best ? ns : best;
	}
	return (double)best / frames;
}

/* --- figures -------------------------------------------------------------------------------------------- */

static void batch_sizes(void)
{
	for (uint32_t batch = 1; batch <= MAX_BATCH; batch *= 2) {
		struct instant_nic nic;
		struct rig rig;
		double instant, modelled;

		rig_open(&rig, 1);
		modelled = time_forwarding(&rig, NULL, batch);
		rig_close(&rig);
		rig_open(&rig, 1);
		instant_open(&nic, rig.dev, 0);
		instant = time_forwarding(&rig, &nic, batch);
		rig_close(&rig);
		printf("%u %.2f %.2f\n", batch, instant, modelled);
		fflush(stdout);
	}
}

/* Instructions of the two calls a frame, and the time of them with the little that the instant NIC does. */
static void cost(uint32_t batch)
{
	struct pkt_buf *bufs[MAX_BATCH];
	struct instant_nic nic;
	struct rig rig;
	uint64_t empty, sum;

	rig_open(&rig, 1);
	instant_open(&nic, rig.dev, 0);
	forward_instantly(&rig, &nic, batch, 8 * RIG_RING); /* all is as in the middle of a long run */
	sum = steps_taken;
	steps_begin();
	steps_end();
	empty = steps_taken - sum;
	sum = 0;
	for (uint32_t done = 0; done < STEP_FRAMES; done += batch) {
		uint64_t before = steps_taken;
		uint32_t n, sent;

		instant_receive(&nic, batch);
		steps_begin();
		n = ixy_rx_batch(rig.dev, 0, bufs, batch);
		sent = ixy_tx_batch(rig.dev, 0, bufs, n);
		steps_end();
		sum += steps_taken - before - empty;
		if (n != batch || sent != n)
			errx(1, "%u received, %u sent, of %u", n, sent, batch);
		instant_send(&nic);
	}
	printf("%.2f %.2f\n", (double)sum / STEP_FRAMES, time_forwarding(&rig, &nic, batch));
	rig_close(&rig);
}

/* --- address translation -------------------------------------------------------------------------------- */

#define PAGE        4096u
#define LARGE_PAGE  (2u << 20)
#define ENTRIES     512u
#define READ_WRITE  3u
#define LARGE       0x80u
#define PRESENT     1u
#define WIDTH_48    2u
#define TABLE_BYTES (4u << 20)

/* Tables of a VT-d in memory that the NIC reaches, made one page after another; see softnic/vtd.c. */
struct tables {
	struct dma_region *memory;
	uint64_t used;
};

static uint64_t *new_table(struct tables *tables)
{
	uint64_t *table = (uint64_t *)(void *)(tables->memory->virt + tables->used);

	tables->used += PAGE;
	if (tables->used > tables->memory->size)
		errx(1, "more tables than memory for them");
	return table;
}

/* The table that an entry points to, made if there is none. The device's addresses are ours. */
static uint64_t *below(struct tables *tables, uint64_t *entry)
{
	if (!*entry)
		*entry = (uintptr_t)new_table(tables) | READ_WRITE;
	return (uint64_t *)(uintptr_t)(*entry & ~(uint64_t)(PAGE - 1));
}

/* The page around address is where it is. */
static void map_page(struct tables *tables, uint64_t *top, uint64_t address, uint64_t page)
{
	unsigned last = page == LARGE_PAGE ? 2 : 1;
	uint64_t *table = top;

	for (unsigned level = 4; level > last; level--)
		table = below(tables, &table[address >> (12 + 9 * (level - 1)) & (ENTRIES - 1)]);
	table[address >> (12 + 9 * (last - 1)) & (ENTRIES - 1)] =
		(address & ~(page - 1)) | READ_WRITE | (last == 2 ? LARGE : 0);
}

/* Put the NIC behind an IOMMU that maps all that was mapped for it, in pages of this size. */
static void translate(struct rig *rig, struct vtd *vtd, struct tables *tables, uint64_t page)
{
	uint64_t *root, *context, *top;

	if (dma_alloc(rig->dev->pci, TABLE_BYTES, &tables->memory) < 0)
		errx(1, "%s", ixy_last_error());
	tables->used = 0;
	root = new_table(tables);
	context = new_table(tables);
	top = new_table(tables);
	root[0] = (uintptr_t)context | PRESENT;
	context[0] = (uintptr_t)top | PRESENT;
	context[1] = WIDTH_48;
	for (unsigned i = 0; i < rig->nic->dma.count; i++) {
		const struct nic_dma_region *region = &rig->nic->dma.regions[i];

		for (uint64_t at = region->iova & ~(page - 1); at < region->iova + region->size; at += page)
			map_page(tables, top, at, page);
	}
	memset(vtd, 0, sizeof(*vtd));
	vtd_registers(vtd, VTD_GSTS_TES, (uintptr_t)root);
	rig->nic->dma.iommu = vtd;
}

static void iommu(void)
{
	static const struct {
		const char *name;
		uint64_t page;
	} rows[] = {{"none", 0}, {"2MiB", LARGE_PAGE}, {"4KiB", PAGE}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tables tables = {0};
		struct rig rig;
		struct vtd vtd;
		uint64_t before;
		double ns;

		rig_open(&rig, 1);
		if (rows[i].page)
			translate(&rig, &vtd, &tables, rows[i].page);
		ns = time_forwarding(&rig, NULL, 32);
		before = steps_taken;
		steps_begin();
		forward_modelled(&rig, 32, MODEL_FRAMES);
		steps_end();
		printf("%s %.1f %.2f\n", rows[i].name, (double)(steps_taken - before) / MODEL_FRAMES, ns);
		fflush(stdout);
		rig.nic->dma.iommu = NULL;
		dma_free(rig.dev->pci, tables.memory);
		rig_close(&rig);
	}
}

/* --- queues over cores ---------------------------------------------------------------------------------- */

struct lane {
	pthread_t thread;
	struct ixy_device *dev;
	uint16_t queue;
	pthread_barrier_t *start;
	uint64_t frames, begin, end; /* when, clock_ns() */
} __attribute__((aligned(64)));

static void *run_lane(void *argument)
{
	struct lane *lane = argument;
	struct instant_nic nic;

	instant_open(&nic, lane->dev, lane->queue);
	pthread_barrier_wait(lane->start);
	lane->begin = clock_ns();
	do {
		for (unsigned i = 0; i < 256; i++) {
			instant_receive(&nic, 32);
			lane->frames += forward(lane->dev, lane->queue, 32);
			instant_send(&nic);
		}
		lane->end = clock_ns();
	} while (lane->end - lane->begin < THREAD_NS);
	return NULL;
}

/* Million frames a second of all queues together, from the first thread's start to the last one's end. */
static double run_lanes(struct rig *rig, uint16_t queues)
{
	static struct lane lanes[IXY_MAX_QUEUES];
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t frames = 0, begin = UINT64_MAX, end = 0;
	pthread_barrier_t start;

	pthread_barrier_init(&start, NULL, queues);
	for (uint16_t i = 0; i < queues; i++) {
		cpu_set_t cpu;

		lanes[i] = (struct lane){.dev = rig->dev, .queue = i, .start = &start};
		if (pthread_create(&lanes[i].thread, NULL, run_lane, &lanes[i]))
			errx(1, "cannot start a thread");
		CPU_ZERO(&cpu);
		CPU_SET((unsigned)(i % cpus), &cpu);
		pthread_setaffinity_np(lanes[i].thread, sizeof(cpu), &cpu);
	}
	for (uint16_t i = 0; i < queues; i++) {
		pthread_join(lanes[i].thread, NULL);
		frames += lanes[i].frames;
		begin = lanes[i].begin < begin ? lanes[i].begin : begin;
		end = lanes[i].end > end ? lanes[i].end : end;
	}
	pthread_barrier_destroy(&start);
	return (double)frames * 1e3 / (double)(end - begin);
}

static void queues(void)
{
	for (uint16_t n = 1; n <= 4; n *= 2) {
		double best = 0;

		for (unsigned i = 0; i < LANE_RUNS; i++) {
			struct rig rig;
			double mpps;

			rig_open(&rig, n);
			mpps = run_lanes(&rig, n);
			rig_close(&rig);
			best = mpps > best ? mpps : best;
		}
		printf("%u %.2f\n", n, best);
		fflush(stdout);
	}
}

/* --- cycles --------------------------------------------------------------------------------------------- */

/* Of this thread in user mode, with the little that the instant NIC does. Virtual machines often hide the counters. */
static void cycles(uint32_t batch)
{
	struct perf_event_attr attributes = {.type = PERF_TYPE_HARDWARE,
		.size = sizeof(attributes),
		.config = PERF_COUNT_HW_CPU_CYCLES,
		.exclude_kernel = 1,
		.exclude_hv = 1};
	int fd = (int)syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0);
	uint64_t best = UINT64_MAX;
	struct instant_nic nic;
	struct rig rig;

	if (fd < 0) {
		puts("-");
		return;
	}
	rig_open(&rig, 1);
	instant_open(&nic, rig.dev, 0);
	for (unsigned i = 0; i < RUNS; i++) {
		uint64_t before = 0, after = 0;

		if (read(fd, &before, sizeof(before)) < 0)
			err(1, "the processor's counter");
		forward_instantly(&rig, &nic, batch, FRAMES);
		if (read(fd, &after, sizeof(after)) < 0)
			err(1, "the processor's counter");
		best = after - before < best ? after - before : best;
	}
	printf("%.1f\n", (double)best / FRAMES);
	rig_close(&rig);
	close(fd);
}

int main(int argc, char *argv[])
{
	long batch = argc == 3 ? strtol(argv[2], NULL, 10) : 32;

	if (argc < 2 || argc > 3 || batch < 1 || batch > MAX_BATCH || STEP_FRAMES % batch)
		errx(2, "usage: figures batch | cost [BATCH] | iommu | queues | cycles [BATCH]");
	steps_init();
	if (!strcmp(argv[1], "batch"))
		batch_sizes();
	else if (!strcmp(argv[1], "cost"))
		cost((uint32_t)batch);
	else if (!strcmp(argv[1], "iommu"))
		iommu();
	else if (!strcmp(argv[1], "queues"))
		queues();
	else if (!strcmp(argv[1], "cycles"))
		cycles((uint32_t)batch);
	else
		errx(2, "%s: no such figure", argv[1]);
	return 0;
}
