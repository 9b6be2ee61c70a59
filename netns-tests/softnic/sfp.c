/*
 * The SFP+ module: a 10GBASE-SR one, with its two EEPROM pages on the I2C bus behind I2CCTL.
 *
 * Page 0xA0 says what it is (SFF-8472, table 4-1), page 0xA2 what it measures. The driver bit-bangs: it drives
 * clock and data by I2CCTL's OUT bits and reads the wires by the IN bits. SDA is open drain, low when either
 * side pulls it low.
 *
 *	START  SDA falls while SCL is high; also amid a transfer     STOP  SDA rises while SCL is high
 *	a bit is sampled when SCL rises, and our next one is driven when SCL falls
 */
#include <string.h>

#include "nic.h"

/* --- contents ------------------------------------------------------------------------------------------- */

static void put_text(uint8_t *field, size_t size, const char *text)
{
	memset(field, ' ', size);
	memcpy(field, text, strnlen(text, size));
}

static void put16(uint8_t *field, uint16_t value)
{
	field[0] = (uint8_t)(value >> 8);
	field[1] = (uint8_t)value;
}

static uint8_t sum(const uint8_t *bytes, size_t size)
{
	uint8_t total = 0;
	while (size--)
		total += *bytes++;
	return total;
}

static void fill_identity(uint8_t *a0)
{
	a0[0] = 0x03;  /* SFP or SFP+ */
	a0[1] = 0x04;  /* described by these pages only */
	a0[2] = 0x07;  /* LC connector */
	a0[3] = 0x10;  /* 10GBASE-SR; no 1000BASE code in byte 6: one speed */
	a0[11] = 0x06; /* 64B/66B */
	a0[12] = 103;  /* 10.3 GBd */
	a0[16] = 8;    /* 80 m on OM2, 30 m on OM1, 400 m on OM4, 300 m on OM3 */
	a0[17] = 3;
	a0[18] = 40;
	a0[19] = 30;
	put_text(a0 + 20, 16, "ixy softnic");
	a0[37] = 0x00; /* Intel's OUI: drivers that take no other vendor's module take this one */
	a0[38] = 0x1B;
	a0[39] = 0x21;
	put_text(a0 + 40, 16, "SOFT-10G-SR");
	put_text(a0 + 56, 4, "1");
	put16(a0 + 60, 850); /* nm */
	a0[63] = sum(a0, 63);
	a0[65] = 0x1A; /* TX_DISABLE, TX_FAULT, LOS */
	put_text(a0 + 68, 16, "0001");
	put_text(a0 + 84, 8, "260101");
	a0[92] = 0x68; /* diagnostics, internally calibrated, average power */
	a0[94] = 0x08; /* SFF-8472 revision 12 */
	a0[95] = sum(a0 + 64, 31);
}

/* Measured values after their four limits: high alarm, low alarm, high warning, low warning. */
static const struct {
	uint16_t value, limits[4];
} diagnostics[] = {
	{0x2300, {0x5000, 0xF600, 0x4B00, 0xFB00}}, /* 35 degrees; 1/256 */
	{33000, {36300, 29700, 34650, 31350}},      /* 3.3 V; 100 uV */
	{3000, {6000, 500, 5000, 1000}},            /* 6 mA; 2 uA */
	{5623, {10000, 1585, 7943, 1995}},          /* -2.5 dBm out; 0.1 uW */
	{5623, {10000, 631, 7943, 1000}},           /* and in */
};

static void fill_diagnostics(uint8_t *a2)
{
	for (size_t i = 0; i < sizeof diagnostics / sizeof *diagnostics; i++) {
		for (size_t j = 0; j < 4; j++)
			put16(a2 + 8 * i + 2 * j, diagnostics[i].limits[j]);
		put16(a2 + 96 + 2 * i, diagnostics[i].value);
	}
	const size_t unity[] = {68, 76, 80, 84, 88}; /* calibration constants: slope 1, offset 0 */
	for (size_t i = 0; i < sizeof unity / sizeof *unity; i++)
		a2[unity[i]] = i ? 1 : 0x3F;
	a2[69] = 0x80; /* receive power slope, a float: 1.0 */
	a2[95] = sum(a2, 95);
}

/* --- bus ------------------------------------------------------------------------------------------------- */

