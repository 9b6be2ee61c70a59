/*
 * The software NIC's SFP+ module, read by an I2C master that bit-bangs I2CCTL as drivers do.
 */
#include "nic_fixture.h"

static void lines(struct nic *nic, bool clock, bool data)
{
	nic_write32(nic, I2CCTL, (clock ? I2CCTL_CLK_OUT : 0) | (data ? I2CCTL_DATA_OUT : 0));
}

static bool sda(struct nic *nic)
{
	return nic_read32(nic, I2CCTL) & I2CCTL_DATA_IN;
}

static void start(struct nic *nic)
{
	lines(nic, false, true);
	lines(nic, true, true);
	lines(nic, true, false);
	lines(nic, false, false);
}

static void stop(struct nic *nic)
{
	lines(nic, false, false);
	lines(nic, true, false);
	lines(nic, true, true);
}

static void bit_out(struct nic *nic, bool bit)
{
	lines(nic, false, bit);
	lines(nic, true, bit);
	lines(nic, false, bit);
}

static bool bit_in(struct nic *nic)
{
	lines(nic, false, true);
	lines(nic, true, true);
	bool bit = sda(nic);
	lines(nic, false, true);
	return bit;
}

/* True: acknowledged. */
static bool byte_out(struct nic *nic, uint8_t byte)
{
	for (int i = 7; i >= 0; i--)
		bit_out(nic, byte >> i & 1);
	return !bit_in(nic);
}

static uint8_t byte_in(struct nic *nic, bool more)
{
	uint8_t byte = 0;
	for (int i = 0; i < 8; i++)
		byte = (uint8_t)(byte << 1 | bit_in(nic));
	bit_out(nic, !more);
	return byte;
}

static uint8_t read_byte(struct nic *nic, uint8_t device, uint8_t address)
{
	start(nic);
	assert_true(byte_out(nic, device));
	assert_true(byte_out(nic, address));
	start(nic);
	assert_true(byte_out(nic, device | 1));
	uint8_t byte = byte_in(nic, false);
	stop(nic);
	return byte;
}

static uint8_t sum(struct nic *nic, uint8_t device, uint8_t from, uint8_t to)
{
	uint8_t total = 0;
	for (uint8_t i = from; i <= to; i++)
		total += read_byte(nic, device, i);
	return total;
}

static void test_the_inputs_follow_the_outputs_of_an_idle_bus(void **state)
{
	struct nic *nic = fixture_nic(state);
	assert_int_equal(nic_read32(nic, I2CCTL) & 0xF, 0xF);
	lines(nic, false, true);
	assert_int_equal(nic_read32(nic, I2CCTL) & (I2CCTL_CLK_IN | I2CCTL_DATA_IN), I2CCTL_DATA_IN);
	lines(nic, false, false);
	assert_int_equal(nic_read32(nic, I2CCTL) & 0xF, 0);
}

static void test_the_module_is_a_10gbase_sr(void **state)
{
	struct nic *nic = fixture_nic(state);
	assert_int_equal(read_byte(nic, 0xA0, 0), 0x03);
	assert_int_equal(read_byte(nic, 0xA0, 3) & 0x10, 0x10);
	assert_int_equal(read_byte(nic, 0xA0, 6), 0); /* no gigabit */
	assert_int_equal(read_byte(nic, 0xA0, 8), 0); /* no direct attach */
	assert_int_equal(read_byte(nic, 0xA0, 20), 'i');
	assert_int_equal(read_byte(nic, 0xA0, 38), 0x1B);
}

static void test_the_checksums_of_the_pages_are_right(void **state)
{
	struct nic *nic = fixture_nic(state);
	assert_int_equal(sum(nic, 0xA0, 0, 62), read_byte(nic, 0xA0, 63));
	assert_int_equal(sum(nic, 0xA0, 64, 94), read_byte(nic, 0xA0, 95));
	assert_int_equal(sum(nic, 0xA2, 0, 94), read_byte(nic, 0xA2, 95));
}

