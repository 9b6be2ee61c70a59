/*
 * The vfio-user client attaching to what is no server, a broken one or a malicious one.
 *
 * Whatever is answered, the client returns an error with a text in bounded time and leaves no descriptor open.
 */
#include "vfio_user_server.h"

/* --- peers that are none -------------------------------------------------------------------------------- */

static void bend_http(struct message *reply, const struct message *request)
{
	(void)request;
	memcpy(reply, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", 48);
	reply->cut = 47;
}

static void bend_major(struct message *reply, const struct message *request)
{
	(void)request;
	reply->payload[0] = 7;
}

static void bend_endless_json(struct message *reply, const struct message *request)
{
	(void)request;
	memset(reply->payload + 4, ' ', 100);
	reply->header.size = sizeof(reply->header) + 104;
}

static void bend_no_fds_taken(struct message *reply, const struct message *request)
{
	(void)request;
	SET_VERSION(reply, "{\"max_msg_fds\":-5}");
}

static void a_peer_of_another_protocol_is_recognised(void **state)
{
	(void)state;
	expect_refusal(VFIO_USER_VERSION, bend_http, EPROTO, "does not speak the vfio-user protocol");
}

static void a_peer_that_hangs_up_is_named(void **state)
{
	(void)state;
	expect_refusal(VFIO_USER_VERSION, bend_hang_up, ENODEV, "hung up during the vfio-user handshake");
}

static void a_silent_peer_is_not_waited_for_for_ever(void **state)
{
	(void)state;
	expect_refusal(VFIO_USER_VERSION, bend_silence, ETIMEDOUT, "no answer within 150 ms");
}

static void another_major_version_is_refused(void **state)
{
	(void)state;
	expect_refusal(VFIO_USER_VERSION, bend_major, EPROTO, "speaks vfio-user 7.1");
}

static void version_data_without_an_end_is_refused(void **state)
{
	(void)state;
	expect_refusal(VFIO_USER_VERSION, bend_endless_json, EPROTO, "version data has no end");
}

static void a_server_that_takes_no_descriptors_is_refused(void **state)
{
	(void)state;
	expect_refusal(VFIO_USER_VERSION, bend_no_fds_taken, EPROTO, "takes no file descriptors");
}

static void bend_no_pci(struct message *reply, const struct message *request)
{
	(void)request;
	reply->payload[4] = VFIO_DEVICE_FLAGS_PLATFORM;
}

static void bend_no_bar(struct message *reply, const struct message *request)
{
	(void)request;
	memset(reply->payload + offsetof(struct vfio_region_info, size), 0, 8);
}

static void devices_that_are_no_pci_function_or_have_no_bar_are_refused(void **state)
{
	(void)state;
	expect_refusal(VFIO_USER_DEVICE_GET_INFO, bend_no_pci, ENODEV, "no PCI function");
	expect_refusal(VFIO_USER_DEVICE_GET_REGION_INFO, bend_no_bar, ENODEV, "no BAR 0");
}

static void bend_many_irqs(struct message *reply, const struct message *request)
{
	const uint32_t count = UINT32_MAX;

	(void)request;
	memcpy(reply->payload + offsetof(struct vfio_irq_info, count), &count, sizeof(count));
}

static void an_impossible_number_of_interrupts_is_refused(void **state)
{
	(void)state;
	expect_refusal(VFIO_USER_DEVICE_GET_IRQ_INFO, bend_many_irqs, EPROTO, "interrupts of kind");
}

/* --- replies that are wrong ---------------------------------------------------------------------------- */

static void malformed_replies_end_the_handshake(void **state)
{
	const uint16_t commands[] = {VFIO_USER_VERSION, VFIO_USER_DEVICE_GET_INFO,
		VFIO_USER_DEVICE_GET_IRQ_INFO, VFIO_USER_REGION_READ, VFIO_USER_DEVICE_GET_REGION_INFO,
		VFIO_USER_DEVICE_GET_REGION_IO_FDS};
	bend_function *const bends[] = {
		bend_id, bend_command, bend_type, bend_size_zero, bend_size_giant, bend_size_short};

	(void)state;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		for (size_t j = 0; j < sizeof(bends) / sizeof(bends[0]); j++)
			expect_refusal(commands[i], bends[j], EPROTO, "vfio-user protocol");
}

static void a_stream_that_ends_within_a_message_ends_the_handshake(void **state)
{
	const uint16_t commands[] = {VFIO_USER_VERSION, VFIO_USER_DEVICE_GET_INFO,
		VFIO_USER_DEVICE_GET_IRQ_INFO, VFIO_USER_REGION_READ, VFIO_USER_DEVICE_GET_REGION_INFO,
		VFIO_USER_DEVICE_GET_REGION_IO_FDS};
	bend_function *const bends[] = {bend_cut_in_header, bend_cut_in_payload, bend_hang_up};

	(void)state;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		for (size_t j = 0; j < sizeof(bends) / sizeof(bends[0]); j++)
			expect_refusal(commands[i], bends[j], ENODEV, "vfio-user:test: ");
}

/* --- capabilities and doorbells that are wrong ---------------------------------------------------------- */

static void set_cap(struct message *reply, uint32_t cap_offset, uint16_t id, uint32_t next)
{
	struct vfio_info_cap_header header = {.id = id, .version = 1, .next = next};

	memcpy(reply->payload + offsetof(struct vfio_region_info, cap_offset), &cap_offset,
		sizeof(cap_offset));
	if (cap_offset <= 1024)
		memcpy(reply->payload + cap_offset, &header, sizeof(header));
}

static void bend_cap_cycle(struct message *reply, const struct message *request)
{
	(void)request;
	set_cap(reply, 32, 99, 32);
}

static void bend_cap_long_cycle(struct message *reply, const struct message *request)
{
	(void)request;
	set_cap(reply, 40, 99, 32);
	set_cap(reply, 32, 98, 40);
}

static void bend_cap_inside_info(struct message *reply, const struct message *request)
{
	(void)request;
	set_cap(reply, offsetof(struct vfio_region_info, offset), 99, 0);
}

static void bend_cap_far_out(struct message *reply, const struct message *request)
{
	(void)request;
	set_cap(reply, 0xfffffffc, 0, 0);
}

static void bend_cap_half_out(struct message *reply, const struct message *request)
{
	(void)request;
	set_cap(reply, reply->header.size - (uint32_t)sizeof(reply->header) - 4, 1, 0);
}

static void bend_cap_next_out(struct message *reply, const struct message *request)
{
	(void)request;
	set_cap(reply, 32, 99, 0x80000000);
}

static void bend_cap_cut(struct message *reply, const struct message *request)
{
	(void)request;
	reply->header.size = sizeof(reply->header) + 32 + 9;
}

static void bend_many_areas(struct message *reply, const struct message *request)
{
	const uint32_t many = 0x10000001; /* times 16 is 16, in 32 bits */

	(void)request;
	memcpy(reply->payload + 32 + offsetof(struct vfio_region_info_cap_sparse_mmap, nr_areas), &many,
		sizeof(many));
}

static void set_area(struct message *reply, uint64_t offset, uint64_t size)
{
	struct vfio_region_sparse_mmap_area area = {.offset = offset, .size = size};

	memcpy(reply->payload + 32 + sizeof(struct vfio_region_info_cap_sparse_mmap), &area, sizeof(area));
}

static void bend_area_outside(struct message *reply, const struct message *request)
{
	(void)request;
	set_area(reply, BAR_SIZE, PAGE);
}

static void bend_area_wraps(struct message *reply, const struct message *request)
{
	(void)request;
	set_area(reply, PAGE, UINT64_MAX - 100);
}

static void bend_huge_bar(struct message *reply, const struct message *request)
{
	const uint64_t everything = UINT64_MAX, offset = UINT64_MAX - PAGE + 1;

	(void)request;
	memcpy(reply->payload + offsetof(struct vfio_region_info, size), &everything, 8);
	memcpy(reply->payload + offsetof(struct vfio_region_info, offset), &offset, 8);
	set_area(reply, UINT64_MAX - PAGE, PAGE);
}

static void bad_capabilities_are_refused(void **state)
{
	const struct {
		bend_function *bend;
		const char *text;
	} cases[] = {
		{bend_cap_cycle, "go round in circles"},
		{bend_cap_long_cycle, "go round in circles"},
		{bend_cap_inside_info, "lies outside of its message"},
		{bend_cap_far_out, "lies outside of its message"},
		{bend_cap_half_out, "lies outside of its message"},
		{bend_cap_next_out, "lies outside of its message"},
		{bend_cap_cut, "cut short"},
		{bend_many_areas, "cut short"},
		{bend_area_outside, "lies outside of it"},
		{bend_area_wraps, "lies outside of it"},
		{bend_huge_bar, "lies outside of it"},
	};

	(void)state;
	seal();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		expect_refusal(VFIO_USER_DEVICE_GET_REGION_INFO, cases[i].bend, EPROTO, cases[i].text);
}

static struct vfio_user_io_fd first_io(const struct message *reply)
{
	struct vfio_user_io_fd io;

	memcpy(&io, reply->payload + sizeof(struct vfio_user_io_fds), sizeof(io));
	return io;
}

static void set_first_io(struct message *reply, struct vfio_user_io_fd io)
{
	memcpy(reply->payload + sizeof(struct vfio_user_io_fds), &io, sizeof(io));
}

static void bend_io_count(struct message *reply, const struct message *request)
{
	const uint32_t many = 0x0aaaaaac; /* times 48 wraps around */

	(void)request;
	memcpy(reply->payload + offsetof(struct vfio_user_io_fds, count), &many, sizeof(many));
}

static void bend_io_fd_index(struct message *reply, const struct message *request)
{
	struct vfio_user_io_fd io = first_io(reply);

	(void)request;
	io.fd_index = 2;
	set_first_io(reply, io);
}

static void bend_io_shadow_index(struct message *reply, const struct message *request)
{
	struct vfio_user_io_fd io = first_io(reply);

	(void)request;
	io.shadow_fd_index = UINT32_MAX;
	set_first_io(reply, io);
}

static void bend_io_no_fds(struct message *reply, const struct message *request)
{
	(void)request;
	reply->fd_count = 0;
}

static void bend_io_offset(struct message *reply, const struct message *request)
{
	struct vfio_user_io_fd io = first_io(reply);

	(void)request;
	io.offset = UINT64_MAX - 3;
	set_first_io(reply, io);
}

static void bend_io_shadow_offset(struct message *reply, const struct message *request)
{
	struct vfio_user_io_fd io = first_io(reply);

	(void)request;
	io.shadow_offset = BAR_SIZE - 4; /* the doorbell fits, the word behind it does not */
	set_first_io(reply, io);
}

static void bend_io_shadow_wraps(struct message *reply, const struct message *request)
{
	struct vfio_user_io_fd io = first_io(reply);

	(void)request;
	io.shadow_offset = UINT64_MAX - 3;
	set_first_io(reply, io);
}

/* Writing to it would raise SIGPIPE, or block. */
static void bend_io_no_eventfd(struct message *reply, const struct message *request)
{
	(void)request;
	reply->fds[1] = server.memory;
}

static void bend_io_region(struct message *reply, const struct message *request)
{
	(void)request;
	reply->payload[offsetof(struct vfio_user_io_fds, index)] = 4;
}

static void bad_doorbells_are_refused(void **state)
{
	const struct {
		bend_function *bend;
		const char *text;
	} cases[] = {
		{bend_io_count, "doorbells in a message of"},
		{bend_io_region, "doorbells in a message of"},
		{bend_io_fd_index, "names a file descriptor that did not come"},
		{bend_io_shadow_index, "names a file descriptor that did not come"},
		{bend_io_no_fds, "names a file descriptor that did not come"},
		{bend_io_offset, "lies outside of BAR 0"},
		{bend_io_shadow_offset, "lies outside of its memory"},
		{bend_io_shadow_wraps, "lies outside of its memory"},
		{bend_io_no_eventfd, "is no eventfd"},
	};

	(void)state;
	seal();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		expect_refusal(VFIO_USER_DEVICE_GET_REGION_IO_FDS, cases[i].bend, EPROTO, cases[i].text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_peer_of_another_protocol_is_recognised),
		TEST(a_peer_that_hangs_up_is_named),
		TEST(a_silent_peer_is_not_waited_for_for_ever),
		TEST(another_major_version_is_refused),
		TEST(version_data_without_an_end_is_refused),
		TEST(a_server_that_takes_no_descriptors_is_refused),
		TEST(devices_that_are_no_pci_function_or_have_no_bar_are_refused),
		TEST(an_impossible_number_of_interrupts_is_refused),
		TEST(malformed_replies_end_the_handshake),
		TEST(a_stream_that_ends_within_a_message_ends_the_handshake),
		TEST(bad_capabilities_are_refused),
		TEST(bad_doorbells_are_refused),
	};

	return cmocka_run_group_tests_name("vfio-user client, hostile server", tests, NULL, NULL);
}
