/*
 * The EEPROM: its contents, and the two ways to read it.
 *
 * Contents (6.2): words 0x00..0x3F are the map, most of it pointers to blocks further up. Drivers check that
 * words 0..0x3F and the blocks behind the pointers 0x03..0x0E sum up to 0xBABA, look for the firmware's
 * version behind 0x0F, for the start-up list of the SFP module behind 0x2B, and for the SAN address behind
 * 0x28. What is not listed here is erased (0xFFFF).
 *
 * EERD reads a word at once. EEC gives a driver the pins of the SPI chip itself: 8-bit commands, 16-bit byte
 * addresses, data in on the rising clock, out on the falling one, most significant bit first. It is write
 * protected.
 */
#include <string.h>

#include "nic.h"

#define FIRST_POINTER 0x03
#define FW_POINTER    0x0F
#define ERASED        0xFFFF

/* Blocks start with their length, in words, without the length word itself. */
struct block {
	uint16_t pointer; /* the word that points to it */
	uint16_t at;
	uint16_t size;
	uint16_t words[12];
};

#define SFP_DA_0     3 /* module types of the start-up list: direct attach on port 0 and 1, ... */
#define SFP_DA_1     4
#define SFP_SRLR_0   5
#define SFP_SRLR_1   6
#define SFP_ACTIVE_0 7
#define SFP_ACTIVE_1 8
#define SFP_LIST     0x100
#define SFP_DATA     0x110
#define FW_BLOCK     0x120
#define FW_PATCH     0x130
#define SAN_BLOCK    0x140
#define PBA_BLOCK    0x148

static const struct block blocks[] = {
	/* What the hardware loads itself at power-up; drivers only sum it up. */
	{0x03, 0x40, 2, {0x0000, 0x0000}},                 /* PCIe analog */
	{0x06, 0x48, 4, {0x0021, 0x0000, 0x0000, 0x0000}}, /* PCIe general */
	{0x07, 0x50, 3, {0x0000, 0x0003, 0x10FB}},         /* PCIe configuration, port 0 and 1 */
	{0x08, 0x58, 3, {0x0000, 0x0003, 0x10FB}},
	{0x09, 0x60, 4, {0}}, /* core, port 0 and 1: the MAC address is put in */
	{0x0A, 0x68, 4, {0}},
	{0x0B, 0x70, 2, {0x6004, 0xC09C}}, /* MAC: AUTOC */
	{0x0C, 0x78, 2, {0x6004, 0xC09C}},
	{0x0D, 0x80, 1, {0x0000}}, /* CSR */
	{0x0E, 0x88, 1, {0x0000}},
	/* Firmware: +2 no LESM parameters, +4 pass-through patch, whose version (+7) drivers want over 5 */
	{FW_POINTER, FW_BLOCK, 5, {0, ERASED, ERASED, FW_PATCH, ERASED}},
	{0x00, FW_PATCH, 8, {0, 0, 0, 0, 0, 0, 0x0009, 0}},
	/* {module type, start-up sequence} ..., end; each sequence ends with 0xFFFF */
	{0x2B, SFP_LIST, 11,
		{SFP_SRLR_0, SFP_DATA, SFP_SRLR_1, SFP_DATA, SFP_DA_0, SFP_DATA, SFP_DA_1, SFP_DATA,
			SFP_ACTIVE_0, SFP_DATA, ERASED}},
	{0x00, SFP_DATA, 3, {0x1001, 0x2002, ERASED}},
	/* Board number, a string */
	{0x16, PBA_BLOCK, 6,
		{'S' << 8 | 'W', '5' << 8 | '9', '9' << 8 | '0', '-' << 8 | '0', '0' << 8 | '1'}},
};

static const struct {
	uint16_t at, value;
} single_words[] = {
	{0x00, 0x0040}, /* control word 1: signature */
	{0x01, 0x0000},
	{0x02, 0x0000},
	{0x15, 0xFAFA}, /* the board number is a string */
	{0x2C, 0x0001}, /* capabilities: any SFP module */
	{0x2D, 0x5990},
	{0x2E, 0x8000}, /* image version */
	{0x2F, ERASED}, /* no VPD */
	{0x38, 0x0000},
};

static void put_mac(uint16_t *words, const uint8_t mac[6])
{
	for (unsigned i = 0; i < 3; i++)
		words[i] = (uint16_t)(mac[2 * i] | mac[2 * i + 1] << 8);
}

uint16_t nic_eeprom_checksum(const struct nic *nic)
{
	const uint16_t *words = nic->eeprom.words;
	uint16_t sum = 0;
	for (unsigned i = 0; i < EEPROM_CHECKSUM_WORD; i++)
		sum += words[i];
	for (unsigned i = FIRST_POINTER; i < FW_POINTER; i++) {
		uint16_t at = words[i];
		if (at == 0 || at >= NIC_EEPROM_WORDS)
			continue;
		for (unsigned left = words[at]; left && at + 1 < NIC_EEPROM_WORDS; left--)
			sum += words[++at];
	}
	return (uint16_t)(EEPROM_SUM - sum);
}