static void test_the_diagnostics_page_is_a_page_of_its_own(void **state)
{
	struct nic *nic = fixture_nic(state);
	assert_int_equal(read_byte(nic, 0xA0, 92) & 0x40, 0x40);
	assert_int_equal(read_byte(nic, 0xA2, 96), 0x23); /* 35 degrees */
	assert_int_equal(read_byte(nic, 0xA0, 96), 0);
}

static void test_nobody_answers_at_another_address(void **state)
{
	struct nic *nic = fixture_nic(state);
	start(nic);
	assert_false(byte_out(nic, 0xB0));
	assert_true(sda(nic));
	stop(nic);
	assert_int_equal(read_byte(nic, 0xA0, 0), 0x03);
}

static void test_a_read_goes_on_while_the_master_acknowledges(void **state)
{
	struct nic *nic = fixture_nic(state);
	static const char vendor[] = "ixy softnic     ";
	start(nic);
	assert_true(byte_out(nic, 0xA0));
	assert_true(byte_out(nic, 20));
	start(nic);
	assert_true(byte_out(nic, 0xA1));
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(byte_in(nic, i < 15), vendor[i]);
	stop(nic);
}

static void test_a_read_without_an_address_goes_on_where_the_last_one_ended(void **state)
{
	struct nic *nic = fixture_nic(state);
	read_byte(nic, 0xA0, 20);
	start(nic);
	assert_true(byte_out(nic, 0xA1));
	assert_int_equal(byte_in(nic, false), 'x');
	stop(nic);
}

static void test_the_last_byte_is_followed_by_the_first(void **state)
{
	struct nic *nic = fixture_nic(state);
	read_byte(nic, 0xA0, 254);
	start(nic);
	assert_true(byte_out(nic, 0xA1));
	byte_in(nic, true);
	assert_int_equal(byte_in(nic, false), 0x03);
	stop(nic);
}

static void test_writes_are_taken_and_change_nothing(void **state)
{
	struct nic *nic = fixture_nic(state);
	start(nic);
	assert_true(byte_out(nic, 0xA0));
	assert_true(byte_out(nic, 0));
	assert_true(byte_out(nic, 0x55));
	assert_true(byte_out(nic, 0x66));
	stop(nic);
	assert_int_equal(read_byte(nic, 0xA0, 0), 0x03);
	assert_int_equal(read_byte(nic, 0xA0, 1), 0x04);
}

/* What drivers do after an error: nine clocks with SDA high, a start and a stop. */
static void test_a_transfer_that_was_broken_off_does_not_jam_the_bus(void **state)
{
	struct nic *nic = fixture_nic(state);
	for (unsigned after = 1; after < 40; after++) {
		start(nic);
		byte_out(nic, 0xA0);
		byte_out(nic, 0);
		start(nic);
		byte_out(nic, 0xA1);
		for (unsigned i = 0; i < after; i++)
			bit_in(nic);
		start(nic);
		for (unsigned i = 0; i < 9; i++)
			bit_in(nic);
		start(nic);
		stop(nic);
		assert_true(sda(nic));
		assert_int_equal(read_byte(nic, 0xA0, 2), 0x07);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		nic_test(test_the_inputs_follow_the_outputs_of_an_idle_bus),
		nic_test(test_the_module_is_a_10gbase_sr),
		nic_test(test_the_checksums_of_the_pages_are_right),
		nic_test(test_the_diagnostics_page_is_a_page_of_its_own),
		nic_test(test_nobody_answers_at_another_address),
		nic_test(test_a_read_goes_on_while_the_master_acknowledges),
		nic_test(test_a_read_without_an_address_goes_on_where_the_last_one_ended),
		nic_test(test_the_last_byte_is_followed_by_the_first),
		nic_test(test_writes_are_taken_and_change_nothing),
		nic_test(test_a_transfer_that_was_broken_off_does_not_jam_the_bus),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