enum i2c_state {
	I2C_IDLE,
	I2C_RECEIVE, /* 8 bits from the master */
	I2C_ACK,     /* we pull SDA low for one clock */
	I2C_SEND,    /* 8 bits to the master */
	I2C_SENT,    /* the master acknowledges, or has enough */
};

enum i2c_phase {
	I2C_DEVICE,  /* the first byte: device address, and bit 0: read */
	I2C_ADDRESS, /* the first of a write: byte address */
	I2C_WRITE,   /* what follows: both pages are read-only, taken and ignored */
	I2C_READ,
};

#define I2C_PAGE_IDENTITY    0xA0
#define I2C_PAGE_DIAGNOSTICS 0xA2

void nic_sfp_init(struct nic *nic)
{
	struct nic_sfp *s = &nic->sfp;
	memset(s, 0, sizeof *s);
	s->clock = s->data = true;
	fill_identity(s->a0);
	fill_diagnostics(s->a2);
}

static void drive_bit(struct nic_sfp *s)
{
	s->drive_low = !(s->byte >> (7 - s->bits) & 1);
}

static void send_next(struct nic_sfp *s)
{
	s->byte = (s->device == I2C_PAGE_IDENTITY ? s->a0 : s->a2)[s->address++];
	s->bits = 0;
	s->state = I2C_SEND;
	drive_bit(s);
}

static void receive_next(struct nic_sfp *s, enum i2c_phase phase)
{
	s->byte = 0;
	s->bits = 0;
	s->state = I2C_RECEIVE;
	s->phase = phase;
}

/* A byte has come in. False: not for us, which the master sees as a missing acknowledge. */
static bool take_byte(struct nic_sfp *s)
{
	uint8_t device = s->byte & 0xFE;
	switch (s->phase) {
	case I2C_DEVICE:
		if (device != I2C_PAGE_IDENTITY && device != I2C_PAGE_DIAGNOSTICS)
			return false;
		s->device = device;
		s->phase = s->byte & 1 ? I2C_READ : I2C_ADDRESS;
		return true;
	case I2C_ADDRESS:
		s->address = s->byte;
		s->phase = I2C_WRITE;
		return true;
	default: s->address++; return true;
	}
}

static void clock_rises(struct nic_sfp *s, bool data)
{
	if (s->state == I2C_RECEIVE && s->bits < 8) {
		s->byte = (uint8_t)(s->byte << 1 | data);
		s->bits++;
	} else if (s->state == I2C_SENT) {
		s->nack = data;
	}
}

static void clock_falls(struct nic_sfp *s)
{
	switch (s->state) {
	case I2C_RECEIVE:
		if (s->bits < 8)
			break;
		s->drive_low = take_byte(s);
		s->state = s->drive_low ? I2C_ACK : I2C_IDLE;
		break;
	case I2C_ACK:
		s->drive_low = false;
		if (s->phase == I2C_READ)
			send_next(s);
		else
			receive_next(s, s->phase);
		break;
	case I2C_SEND:
		if (++s->bits < 8) {
			drive_bit(s);
		} else {
			s->drive_low = false;
			s->state = I2C_SENT;
		}
		break;
	case I2C_SENT:
		if (s->nack)
			s->state = I2C_IDLE;
		else
			send_next(s);
		break;
	default: break;
	}
}

uint32_t nic_i2cctl_write(struct nic *nic, uint32_t value)
{
	struct nic_sfp *s = &nic->sfp;
	bool clock = value & I2CCTL_CLK_OUT, data = value & I2CCTL_DATA_OUT;
	bool clock_was = s->clock, data_was = s->data;
	s->clock = clock;
	s->data = data;

	if (clock && clock_was && data != data_was) {
		s->drive_low = false;
		if (data)
			s->state = I2C_IDLE;
		else
			receive_next(s, I2C_DEVICE);
	} else if (clock && !clock_was) {
		clock_rises(s, data);
	} else if (!clock && clock_was) {
		clock_falls(s);
	}
	return nic_i2cctl_read(nic);
}

uint32_t nic_i2cctl_read(struct nic *nic)
{
	const struct nic_sfp *s = &nic->sfp;
	return (s->clock ? I2CCTL_CLK_OUT | I2CCTL_CLK_IN : 0) | (s->data ? I2CCTL_DATA_OUT : 0) |
	       (s->data && !s->drive_low ? I2CCTL_DATA_IN : 0);
}
