/*
 * The software NIC's EEPROM, read as drivers do: checksum, pointers, EERD, and the SPI pins.
 */
#include "nic_fixture.h"

static uint16_t eerd(struct nic *nic, uint16_t word)
{
	nic_write32(nic, EERD, (uint32_t)word << EERD_ADDR_SHIFT | EERD_START);
	uint32_t value = nic_read32(nic, EERD);
	assert_true(value & EERD_DONE);
	return (uint16_t)(value >> EERD_DATA_SHIFT);
}

static void test_the_words_and_the_blocks_behind_the_pointers_sum_up(void **state)
{
	struct nic *nic = fixture_nic(state);
	uint16_t sum = 0;
	for (uint16_t i = 0; i <= 0x3F; i++)
		sum += eerd(nic, i);
	unsigned blocks = 0;
	for (uint16_t i = 0x03; i <= 0x0E; i++) {
		uint16_t pointer = eerd(nic, i);
		if (pointer == 0 || pointer == 0xFFFF)
			continue;
		uint16_t length = eerd(nic, pointer);
		assert_int_not_equal(length, 0xFFFF);
		blocks++;
		for (uint16_t j = 1; j <= length; j++)
			sum += eerd(nic, pointer + j);
	}
	assert_int_equal(sum, 0xBABA);
	assert_true(blocks > 5);
}

static void test_the_firmware_is_newer_than_drivers_ask_for(void **state)
{
	struct nic *nic = fixture_nic(state);
	uint16_t firmware = eerd(nic, 0x0F);
	uint16_t patch = eerd(nic, firmware + 4);
	assert_in_range(patch, 1, 0xFFFE);
	assert_in_range(eerd(nic, patch + 7), 6, 0xFFFE);
	assert_int_equal(eerd(nic, firmware + 2), 0xFFFF); /* no link speed management by firmware */
}

/* The list behind word 0x2B: {module type, sequence} up to 0xFFFF, each sequence up to 0xFFFF. */
static void test_there_is_a_start_up_sequence_for_the_module_on_either_port(void **state)
{
	struct nic *nic = fixture_nic(state);
	for (unsigned type = 5; type <= 6; type++) {
		uint16_t at = eerd(nic, 0x2B) + 1, sequence = 0;
		for (; eerd(nic, at) != 0xFFFF && !sequence; at += 2) {
			if (eerd(nic, at) == type)
				sequence = eerd(nic, at + 1);
		}
		assert_in_range(sequence, 0x40, NIC_EEPROM_WORDS - 1);
		unsigned words = 0;
		while (eerd(nic, ++sequence) != 0xFFFF)
			words++;
		assert_in_range(words, 1, 16);
	}
}

static void test_addresses_lie_where_drivers_look(void **state)
{
	struct nic *nic = fixture_nic(state);
	uint16_t core = eerd(nic, 0x09), san = eerd(nic, 0x28);
	assert_int_equal(eerd(nic, core + 1), 0x1102);
	assert_int_equal(eerd(nic, core + 3), 0x5544);
	assert_int_equal(eerd(nic, san), 0x1102);
	assert_int_equal(eerd(nic, san + 1), 0xB322); /* another one than the port's */
	assert_int_equal(eerd(nic, san + 5), 0x5544);
}

static void test_a_word_past_the_end_reads_erased(void **state)
{
	struct nic *nic = fixture_nic(state);
	assert_int_equal(eerd(nic, NIC_EEPROM_WORDS), 0xFFFF);
	assert_int_equal(eerd(nic, 0x3FFF), 0xFFFF);
	assert_int_equal(eerd(nic, NIC_EEPROM_WORDS - 1), 0xFFFF);
}

static void test_nothing_is_done_before_a_read_is_started(void **state)
{
	struct nic *nic = fixture_nic(state);
	nic_write32(nic, EERD, 0);
	assert_int_equal(nic_read32(nic, EERD) & EERD_DONE, 0);
}

/* --- by the pins ---------------------------------------------------------------------------------- */

static void pins(struct nic *nic, uint32_t set, uint32_t clear)
{
	nic_write32(nic, EEC, (nic_read32(nic, EEC) & ~clear) | set);
}

static void shift_out(struct nic *nic, uint32_t bits, unsigned count)
{
	while (count--) {
		pins(nic, bits >> count & 1 ? EEC_DI : 0, EEC_DI);
		pins(nic, EEC_SK, 0);
		pins(nic, 0, EEC_SK);
	}
	pins(nic, 0, EEC_DI);
}

