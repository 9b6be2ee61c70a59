/*
 * A software NIC for a test: created before it, freed after it, its interrupts written down.
 */
#ifndef UNIT_NIC_FIXTURE_H
#define UNIT_NIC_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "netns-tests/softnic/nic.h"

static const uint8_t FIXTURE_MAC[6] = {0x02, 0x11, 0x22, 0x33, 0x44, 0x55};

struct nic_fixture {
	struct nic *nic;
	unsigned raised[NIC_MSIX_VECTORS];
};

static void fixture_raise(void *context, unsigned vector)
{
	((struct nic_fixture *)context)->raised[vector]++;
}

static int fixture_setup(void **state)
{
	static struct nic_fixture fixture;
	memset(&fixture, 0, sizeof fixture);
	fixture.nic = nic_create(0, "test", FIXTURE_MAC);
	if (!fixture.nic)
		return -1;
	fixture.nic->frontend.raise = fixture_raise;
	fixture.nic->frontend.context = &fixture;
	*state = &fixture;
	return 0;
}

static int fixture_teardown(void **state)
{
	nic_free(((struct nic_fixture *)*state)->nic);
	return 0;
}

static inline struct nic *fixture_nic(void **state)
{
	return ((struct nic_fixture *)*state)->nic;
}

#define nic_test(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

#endif