void nic_eeprom_init(struct nic *nic)
{
	uint16_t *words = nic->eeprom.words;
	memset(&nic->eeprom, 0, sizeof nic->eeprom);
	memset(words, 0xFF, sizeof nic->eeprom.words);
	for (size_t i = 0; i < sizeof single_words / sizeof *single_words; i++)
		words[single_words[i].at] = single_words[i].value;
	for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
		const struct block *b = &blocks[i];
		if (b->pointer)
			words[b->pointer] = b->at;
		words[b->at] = b->size;
		memcpy(words + b->at + 1, b->words, b->size * sizeof *words);
	}
	put_mac(words + words[0x09] + 1, nic->mac);
	put_mac(words + words[0x0A] + 1, nic->mac);

	/* The SAN address of each port is another one, which no other port of ours has. */
	uint8_t san[6];
	memcpy(san, nic->mac, sizeof san);
	san[3] ^= 0x80;
	words[0x28] = SAN_BLOCK;
	put_mac(words + SAN_BLOCK, san);
	put_mac(words + SAN_BLOCK + 3, san);
	words[EEPROM_CHECKSUM_WORD] = nic_eeprom_checksum(nic);
}

uint32_t nic_eerd_write(struct nic *nic, uint32_t value)
{
	if (!(value & EERD_START))
		return value & ~EERD_DONE;
	uint32_t address = value >> EERD_ADDR_SHIFT & 0x3FFF;
	uint32_t data = address < NIC_EEPROM_WORDS ? nic->eeprom.words[address] : ERASED;
	return data << EERD_DATA_SHIFT | address << EERD_ADDR_SHIFT | EERD_DONE;
}

/* --- SPI ------------------------------------------------------------------------------------------------ */

#define SPI_READ        0x03
#define SPI_READ_STATUS 0x05
#define SPI_READY       0x00

#define EEC_FWE_DISABLED BIT(4)
#define EEC_ADDRESS_16   BIT(10)
#define EEC_SIZE_16K     (7u << EEC_SIZE_SHIFT) /* 64 << 7 words */
#define EEC_WRITABLE     (EEC_SK | EEC_CS | EEC_DI | EEC_REQ)

enum spi_state {
	SPI_COMMAND,
	SPI_ADDRESS,
	SPI_DATA,   /* out, byte after byte */
	SPI_STATUS, /* out, again and again */
	SPI_IGNORE, /* until it is deselected */
};

static uint8_t spi_byte(const struct nic_eeprom *e)
{
	uint16_t word = e->words[e->address / 2 % NIC_EEPROM_WORDS];
	return (uint8_t)(e->address % 2 ? word >> 8 : word);
}

static void enter(struct nic_eeprom *e, enum spi_state state)
{
	e->state = state;
	e->count = 0;
	e->shift = 0;
}

static void spi_rising(struct nic_eeprom *e, bool in)
{
	if (e->state > SPI_ADDRESS)
		return;
	e->shift = (uint16_t)(e->shift << 1 | in);
	e->count++;
	if (e->state == SPI_COMMAND && e->count == 8) {
		uint8_t command = (uint8_t)e->shift;
		enter(e, command == SPI_READ          ? SPI_ADDRESS
			 : command == SPI_READ_STATUS ? SPI_STATUS
						      : SPI_IGNORE);
	} else if (e->state == SPI_ADDRESS && e->count == 16) {
		e->address = e->shift;
		enter(e, SPI_DATA);
	}
}

static void spi_falling(struct nic_eeprom *e)
{
	if (e->state != SPI_DATA && e->state != SPI_STATUS)
		return;
	if (e->count % 8 == 0)
		e->shift = e->state == SPI_STATUS ? SPI_READY : spi_byte(e);
	e->data_out = e->shift >> (7 - e->count % 8) & 1;
	e->count = (uint8_t)((e->count + 1) % 8);
	if (!e->count)
		e->address++;
}

/* The chip is selected while CS is low and the driver has been granted the pins. */
static bool selected(uint32_t pins)
{
	return pins & EEC_REQ && !(pins & EEC_CS);
}

uint32_t nic_eec_write(struct nic *nic, uint32_t value)
{
	struct nic_eeprom *e = &nic->eeprom;
	uint32_t old = e->pins, new = value &EEC_WRITABLE;
	e->pins = new;
	if (!selected(old) || !selected(new)) {
		enter(e, SPI_COMMAND);
		e->data_out = false;
	} else if (!(old & EEC_SK) && new &EEC_SK) {
		spi_rising(e, new &EEC_DI);
	} else if (old & EEC_SK && !(new &EEC_SK)) {
		spi_falling(e);
	}
	return new | EEC_PRES | EEC_ARD | EEC_ADDRESS_16 | EEC_SIZE_16K | EEC_FWE_DISABLED |
	       (new &EEC_REQ ? EEC_GNT : 0) | (e->data_out ? EEC_DO : 0);
}
