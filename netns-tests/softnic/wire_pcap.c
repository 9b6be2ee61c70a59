/*
 * Captures as a wire: frames from a file as fast as the loop takes them, then silence; and the frames that the
 * NIC sends into another file, with nanosecond stamps.
 *
 * The replay waits until the NIC listens (link up and RXCTRL.RXEN set), so that the driver has time to set up
 * its rings. What the rings cannot hold after that is lost, as on a real wire.
 */
#include "wire.h"

#include <inttypes.h>
#include <pcap/pcap.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"

#define SNAPLEN  65535
#define ETH_SIZE 14

struct capture {
	struct wire wire;
	pcap_t *in; /* NULL: none, or at its end */
	pcap_t *out_format;
	pcap_dumper_t *out;
	bool unflushed;
};

static void capture_send(struct wire *wire, const uint8_t *frame, size_t size)
{
	struct capture *capture = (struct capture *)wire;
	struct timespec now;
	wire->tx_frames++;
	if (!capture->out)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	const struct pcap_pkthdr header = {
		.ts = {.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec}, /* nanoseconds: see open_out() */
		.caplen = (bpf_u_int32)size,
		.len = (bpf_u_int32)size,
	};
	pcap_dump((u_char *)capture->out, &header, frame);
	capture->unflushed = true;
}

static void capture_flush(struct wire *wire)
{
	struct capture *capture = (struct capture *)wire;
	if (!capture->unflushed)
		return;
	capture->unflushed = false;
	if (pcap_dump_flush(capture->out) == 0)
		return;
	softnic_error("port %u: cannot write the capture any more: is the disk full?", wire->nic->port);
	pcap_dump_close(capture->out);
	capture->out = NULL;
}

static void replay_frame(struct wire *wire, const struct pcap_pkthdr *header, const uint8_t *data)
{
	uint8_t padded[WIRE_FRAME_MIN] = {0};
	if (header->caplen < header->len || header->caplen < ETH_SIZE) {
		wire->rx_dropped++; /* cut by the snap length: not the frame that it was */
		return;
	}
	wire->rx_frames++;
	if (header->caplen >= sizeof padded) {
		nic_receive(wire->nic, data, header->caplen);
		return;
	}
	memcpy(padded, data, header->caplen);
	nic_receive(wire->nic, padded, sizeof padded);
}

static unsigned capture_poll(struct wire *wire, unsigned budget)
{
	struct capture *capture = (struct capture *)wire;
	unsigned done = 0;
	if (!capture->in || !wire->nic->link.up || !(nic_reg(wire->nic, RXCTRL) & RXCTRL_RXEN))
		return 0;
	while (done < budget) {
		struct pcap_pkthdr *header;
		const uint8_t *data;
		int result = pcap_next_ex(capture->in, &header, &data);
		if (result != 1) {
			if (result == PCAP_ERROR)
				softnic_error(
					"port %u: capture: %s", wire->nic->port, pcap_geterr(capture->in));
			softnic_info(
				"port %u: replay done: %" PRIu64 " frames", wire->nic->port, wire->rx_frames);
			pcap_close(capture->in);
			capture->in = NULL;
			break;
		}
		replay_frame(wire, header, data);
		done++;
	}
	return done;
}

static void capture_close(struct wire *wire)
{
	struct capture *capture = (struct capture *)wire;
	if (capture->out)
		pcap_dump_close(capture->out);
	if (capture->out_format)
		pcap_close(capture->out_format);
	if (capture->in)
		pcap_close(capture->in);
	free(capture);
}

static bool open_in(struct capture *capture, const char *path)
{
	char reason[PCAP_ERRBUF_SIZE];
	capture->in = pcap_open_offline_with_tstamp_precision(path, PCAP_TSTAMP_PRECISION_NANO, reason);
	if (!capture->in) {
		softnic_error("pcap:%s: %s", path, reason);
		return false;
	}
	if (pcap_datalink(capture->in) == DLT_EN10MB)
		return true;
	softnic_error("pcap:%s: not a capture of Ethernet frames", path);
	return false;
}

static bool open_out(struct capture *capture, const char *path)
{
	capture->out_format =
		pcap_open_dead_with_tstamp_precision(DLT_EN10MB, SNAPLEN, PCAP_TSTAMP_PRECISION_NANO);
	if (!capture->out_format) {
		softnic_error("pcap:%s: out of memory", path);
		return false;
	}
	capture->out = pcap_dump_open(capture->out_format, path);
	if (!capture->out)
		softnic_error("pcap: %s", pcap_geterr(capture->out_format));
	return capture->out != NULL;
}

struct wire *wire_pcap_open(const char *argument, struct nic *nic, struct ev_loop *loop)
{
	static const struct wire_ops ops = {
		.send = capture_send,
		.flush = capture_flush,
		.poll = capture_poll,
		.close = capture_close,
	};
	(void)loop;
	struct capture *capture = calloc(1, sizeof *capture);
	char *in = strdup(argument);
	if (!capture || !in) {
		softnic_error("pcap:%s: out of memory", argument);
		free(in);
		free(capture);
		return NULL;
	}
	capture->wire.ops = &ops;
	capture->wire.nic = nic;
	char *out = strchr(in, ',');
	if (out)
		*out++ = '\0';
	if ((strcmp(in, "-") != 0 && !open_in(capture, in)) ||
		(out && strcmp(out, "-") != 0 && !open_out(capture, out))) {
		capture_close(&capture->wire);
		free(in);
		return NULL;
	}
	free(in);
	nic_wire_carrier(nic, true);
	return &capture->wire;
}