static uint32_t shift_in(struct nic *nic, unsigned count)
{
	uint32_t bits = 0;
	while (count--) {
		pins(nic, EEC_SK, 0);
		bits = bits << 1 | !!(nic_read32(nic, EEC) & EEC_DO);
		pins(nic, 0, EEC_SK);
	}
	return bits;
}

static void deselect(struct nic *nic)
{
	pins(nic, EEC_CS, EEC_SK);
	pins(nic, 0, EEC_CS);
}

static uint16_t spi_read(struct nic *nic, uint16_t word)
{
	deselect(nic);
	shift_out(nic, 0x03, 8);
	shift_out(nic, word * 2u, 16);
	uint32_t bytes = shift_in(nic, 16);
	return (uint16_t)(bytes >> 8 | bytes << 8);
}

static void test_eec_says_what_chip_it_is(void **state)
{
	struct nic *nic = fixture_nic(state);
	uint32_t eec = nic_read32(nic, EEC);
	assert_true(eec & EEC_PRES);
	assert_true(eec & EEC_ARD);
	assert_true(eec & BIT(10)); /* 16 address bits */
	assert_int_equal(64u << (eec >> EEC_SIZE_SHIFT & 0xF), NIC_EEPROM_WORDS);
	nic_write32(nic, EEC, 0);
	assert_int_equal(nic_read32(nic, EEC), eec);
}

static void test_the_pins_read_the_same_words_as_eerd(void **state)
{
	static const uint16_t words[] = {0x00, 0x03, 0x0F, 0x2C, 0x3F, 0x60, 0x61, 0x101, 0x1FFF};
	struct nic *nic = fixture_nic(state);
	pins(nic, EEC_REQ, 0);
	assert_true(nic_read32(nic, EEC) & EEC_GNT);
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		assert_int_equal(spi_read(nic, words[i]), eerd(nic, words[i]));
	pins(nic, 0, EEC_REQ);
	assert_false(nic_read32(nic, EEC) & EEC_GNT);
}

static void test_the_pins_read_on_from_word_to_word(void **state)
{
	struct nic *nic = fixture_nic(state);
	pins(nic, EEC_REQ, 0);
	spi_read(nic, 0x2B);
	uint32_t bytes = shift_in(nic, 32);
	assert_int_equal((uint16_t)(bytes >> 24 | (bytes >> 8 & 0xFF00)), eerd(nic, 0x2C));
	assert_int_equal((uint16_t)((bytes >> 8 & 0xFF) | bytes << 8), eerd(nic, 0x2D));
}

static void test_the_chip_is_ready_and_ignores_what_it_does_not_know(void **state)
{
	struct nic *nic = fixture_nic(state);
	pins(nic, EEC_REQ, 0);
	deselect(nic);
	shift_out(nic, 0x05, 8);
	assert_int_equal(shift_in(nic, 8), 0);
	deselect(nic);
	shift_out(nic, 0x02, 8); /* write: protected */
	shift_out(nic, 0x2C * 2, 16);
	shift_out(nic, 0x1234, 16);
	assert_int_equal(spi_read(nic, 0x2C), eerd(nic, 0x2C));
	assert_int_not_equal(eerd(nic, 0x2C), 0x1234);
}

static void test_the_pins_are_dead_without_a_grant(void **state)
{
	struct nic *nic = fixture_nic(state);
	assert_int_equal(spi_read(nic, 0x2E), 0);
	assert_int_not_equal(eerd(nic, 0x2E), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		nic_test(test_the_words_and_the_blocks_behind_the_pointers_sum_up),
		nic_test(test_the_firmware_is_newer_than_drivers_ask_for),
		nic_test(test_there_is_a_start_up_sequence_for_the_module_on_either_port),
		nic_test(test_addresses_lie_where_drivers_look),
		nic_test(test_a_word_past_the_end_reads_erased),
		nic_test(test_nothing_is_done_before_a_read_is_started),
		nic_test(test_eec_says_what_chip_it_is),
		nic_test(test_the_pins_read_the_same_words_as_eerd),
		nic_test(test_the_pins_read_on_from_word_to_word),
		nic_test(test_the_chip_is_ready_and_ignores_what_it_does_not_know),
		nic_test(test_the_pins_are_dead_without_a_grant),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
